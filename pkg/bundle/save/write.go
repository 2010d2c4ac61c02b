package save

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/filecopy"
	"github.com/kolla-build/kolla-build/pkg/bundle"
)

// files returns the files of the bundle in the order of the tar. The manifest, its
// signature and the index come first, so that a reader knows the content before it
// stores anything.
func (p *plan) files(opts Options) ([]bundle.File, error) {
	layout, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return nil, err
	}
	files := []bundle.File{bundle.ContentFile(ocispec.ImageLayoutFile, layout),
		bundle.ContentFile(ocispec.ImageIndexFile, p.index)}
	if p.delta == nil {
		files = append(files, bundle.ContentFile(bundle.DockerManifestName, p.docker))
	} else {
		list, err := p.delta.list()
		if err != nil {
			return nil, err
		}
		files = append(files, bundle.ContentFile(bundle.DeltaListName, list))
	}
	files = p.appendBlobs(files, p.small)
	if p.delta != nil { // after the manifests, which refer to the layers
		for _, m := range p.delta.deltas {
			d := m.target.digest
			files = append(files, bundle.File{Name: bundle.DeltaPath(d), Size: m.size, Digest: m.digest,
				Open: func() (io.ReadCloser, error) {
					return io.NopCloser(io.NewSectionReader(p.delta.file, m.offset, m.size)), nil
				}})
		}
	}
	files = p.appendBlobs(files, p.large)
	manifest, err := p.manifest(opts, files)
	if err != nil {
		return nil, err
	}
	head := []bundle.File{files[0], bundle.ContentFile(bundle.ManifestName, manifest)}
	if signature := sign(manifest, opts.SignKey); signature != nil {
		head = append(head, bundle.ContentFile(bundle.SignatureName, signature))
	}
	return append(head, files[1:]...), nil
}

func (p *plan) appendBlobs(files []bundle.File, blobs []blob) []bundle.File {
	for _, b := range blobs {
		open := func() (io.ReadCloser, error) { return p.st.OpenBlob(b.digest) }
		files = append(files, bundle.File{Name: bundle.BlobPath(b.digest), Size: b.size, Digest: b.digest, Open: open})
	}
	return files
}

// gatherSize is the size of the buffer in which headers and small files are put together.
// Pieces of large files, which are read ahead, are larger and pass it without being copied.
const gatherSize = 64 << 10

// write writes the files as a tar.
func write(ctx context.Context, w io.Writer, files []bundle.File, opts Options) error {
	buf := bufio.NewWriterSize(w, gatherSize)
	var out io.Writer = buf
	closeAll := buf.Flush
	switch opts.Compression {
	case None:
	case Gzip:
		z := gzip.NewWriter(buf)
		out, closeAll = z, func() error { return errors.Join(z.Close(), buf.Flush()) }
	case Zstd:
		// With several goroutines, the output would depend on the machine.
		z, err := zstd.NewWriter(buf, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return err
		}
		out, closeAll = z, func() error { return errors.Join(z.Close(), buf.Flush()) }
	default:
		return fmt.Errorf("unknown compression %q: use %q or %q", opts.Compression, Gzip, Zstd)
	}
	if err := newTarWriter(files, opts).write(ctx, out, 0); err != nil {
		return err
	}
	return closeAll()
}

// tarSize returns the bytes of the tar.
func tarSize(files []bundle.File) (int64, error) {
	var n int64
	err := bundle.Pieces(files, func(p bundle.Piece) error {
		if n += int64(len(p.Bytes)); p.File != nil {
			n += p.File.Size
		}
		return nil
	})
	return n, err
}

// tarWriter writes the pieces of a tar.
type tarWriter struct {
	files       []bundle.File
	progressMu  sync.Mutex // copies within the kernel are counted in goroutines
	progress    bundle.Progress
	done, total int64
	buf         []byte
	next        *opened     // the file that is read ahead, beside the current one
	oneByOne    bool        // do not read the next file ahead
	kernel      *kernelCopy // nil if the output is not a regular file, or if its file system cannot copy
}

// opened is a file that was opened, or could not be.
type opened struct {
	file *bundle.File
	r    io.ReadCloser
	err  error
}

