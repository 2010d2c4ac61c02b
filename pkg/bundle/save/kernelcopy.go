package save

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/asynchash"
	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/filecopy"
	"github.com/kolla-build/kolla-build/pkg/bundle"
)

// maxHashes is how many copies are hashed at the same time, beside those that follow.
const maxHashes = 4

// fromFile is implemented by readers of a whole file, of which nothing was read.
type fromFile interface{ File() *os.File }

// withFile opens a file for a copy within the kernel. The error is errors.ErrUnsupported if its
// content is not that of a whole file on a disk.
func withFile(f *bundle.File, copy func(from *os.File) error) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	from, ok := r.(fromFile)
	if !ok {
		return errors.ErrUnsupported
	}
	return copy(from.File())
}

// kernelCopy copies files to a tar within the kernel, and verifies what was written.
type kernelCopy struct {
	out     *fileOutput
	buf     *bufio.Writer // of out
	pending []*copiedFile
}

// copy appends a file that was opened. The error is errors.ErrUnsupported if it must be read
// and written instead. verified is called in another goroutine with the numbers of bytes whose
// copies were hashed.
func (k *kernelCopy) copy(ctx context.Context, f *bundle.File, from *os.File, verified func(int64)) error {
	if err := k.buf.Flush(); err != nil {
		return err
	}
	at, err := k.out.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if len(k.pending) == maxHashes {
		if err := k.check(ctx); err != nil {
			return err
		}
	}
	copied, err := copyWithin(ctx, f, from, k.out.File.File, at, k.out.early, verified)
	if err != nil {
		return err
	}
	k.pending = append(k.pending, copied)
	_, err = k.out.Seek(at+f.Size, io.SeekStart)
	return err
}

// check waits until the first of the pending files is hashed, and verifies it.
func (k *kernelCopy) check(ctx context.Context) error {
	first := k.pending[0]
	k.pending = k.pending[1:]
	return first.verify(ctx)
}

// end verifies the rest.
func (k *kernelCopy) end(ctx context.Context) error {
	for len(k.pending) > 0 {
		if err := k.check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the hashes after an error.
func (k *kernelCopy) stop() {
	for _, p := range k.pending {
		p.hash.Stop()
	}
	k.pending = nil
}

// copiedFile is a file whose copy is being hashed. Its hash must be summed or stopped.
type copiedFile struct {
	file *bundle.File
	hash *asynchash.File
}

// copyWithin copies a file that was opened to a place in another one, within the kernel, and
// begins to hash what was written. It reports what it wrote to early.
func copyWithin(ctx context.Context, f *bundle.File, from, to *os.File, at int64, early *disk.EarlyWriter,
	hashed func(int64)) (*copiedFile, error) {
	info, err := from.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() != f.Size {
		return nil, diagnose(ctx, f, fmt.Errorf("%s has %d bytes, %d are expected", f.Name, info.Size(), f.Size))
	}
	hash := asynchash.OfFile(to, at, f.Digest.Algorithm().Hash(), hashed)
	err = filecopy.NewSection(from, 0, f.Size, nil).CopyTo(ctx, to, at, func(n int64) { hash.Written(n); early.Wrote(n) })
	if err == nil {
		return &copiedFile{f, hash}, nil
	}
	hash.Stop()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, diagnose(ctx, f, fmt.Errorf("%s: %w", f.Name, err))
	}
	return nil, fmt.Errorf("%s: %w", f.Name, err)
}

// verify waits until the copy is hashed, and compares it with the digest.
func (c *copiedFile) verify(ctx context.Context) error {
	sum, err := c.hash.Sum(ctx)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("reading %s back: %w", c.file.Name, err)
	}
	if digest.NewDigestFromBytes(c.file.Digest.Algorithm(), sum) == c.file.Digest {
		return nil
	}
	return diagnose(ctx, c.file, fmt.Errorf("%s was not written correctly", c.file.Name))
}

// diagnose returns the error of reading a file that could not be copied, which reports damage in
// the store with its remedy, or else the other error.
func diagnose(ctx context.Context, f *bundle.File, otherwise error) error {
	if err := copyFile(ctx, io.Discard, *f, make([]byte, readAheadSize), func(int) {}); err != nil {
		return err
	}
	return otherwise
}
