package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/filters"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// contentStore is containerd's store on our directory, made safe for sharing:
// two processes may write under the same ref, a failed write does not affect the
// next one, and nothing is deleted through it.
type contentStore struct {
	content.Store
	s      *Store
	prefix string // of this process's refs, because containerd locks refs only within a process
}

func newContent(s *Store) (content.Store, error) {
	inner, err := newLocal(s.dir)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 8)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	return &contentStore{Store: inner, s: s, prefix: hex.EncodeToString(b) + "/"}, nil
}

// Delete returns an error: a builder must not remove blobs of images. See Store.GC.
func (c *contentStore) Delete(context.Context, digest.Digest) error {
	return fmt.Errorf("deleting from the store through a builder's session: %w", errdefs.ErrPermissionDenied)
}

func (c *contentStore) Info(ctx context.Context, d digest.Digest) (content.Info, error) {
	c.s.touch(d)
	return c.Store.Info(ctx, d)
}

func (c *contentStore) ReaderAt(ctx context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	c.s.touch(d.Digest)
	return c.Store.ReaderAt(ctx, d)
}

func (c *contentStore) Status(ctx context.Context, ref string) (content.Status, error) {
	st, err := c.Store.Status(ctx, c.prefix+ref)
	st.Ref = ref
	return st, err
}

func (c *contentStore) ListStatuses(ctx context.Context, fs ...string) ([]content.Status, error) {
	// Filters apply to refs without our prefix.
	filter, err := filters.ParseAll(fs...)
	if err != nil {
		return nil, err
	}
	statuses, err := c.Store.ListStatuses(ctx)
	if err != nil {
		return nil, err
	}
	var out []content.Status
	for _, st := range statuses {
		ref, ok := strings.CutPrefix(st.Ref, c.prefix)
		if !ok {
			continue
		}
		st.Ref = ref
		if filter.Match(filters.AdapterFunc(func(field []string) (string, bool) {
			return ref, len(field) == 1 && field[0] == "ref"
		})) {
			out = append(out, st)
		}
	}
	return out, nil
}

func (c *contentStore) Abort(ctx context.Context, ref string) error {
	return c.Store.Abort(ctx, c.prefix+ref)
}

func (c *contentStore) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if o.Ref == "" {
		return nil, fmt.Errorf("ref must not be empty: %w", errdefs.ErrInvalidArgument)
	}
	if o.Desc.Digest != "" {
		c.s.touch(o.Desc.Digest)
	}
	w, err := c.Store.Writer(ctx, content.WithRef(c.prefix+o.Ref), content.WithDescriptor(o.Desc))
	// If two builds export the same layer, the second waits and finds the blob;
	// an error would make its builder repeat the export.
	for i := 0; i < 600 && errdefs.IsUnavailable(err); i++ {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		w, err = c.Store.Writer(ctx, content.WithRef(c.prefix+o.Ref), content.WithDescriptor(o.Desc))
	}
	if err != nil {
		return nil, noSpace(c.s.dir, o.Desc.Size, err)
	}
	return &contentWriter{Writer: w, c: c, ref: o.Ref, size: o.Desc.Size}, nil
}

type contentWriter struct {
	content.Writer
	c    *contentStore
	ref  string
	size int64
}

func (w *contentWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	return n, noSpace(w.c.s.dir, w.size, err)
}

func (w *contentWriter) Status() (content.Status, error) {
	st, err := w.Writer.Status()
	st.Ref = w.ref
	return st, err
}

func (w *contentWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	d := w.Writer.Digest()
	w.c.s.touch(d)
	err := w.Writer.Commit(ctx, size, expected, opts...)
	if err != nil && !errors.Is(err, errdefs.ErrAlreadyExists) {
		// containerd keeps the data to resume the write, but wrong data stays
		// wrong.
		if aerr := w.c.Abort(ctx, w.ref); aerr != nil && !errors.Is(aerr, errdefs.ErrNotFound) {
			err = errors.Join(err, aerr)
		}
	}
	return noSpace(w.c.s.dir, w.size, err)
}
