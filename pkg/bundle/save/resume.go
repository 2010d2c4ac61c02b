package save

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/partialfile"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
)

// resumable is an output that keeps the data of an interrupted save.
type resumable interface {
	io.Writer
	// Earlier returns the data of the interrupted save, from its beginning.
	Earlier() (io.Reader, error)
	// Keep keeps the first n bytes of it, and removes the rest. Writes append to them.
	Keep(n int64) error
}

// writeResumed writes the tar to an output that may have the beginning of it. Because the
// plan determines every byte, the earlier data is compared with the plan: headers byte by
// byte, and contents by their digests. Everything before the first difference is kept.
func writeResumed(ctx context.Context, out resumable, files []bundle.File, opts Options) (kept int64, err error) {
	earlier, err := out.Earlier()
	if err != nil {
		return 0, err
	}
	t := newTarWriter(files, opts)
	kept, count, other, err := t.compare(ctx, bufio.NewReaderSize(earlier, 1<<20))
	if err != nil {
		return 0, err
	}
	if other && opts.Resume {
		return 0, usererr.Errorf("omit --resume to save it from the beginning",
			"the data of an interrupted save belongs to another set, or was written with other options")
	}
	if err := out.Keep(kept); err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(out, gatherSize)
	if f, ok := out.(*fileOutput); ok && !opts.ReadOnce {
		t.kernel = &kernelCopy{out: f, buf: w}
	}
	err = t.write(ctx, w, count)
	if flushErr := w.Flush(); err == nil { // after an error, the next save finds the complete pieces
		err = flushErr
	}
	return kept, err
}

// compare reads an earlier output until it ends or differs, and returns the bytes and the
// number of whole pieces before that. other reports whether the manifest differs, which
// means that it belongs to another bundle.
func (t *tarWriter) compare(ctx context.Context, r io.Reader) (kept int64, count int, other bool, err error) {
	manifest := false // the manifest was read
	err = bundle.Pieces(t.files, func(p bundle.Piece) error {
		if p.File != nil && p.File.Name == bundle.ManifestName {
			manifest = true
		}
		n, err := t.same(ctx, r, p)
		switch {
		case errors.Is(err, errDiffers):
			other = !manifest || p.File != nil && p.File.Name == bundle.ManifestName
			return err
		case err != nil:
			return err
		}
		kept += n
		count++
		return nil
	})
	if errors.Is(err, errDiffers) || errors.Is(err, io.EOF) {
		err = nil
	}
	return kept, count, other, err
}

var errDiffers = errors.New("it differs")

// same returns the size of a piece if the reader returns the same bytes. The error is
// io.EOF if the reader ends earlier, and errDiffers if the bytes differ.
func (t *tarWriter) same(ctx context.Context, r io.Reader, p bundle.Piece) (int64, error) {
	if p.File == nil {
		b := make([]byte, len(p.Bytes))
		if err := readFull(r, b); err != nil {
			return 0, err
		}
		if !bytes.Equal(b, p.Bytes) {
			return 0, errDiffers
		}
		return int64(len(b)), nil
	}
	sum := p.File.Digest.Algorithm().Hash()
	for remaining := p.File.Size; remaining > 0; {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		b := t.buf[:min(remaining, int64(len(t.buf)))]
		if err := readFull(r, b); err != nil {
			return 0, err
		}
		sum.Write(b)
		remaining -= int64(len(b))
	}
	if digest.NewDigest(p.File.Digest.Algorithm(), sum) != p.File.Digest {
		return 0, errDiffers
	}
	t.add(int(p.File.Size))
	return p.File.Size, nil
}

// readFull fills a buffer. The error is io.EOF if there is less.
func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.EOF
	case err != nil && err != io.EOF:
		return usererr.Errorf("remove it to save from the beginning, or save to another disk",
			"reading the data of an interrupted save: %w", err)
	}
	return err
}

// fileOutput is a file that is written in several runs.
type fileOutput struct {
	*partialfile.File
	early *disk.EarlyWriter
}

// Keep implements resumable.
func (f *fileOutput) Keep(n int64) error {
	err := f.File.Keep(n)
	f.early = disk.NewEarlyWriter(f.File.File)
	return err
}

// Write implements io.Writer, after Keep.
func (f *fileOutput) Write(p []byte) (int, error) { return f.early.Write(p) }

// Earlier implements resumable.
func (f *fileOutput) Earlier() (io.Reader, error) {
	_, err := f.Seek(0, io.SeekStart)
	return f.File, err
}