func newTarWriter(files []bundle.File, opts Options) *tarWriter {
	// The connection to a registry would wait for as long as the current file takes.
	return &tarWriter{
		files: files, progress: opts.Progress, total: totalSize(files),
		buf: make([]byte, 1<<20), oneByOne: opts.ReadOnce,
	}
}

func (t *tarWriter) add(n int) {
	t.progressMu.Lock()
	defer t.progressMu.Unlock()
	if t.done += int64(n); t.progress != nil {
		t.progress(t.done, t.total)
	}
}

// write writes the tar without its first pieces.
func (t *tarWriter) write(ctx context.Context, w io.Writer, skip int) error {
	defer t.close()
	n := 0
	err := bundle.Pieces(t.files, func(p bundle.Piece) error {
		if n++; n <= skip {
			return nil
		}
		if p.File != nil {
			return t.copy(ctx, w, p)
		}
		_, err := w.Write(p.Bytes)
		return err
	})
	if err == nil && t.kernel != nil {
		err = t.kernel.end(ctx)
	}
	return err
}

// copy writes the content of a file: within the kernel, or while the next one is read ahead.
func (t *tarWriter) copy(ctx context.Context, w io.Writer, p bundle.Piece) error {
	if t.kernel != nil && p.File.Size >= filecopy.MinSize {
		err := t.copyWithin(ctx, p.File)
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	current := t.next
	if current == nil || current.file != p.File {
		current = open(p.File)
	} else {
		t.next = nil
	}
	if current.err != nil {
		return current.err
	}
	defer current.r.Close()
	if !t.oneByOne && t.kernel == nil && t.next == nil && p.Next != nil && p.Next.Size >= readAheadSize {
		t.next = open(p.Next)
	}
	return copyContent(ctx, w, *p.File, current.r, t.buf, t.add)
}

// copyWithin copies a file within the kernel. After errors.ErrUnsupported, nothing was written.
func (t *tarWriter) copyWithin(ctx context.Context, f *bundle.File) error {
	return withFile(f, func(from *os.File) error {
		err := t.kernel.copy(ctx, f, from, func(n int64) { t.add(int(n)) })
		if errors.Is(err, errors.ErrUnsupported) {
			// The others are on the same file system. Those that were copied are verified.
			if endErr := t.kernel.end(ctx); endErr != nil {
				return endErr
			}
			t.kernel = nil
		}
		return err
	})
}

// close stops a copy of the kernel and closes the file that is read ahead.
func (t *tarWriter) close() {
	if t.kernel != nil {
		t.kernel.stop()
	}
	if t.next != nil && t.next.err == nil {
		t.next.r.Close()
	}
	t.next = nil
}

// open opens a file. If it is large, its content is read ahead.
func open(f *bundle.File) *opened {
	r, err := f.Open()
	if err == nil && f.Size >= readAheadSize {
		r = newReadAhead(r)
	}
	return &opened{f, r, err}
}

func totalSize(files []bundle.File) int64 {
	var n int64
	for _, f := range files {
		n += f.Size
	}
	return n
}

// copyFile writes the content of a file.
func copyFile(ctx context.Context, w io.Writer, f bundle.File, buf []byte, copied func(int)) error {
	current := open(&f)
	if current.err != nil {
		return current.err
	}
	defer current.r.Close()
	return copyContent(ctx, w, f, current.r, buf, copied)
}

// copyContent writes the content of a file that was opened. It reads to the end, because a
// blob's reader reports damage there. A size that differs from the header would corrupt the
// rest of the tar.
func copyContent(ctx context.Context, w io.Writer, f bundle.File, r io.Reader, buf []byte, copied func(int)) error {
	read := func() ([]byte, error) {
		n, err := r.Read(buf)
		return buf[:n], err
	}
	if ahead, ok := r.(*readAhead); ok {
		read = ahead.next
	}
	for left := f.Size; ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b, err := read()
		if left -= int64(len(b)); left >= 0 && len(b) > 0 {
			if _, werr := w.Write(b); werr != nil {
				return fmt.Errorf("%s: %w", f.Name, werr)
			}
			copied(len(b))
		}
		switch {
		case err == io.EOF && left != 0:
			return fmt.Errorf("%s has %d bytes, %d are expected", f.Name, f.Size-left, f.Size)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
