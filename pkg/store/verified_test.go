package store

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/opencontainers/go-digest"
)

// TestCheckBlob checks that a verified blob is not read again, and that every change of its
// file is noticed.
func TestCheckBlob(t *testing.T) {
	s := open(t, t.TempDir())
	s.settled = 0
	content := []byte("content of a blob")
	d, _, err := s.WriteBlob(t.Context(), bytes.NewReader(content), "", -1)
	if err != nil {
		t.Fatal(err)
	}
	path := s.blobPath(d)
	check := func(name string, want bool) {
		t.Helper()
		if damaged, err := s.CheckBlob(t.Context(), d); err != nil || damaged != want {
			t.Errorf("%s: damaged %v, %v", name, damaged, err)
		}
	}
	check("as written", false)
	if err := s.SaveVerified(); err != nil {
		t.Fatal(err)
	}
	// Another process that trusts the record: it does not open the file.
	other, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.settled = 0
	known, ok := other.lastVerified(d)
	if current, found := other.stampOf(d); !ok || !found || !known.sameFile(current) || !known.counts(time.Now(), 0) {
		t.Errorf("recorded %+v", known)
	}
	if _, err := other.CheckBlob(t.Context(), d); err != nil || len(other.newlyVerified) != 0 {
		t.Errorf("the blob was read again, %v", err)
	}
	if known.counts(time.Now(), time.Hour) {
		t.Error("a file that changed just now counts")
	}
	if known.counts(time.Now().Add(8*24*time.Hour), 0) || known.counts(time.Now().Add(-time.Hour), 0) {
		t.Error("a verification of last week, or of the future, counts")
	}

	replaceBlob(t, path, bytes.ToUpper(content))
	if damaged, err := other.CheckBlob(t.Context(), d); err != nil || !damaged {
		t.Errorf("a changed blob: damaged %v, %v", damaged, err)
	}
	if other.HasBlob(d, -1) {
		t.Error("a damaged blob was kept")
	}
	if err := other.SaveVerified(); err != nil {
		t.Fatal(err)
	}

	// A damaged record is an empty one.
	if err := os.WriteFile(filepath.Join(s.Dir(), verifiedFile), []byte(`{"sha256:1": {`), 0o644); err != nil {
		t.Fatal(err)
	}
	if all := s.readVerified(); len(all) != 0 {
		t.Errorf("read %v", all)
	}
	if _, ok := s.lastVerified(digest.FromString("other")); ok {
		t.Error("a blob counts that was never verified")
	}
}

// replaceBlob replaces the file of a blob by one of the same size and time of modification.
func replaceBlob(t *testing.T, path string, content []byte) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// The first reader of a layer for an upload does not verify what was verified lately. The next one
// does, and so does the first one if the file has changed.
func TestForUpload(t *testing.T) {
	s := open(t, t.TempDir())
	s.settled = 0
	img, err := random.Image(1000, 1)
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.WriteImage(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	h, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	layer := digest.Digest(h.String())
	path := s.blobPath(layer)
	b, err := os.ReadFile(path)
	if err == nil {
		b[len(b)/2] ^= 1
		err = errors.Join(os.Remove(path), os.WriteFile(path, b, 0o444))
	}
	if err != nil {
		t.Fatal(err)
	}
	read := func(l v1.Layer) error {
		r, err := l.Compressed()
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		return err
	}
	stored := func() v1.Layer {
		t.Helper()
		img, _, err := s.ForUpload(d)
		if err != nil {
			t.Fatal(err)
		}
		l, err := img.LayerByDigest(h)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	var damaged *BlobError
	if err := read(stored()); !errors.As(err, &damaged) {
		t.Errorf("a file that has changed: %v", err)
	}
	at, _ := s.stampOf(layer)
	s.recordVerified(layer, at)
	l := stored()
	if err := read(l); err != nil {
		t.Errorf("verified lately: %v", err)
	}
	if err := read(l); !errors.As(err, &damaged) {
		t.Errorf("opened again: %v", err)
	}
	plain, err := s.Image(d)
	if err == nil {
		l, err = plain.LayerByDigest(h)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := read(l); !errors.As(err, &damaged) {
		t.Errorf("not for an upload: %v", err)
	}
}
