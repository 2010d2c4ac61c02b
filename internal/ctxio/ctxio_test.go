package ctxio

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestCopy(t *testing.T) {
	content := strings.Repeat("0123456789", bufferSize/4)
	var out bytes.Buffer
	n, err := Copy(t.Context(), &out, strings.NewReader(content))
	if err != nil || n != int64(len(content)) || out.String() != content {
		t.Errorf("%d of %d bytes: %v", n, len(content), err)
	}
}

// zeros is an endless input.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestCopyEndsWithItsContext(t *testing.T) {
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	written := 0
	_, err := Copy(ctx, writerFunc(func(p []byte) (int, error) {
		if written += len(p); written > 3*bufferSize {
			cancel(stopped)
		}
		return len(p), nil
	}), zeros{})
	if err != stopped {
		t.Errorf("error: %v, want the cause of the context", err)
	}
	if written > 4*bufferSize {
		t.Errorf("%d bytes were copied after the context was done", written-3*bufferSize)
	}
}

func TestReaderOfDoneContextReadsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in := strings.NewReader("content")
	if _, err := io.ReadAll(NewReader(ctx, in)); !errors.Is(err, context.Canceled) || in.Len() != len("content") {
		t.Errorf("error: %v, unread: %d bytes", err, in.Len())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
