package parts

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/asynchash"
)

// Reader returns the stream. Missing and damaged parts are restored while it is
// read. A set with parity is verified first; without parity, damage is found while
// the damaged part is read. At its end the whole stream has been verified. The reader is not
// safe for concurrent use.
func (s *Set) Reader(ctx context.Context) (io.ReadCloser, error) {
	s.plan(s.header.Size)
	if s.header.Parity > 0 {
		if err := s.Verify(ctx); err != nil {
			return nil, err
		}
	} else if err := s.complete(); err != nil {
		return nil, err
	}
	restored, err := s.restore(ctx)
	if err != nil {
		return nil, err
	}
	return s.newStream(ctx, restored, false), nil
}

// Scan returns the stream as the parts have it, damage included, up to the first data part
// that is missing, has another size, or cannot be read. At its end, all parts have been verified,
// and Problems returns the damaged ones. If all data parts are good and are not the saved stream,
// the error at the end is a *SetError. The reader is not safe for concurrent use.
func (s *Set) Scan(ctx context.Context) io.ReadCloser { return s.newStream(ctx, nil, true) }

// stream reads the data parts one after another. It is not safe for concurrent use.
type stream struct {
	ctx      context.Context
	set      *Set
	restored shards
	scan     bool // damage is recorded in the set, and is no error

	number  int           // of the current part, or the next one
	current io.ReadCloser // nil between parts
	sum     partHash      // of current
	want    checksum      // of current, "" if it was restored
	sums    []checksum    // of the parts before it
	whole   partHash      // of the stream, in version 1
	err     error         // of all further reads
}

// partHash is a hash of what is read. Those of version 1 take so much time that goroutines compute
// them; sum must be called, or they remain.
type partHash struct {
	io.Writer
	sum func() []byte
}

func newPartHash(version int) partHash {
	h := newHash(version)
	if version == 1 {
		async := asynchash.New(h)
		return partHash{async, async.Sum}
	}
	return partHash{h, func() []byte { return h.Sum(nil) }}
}

func (s *Set) newStream(ctx context.Context, restored shards, scan bool) *stream {
	r := &stream{ctx: ctx, set: s, restored: restored, scan: scan}
	if s.header.Version == 1 {
		r.whole = newPartHash(1)
	}
	return r
}

// Read implements io.Reader.
func (r *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // no read of a part would make progress
	}
	for r.err == nil {
		if r.ctx.Err() != nil {
			return 0, context.Cause(r.ctx)
		}
		if r.current == nil {
			if r.err = r.next(); r.err != nil {
				break
			}
		}
		n, err := r.current.Read(p)
		_, _ = r.sum.Write(p[:n]) // a hash does not fail
		if r.whole.Writer != nil {
			_, _ = r.whole.Write(p[:n])
		}
		switch {
		case err == io.EOF:
			r.err = r.endPart()
		case err != nil && r.scan:
			r.set.parts[r.number].Err = err
			r.err = r.end()
		case err != nil:
			r.err = err
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, r.err
}

// next opens the next part. The error is io.EOF after the last one.
func (r *stream) next() error {
	if r.number == r.set.header.Data {
		return r.end()
	}
	p := r.set.parts[r.number]
	switch {
	case p != nil && p.Err == nil:
		f, h, err := r.set.open(p)
		if err != nil && r.scan {
			p.Err = err
			return r.end()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.File, err)
		}
		if r.scan {
			r.set.plan(h.length())
		}
		r.current, r.want = &countingReader{io.LimitReader(f, h.length()), f, r.set}, h.Digest
	case r.scan:
		return r.end()
	default:
		in := r.restoredPart()
		r.current, r.want = &countingReader{in, in, r.set}, ""
	}
	r.sum = newPartHash(r.set.header.Version)
	return nil
}

// restoredPart returns the content of a part that is missing or damaged.
func (r *stream) restoredPart() io.ReadCloser {
	n := r.number
	if f := r.restored[n]; f != nil {
		return f
	}
	return pipe(r.ctx, func(ctx context.Context, w io.Writer) error {
		return r.set.reconstruct(ctx, map[int]io.Writer{n: w})
	})
}

// endPart closes the current part and verifies it.
func (r *stream) endPart() error {
	err := r.current.Close()
	r.current = nil
	sum := newChecksum(r.set.header.Version, r.sum.sum())
	r.sums = append(r.sums, sum)
	p := r.set.parts[r.number]
	r.number++
	switch {
	case err != nil || r.want == "" || sum == r.want:
		return err
	case r.scan:
		p.Err = errDamaged
		return nil
	}
	return &SetError{Detail: p.File + ": " + errDamaged.Error(), Advice: "copy this part again"}
}

// end verifies the stream, and after a scan the parts that were not read. It returns io.EOF if
// nothing is wrong, or if a scan found parts that are lost.
func (r *stream) end() error {
	if r.scan {
		scanned := r.number
		if err := r.set.verifyAll(r.ctx, func(p *Part) bool { return p.Number >= scanned }); err != nil {
			return err
		}
		if len(r.set.Lost()) > 0 {
			return io.EOF
		}
	}
	set := setDigest(r.sums)
	if r.whole.Writer != nil {
		set = digest.NewDigestFromBytes(digest.SHA256, r.whole.sum())
	}
	if set != r.set.header.Set {
		return errNotTheStream
	}
	return io.EOF
}

// Close implements io.Closer.
func (r *stream) Close() error {
	if r.err == nil {
		r.err = fs.ErrClosed
	}
	var err error
	if r.current != nil {
		err = r.current.Close()
		r.current = nil
		r.sum.sum()
	}
	if r.whole.Writer != nil {
		r.whole.sum()
	}
	r.restored.close()
	return err
}

// pipe returns a reader of the output of a function, which runs in a goroutine.
func pipe(ctx context.Context, write func(context.Context, io.Writer) error) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pw.CloseWithError(write(ctx, pw))
	}()
	return &pipeReader{PipeReader: pr, cancel: cancel, done: done}
}

type pipeReader struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

// Close ends the function.
func (r *pipeReader) Close() error {
	r.cancel()
	err := r.PipeReader.Close()
	<-r.done
	return err
}

// countingReader counts the bytes that are read of a set.
type countingReader struct {
	io.Reader
	io.Closer
	set *Set
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.set.count(int64(n))
	return n, err
}
