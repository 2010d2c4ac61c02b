package store

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestContentIsTheStore(t *testing.T) {
	ctx := context.Background()
	s := open(t, t.TempDir())
	c := s.Content()
	text := strings.Repeat("blob", 100)
	desc := ocispec.Descriptor{Digest: digest.FromString(text), Size: int64(len(text))}
	if err := content.WriteBlob(ctx, c, "layer", strings.NewReader(text), desc); err != nil {
		t.Fatal(err)
	}
	if !s.HasBlob(desc.Digest, desc.Size) {
		t.Fatal("the blob that a builder wrote is not in the store")
	}
	// Every image with the same parent writes the blob again.
	if err := content.WriteBlob(ctx, c, "layer", strings.NewReader(text), desc); err != nil {
		t.Error(err)
	}
	r, err := s.OpenBlob(desc.Digest)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	r.Close()
	if err != nil || string(b) != text {
		t.Errorf("read %d bytes, %v", len(b), err)
	}
	if err := c.Delete(ctx, desc.Digest); !errdefs.IsPermissionDenied(err) {
		t.Errorf("Delete = %v", err)
	}
	if _, err := c.Info(ctx, digest.FromString("absent")); !errdefs.IsNotFound(err) {
		t.Errorf("Info of an absent blob = %v", err)
	}
}

// Wrong data must be removed, so that the next attempt does not resume it.
func TestContentAfterWrongData(t *testing.T) {
	ctx := context.Background()
	s := open(t, t.TempDir())
	c := s.Content()
	good := "the right bytes"
	desc := ocispec.Descriptor{Digest: digest.FromString(good), Size: int64(len(good))}
	w, err := c.Writer(ctx, content.WithRef("r"), content.WithDescriptor(desc))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("the wrong bytes")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(ctx, desc.Size, desc.Digest); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("Commit = %v", err)
	}
	w.Close()
	if st, err := c.ListStatuses(ctx); err != nil || len(st) != 0 {
		t.Errorf("left: %v, %v", st, err)
	}
	if err := content.WriteBlob(ctx, c, "r", strings.NewReader(good), desc); err != nil {
		t.Error(err)
	}
}

// Two processes write under one ref, since BuildKit names refs after their content.
func TestContentOfTwoProcesses(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	first, second := open(t, dir), open(t, dir)
	text := strings.Repeat("x", 1000)
	desc := ocispec.Descriptor{Digest: digest.FromString(text), Size: 1000}
	var ws []content.Writer
	for _, s := range []*Store{first, second} {
		w, err := s.Content().Writer(ctx, content.WithRef("same"), content.WithDescriptor(desc))
		if err != nil {
			t.Fatal(err)
		}
		if st, err := w.Status(); err != nil || st.Ref != "same" || st.Offset != 0 {
			t.Errorf("status %+v, %v", st, err)
		}
		if _, err := io.WriteString(w, text[:500]); err != nil {
			t.Fatal(err)
		}
		ws = append(ws, w)
	}
	if st, err := first.Content().ListStatuses(ctx, "ref==same"); err != nil || len(st) != 1 || st[0].Ref != "same" {
		t.Errorf("statuses %v, %v", st, err)
	}
	for i, w := range ws {
		if _, err := io.WriteString(w, text[500:]); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(ctx, 1000, desc.Digest); err != nil && !(i == 1 && errors.Is(err, errdefs.ErrAlreadyExists)) {
			t.Errorf("writer %d: %v", i, err)
		}
	}
	if err := visitHash(ctx, first, desc, ""); err != nil {
		t.Error(err)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(emptyIndex))
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"annotations":{"org.opencontainers.image.ref.name":"a:b","io.kolla-build.key":"k","io.kolla-build.size":"x"}}]}`))
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:../../x"}]}`))
	dir := f.TempDir()
	s, err := Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := s.replace(dir+"/index.json", b); err != nil {
			t.Fatal(err)
		}
		entries, err := s.Entries()
		if err != nil {
			var oe *OpenError
			if !errors.As(err, &oe) || oe.Problem != ProblemCorrupt {
				t.Fatalf("err = %v", err)
			}
			return
		}
		for _, e := range entries {
			if e.Digest.Validate() != nil {
				t.Fatalf("entry with digest %q", e.Digest)
			}
		}
	})
}
