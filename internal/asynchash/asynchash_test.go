package asynchash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestHash(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 777_777)
	for _, size := range []int{1, 10, bufferSize, bufferSize + 1, len(content)} {
		h := New(sha256.New())
		want := sha256.New()
		for rest := content[:min(len(content), 2000*size)]; len(rest) > 0; {
			n := min(size, len(rest))
			if written, err := h.Write(rest[:n]); written != n || err != nil {
				t.Fatal(written, err)
			}
			want.Write(rest[:n])
			rest = rest[n:]
		}
		if got := h.Sum(); !bytes.Equal(got, want.Sum(nil)) {
			t.Errorf("writes of %d bytes: %x", size, got)
		}
	}
	if got, want := New(sha256.New()).Sum(), sha256.Sum256(nil); !bytes.Equal(got, want[:]) {
		t.Errorf("of nothing: %x", got)
	}
}

func TestCopy(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 777_777)
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		r    io.Reader
		want int
		err  error
	}{
		"whole":      {bytes.NewReader(content), len(content), nil},
		"in bytes":   {iotest.OneByteReader(bytes.NewReader(content)), len(content), nil},
		"in halves":  {iotest.HalfReader(bytes.NewReader(content)), len(content), nil},
		"error last": {iotest.DataErrReader(bytes.NewReader(content)), len(content), nil},
		"broken": {io.MultiReader(bytes.NewReader(content[:bufferSize+1]), iotest.ErrReader(broken)),
			bufferSize + 1, broken},
		"empty": {bytes.NewReader(nil), 0, nil},
	} {
		h := New(sha256.New())
		var out bytes.Buffer
		n, err := h.Copy(t.Context(), &out, c.r)
		if n != int64(c.want) || !errors.Is(err, c.err) || !bytes.Equal(out.Bytes(), content[:c.want]) {
			t.Errorf("%s: %d bytes (%v), want %d (%v)", name, n, err, c.want, c.err)
		}
		if got, want := h.Sum(), sha256.Sum256(content[:c.want]); !bytes.Equal(got, want[:]) {
			t.Errorf("%s: %x", name, got)
		}
	}
}

func TestCopyEndsWithItsContext(t *testing.T) {
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	h := New(sha256.New())
	defer h.Sum()
	in := bytes.NewReader(make([]byte, 3*bufferSize))
	n, err := h.Copy(ctx, writerFunc(func(p []byte) (int, error) { cancel(stopped); return len(p), nil }), in)
	if n != bufferSize || !errors.Is(err, stopped) {
		t.Errorf("%d bytes (%v)", n, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
