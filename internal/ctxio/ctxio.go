// Package ctxio ends copies with their contexts. It must not know what is copied.
package ctxio

import (
	"context"
	"io"
)

// bufferSize is large, because blobs are copied between files and through hashes.
const bufferSize = 256 << 10

// NewReader returns a reader that fails with the cause of ctx once ctx is done. It does
// not interrupt a read that is blocked.
func NewReader(ctx context.Context, r io.Reader) io.Reader {
	return &reader{ctx, r}
}

// Copy is io.Copy that fails with the cause of ctx once ctx is done.
func Copy(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	return io.CopyBuffer(onlyWriter{w}, NewReader(ctx, r), make([]byte, bufferSize))
}

type reader struct {
	ctx context.Context //nolint:containedctx // lives as long as one copy
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// onlyWriter hides ReadFrom, which would bring its own buffer.
type onlyWriter struct{ io.Writer }
