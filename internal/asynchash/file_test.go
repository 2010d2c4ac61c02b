package asynchash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
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
	var hashed atomic.Int64
	h := OfFile(f, offset, sha256.New(), func(n int64) { hashed.Add(n) })
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
		if got, err := h.Sum(t.Context()); err != nil || !bytes.Equal(got, want[:]) {
			t.Errorf("%x (%v), want %x", got, err, want)
		}
	}
	if hashed.Load() != int64(len(content)) {
		t.Errorf("%d of %d bytes reported as hashed", hashed.Load(), len(content))
	}

	missing := OfFile(f, offset, sha256.New(), nil)
	missing.Written(int64(len(content)) + 1)
	if _, err := missing.Sum(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the hash of a file that is too short: %v", err)
	}
	stopped := OfFile(f, offset, sha256.New(), nil)
	stopped.Written(int64(len(content)))
	stopped.Stop()
	stopped.Stop()
}

// zeros is a file without an end.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { return len(p), nil }

// The end of the context stops the hash of a file that was copied at once, however large it is.
func TestSumEndsWithItsContext(t *testing.T) {
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	h := OfFile(zeros{}, 0, sha256.New(), func(int64) { cancel(stopped) })
	h.Written(1 << 50)
	if _, err := h.Sum(ctx); !errors.Is(err, stopped) {
		t.Error(err)
	}
}
