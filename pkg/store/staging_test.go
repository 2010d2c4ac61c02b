package store_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func writeContent(t *testing.T, cs content.Store, data []byte) error {
	t.Helper()
	desc := ocispec.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
	return content.WriteBlob(t.Context(), cs, "ref-"+desc.Digest.Encoded(), bytes.NewReader(data), desc)
}

// TestStaging checks that a builder reads the store's blobs through a staging area,
// writes only to the staging area, and that it is removed.
func TestStaging(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inStore, staged := []byte("a blob of the store"), []byte("a staged blob")
	if _, _, err := s.WriteBlob(t.Context(), bytes.NewReader(inStore), "", -1); err != nil {
		t.Fatal(err)
	}
	g, err := s.Stage()
	if err != nil {
		t.Fatal(err)
	}
	cs := g.Content()
	if err := writeContent(t, cs, staged); err != nil {
		t.Fatal(err)
	}
	if err := writeContent(t, cs, inStore); err != nil {
		t.Errorf("writing what the store has: %v", err)
	}
	if _, err := cs.Writer(t.Context(), content.WithRef("x"),
		content.WithDescriptor(ocispec.Descriptor{Digest: digest.FromBytes(inStore)})); !errors.Is(err,
		errdefs.ErrAlreadyExists) {
		t.Errorf("a writer of what the store has: %v", err)
	}
	for _, data := range [][]byte{inStore, staged} {
		d := digest.FromBytes(data)
		got, err := content.ReadBlob(t.Context(), cs, ocispec.Descriptor{Digest: d, Size: int64(len(data))})
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("reading %q: %q, %v", data, got, err)
		}
		if info, err := cs.Info(t.Context(), d); err != nil || info.Size != int64(len(data)) {
			t.Errorf("info of %q: %+v, %v", data, info, err)
		}
		if r, err := g.OpenBlob(d); err != nil {
			t.Error(err)
		} else {
			r.Close()
		}
	}
	if s.HasBlob(digest.FromBytes(staged), -1) {
		t.Error("a staged blob is in the store")
	}
	if err := cs.Delete(t.Context(), digest.FromBytes(inStore)); err == nil {
		t.Error("a builder may delete through the staging area")
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if leftover, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(leftover) != 0 {
		t.Errorf("left in tmp: %v", leftover)
	}

	// The next process removes what a killed one left.
	if _, err := s.Stage(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if s, err = store.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if leftover, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(leftover) != 0 {
		t.Errorf("left in tmp by a process that died: %v", leftover)
	}
}

// TestCompressedForms checks that later processes find the compressed forms of layers
// as long as the store has them.
func TestCompressedForms(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	open := func() *store.Store {
		s, err := store.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	diffID := digest.FromString("a tar")
	d, size, err := s.WriteBlob(context.Background(), bytes.NewReader([]byte("compressed")), "", -1)
	if err != nil {
		t.Fatal(err)
	}
	l := compress.Layer{DiffID: diffID, Descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip,
		Digest: d, Size: size}}
	if err := errors.Join(s.RecordCompressed(diffID, "v1", l), s.SaveCompressed()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open()
	if got, ok := s.Compressed(diffID, "v1"); !ok || got.Descriptor.Digest != d {
		t.Errorf("%+v, %v", got, ok)
	}
	if _, ok := s.Compressed(diffID, "v2"); ok {
		t.Error("a form made otherwise was found")
	}
	if err := os.Remove(filepath.Join(dir, "blobs", "sha256", d.Encoded())); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Compressed(diffID, "v1"); ok {
		t.Error("a form that the store does not have was found")
	}
	s.Close()
	if err := os.WriteFile(filepath.Join(dir, "compressed.json"), []byte("{\"v1\": 7"), 0o644); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.Close()
	if err := errors.Join(s.RecordCompressed(diffID, "v1", l), s.SaveCompressed()); err != nil {
		t.Errorf("a damaged file: %v", err)
	}
}
