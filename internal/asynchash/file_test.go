package asynchash

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestOfFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	const offset = 100
	h := OfFile(f, offset, sha256.New())
	for rest, at := content, int64(offset); len(rest) > 0; {
		n, err := f.WriteAt(rest[:min(len(rest), 300_001)], at)
		if err != nil {
			t.Fatal(err)
		}
		h.Written(int64(n))
		rest, at = rest[n:], at+int64(n)
	}
	want := sha256.Sum256(content)
	for range 2 {
		if got, err := h.Sum(); err != nil || !bytes.Equal(got, want[:]) {
			t.Errorf("%x (%v), want %x", got, err, want)
		}
	}

	missing := OfFile(f, offset, sha256.New())
	missing.Written(int64(len(content)) + 1)
	if _, err := missing.Sum(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the hash of a file that is too short: %v", err)
	}
	stopped := OfFile(f, offset, sha256.New())
	stopped.Written(int64(len(content)))
	stopped.Stop()
	stopped.Stop()
}
