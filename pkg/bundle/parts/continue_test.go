package parts

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/kolla-build/kolla-build/internal/filelock"
)

// A smaller set replaces a larger one whole.
func TestSmallerSet(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Join(dir, "set")
	write := func(length int) int {
		t.Helper()
		w, err := Create(t.Context(), base, MinSize, 20)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, length)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	if large, small := write(1<<20), write(100_000); small >= large {
		t.Errorf("%d files in place of %d", small, large)
	}
	if _, _, err := read(t, base+".001"); err != nil {
		t.Error(err)
	}
}

// An interrupted Writer leaves the beginning of its stream, and the next one can continue at
// any place in it. Until then, no part has its final name.
func TestContinue(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	stream := make([]byte, 400_000)
	for i := range stream {
		stream[i] = byte(rng.Uint32())
	}
	const payload = (MinSize - headerSize) / align * align
	want := t.TempDir()
	w, err := Create(t.Context(), filepath.Join(want, "set"), MinSize, 30)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(stream); err != nil {
		t.Fatal(err)
	}
	names, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{0, 1, payload - 1, payload, payload + 1, 3*payload + 77, len(stream)} {
		for _, keep := range []int{0, length / 3, length} {
			dir := t.TempDir()
			base := filepath.Join(dir, "set")
			w, err := Create(t.Context(), base, MinSize, 30)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(stream[:length]); err != nil {
				t.Fatal(err)
			}
			w.Abort()
			if found, err := filepath.Glob(base + "*"); err != nil || len(found) > 0 {
				t.Errorf("%d bytes: %v have their names", length, found)
			}
			if w, err = Create(t.Context(), base, MinSize, 30); err != nil {
				t.Fatal(err)
			}
			r, err := w.Earlier()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, stream[:length]) {
				t.Errorf("%d bytes: %d bytes were left (%v)", length, len(got), err)
			}
			if err := w.Keep(int64(keep)); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(stream[keep:]); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Close(); err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				a, errA := os.ReadFile(name)
				b, errB := os.ReadFile(filepath.Join(dir, filepath.Base(name)))
				if err := errors.Join(errA, errB); err != nil || !bytes.Equal(a, b) {
					t.Errorf("%d bytes, %d kept: %s differs (%v)", length, keep, filepath.Base(name), err)
				}
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) != len(names) {
				t.Errorf("%d bytes, %d kept: %d files (%v)", length, keep, len(files), err)
			}
		}
	}
}

// Data in larger parts of an interrupted Writer is kept, in parts of the new size.
func TestContinueInSmallerParts(t *testing.T) {
	const payload = (MinSize - headerSize) / align * align
	stream := make([]byte, 3*payload)
	for i := range stream {
		stream[i] = byte(i / 64)
	}
	base := filepath.Join(t.TempDir(), "set")
	w, err := Create(t.Context(), base, 2*MinSize, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(stream[:payload+1000]); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if w, err = Create(t.Context(), base, MinSize, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.Keep(payload); err != nil { // exactly one part
		t.Fatal(err)
	}
	if _, err := w.Write(stream[payload:]); err != nil {
		t.Fatal(err)
	}
	names, err := w.Close()
	if err != nil || len(names) != 3 {
		t.Fatalf("%v (%v)", names, err)
	}
	set, err := Open(names...)
	if err != nil {
		t.Fatal(err)
	}
	r, err := set.Reader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, stream) {
		t.Errorf("%d bytes (%v), problems %v", len(got), err, set.Problems())
	}
}

// Two Writers of the same name exclude each other, and files of others stay.
func TestTwoWriters(t *testing.T) {
	dir := t.TempDir()
	others := []string{".set-123", ".set-notes", ".set2.001.partial", ".set.partial", ".set.backup.partial"}
	for _, name := range others {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := filepath.Join(dir, "set")
	w, err := Create(t.Context(), base, MinSize, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 3*MinSize)); err != nil {
		t.Fatal(err)
	}
	var held *filelock.HeldError
	if _, err := Create(t.Context(), base, MinSize, 0); !errors.As(err, &held) {
		t.Errorf("a second Writer: %v", err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Create(t.Context(), base, MinSize, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Keep(0); err != nil {
		t.Fatal(err)
	}
	second.Abort()
	for _, name := range others {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
