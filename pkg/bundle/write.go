package bundle

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/filecopy"
)

// file is a file of a bundle that is to be written.
type file struct {
	name   string
	size   int64
	digest digest.Digest // of its content
	open   func() (io.ReadCloser, error)
}

// contentFile returns a file whose content is in memory.
func contentFile(name string, content []byte) file {
	return file{name, int64(len(content)), digest.FromBytes(content), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
}

// files returns the files of the bundle in the order of the tar. The manifest, its
// signature and the index come first, so that a reader knows the content before it
// stores anything.
func (p *plan) files(opts SaveOptions) ([]file, error) {
	layout, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return nil, err
	}
	files := []file{contentFile(ocispec.ImageLayoutFile, layout), contentFile(ocispec.ImageIndexFile, p.index)}
	if p.delta == nil {
		files = append(files, contentFile(dockerManifest, p.docker))
	} else {
		index, err := p.delta.index()
		if err != nil {
			return nil, err
		}
		files = append(files, contentFile(deltaIndex, index))
	}
	files = p.appendBlobs(files, p.small)
	if p.delta != nil { // after the manifests, which refer to the layers
		for _, m := range p.delta.deltas {
			d := m.target.digest
			name := deltaDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
			files = append(files, file{name, m.size, m.digest, func() (io.ReadCloser, error) {
				return io.NopCloser(io.NewSectionReader(p.delta.file, m.offset, m.size)), nil
			}})
		}
	}
	files = p.appendBlobs(files, p.large)
	manifest, err := p.manifest(opts, files)
	if err != nil {
		return nil, err
	}
	head := []file{files[0], contentFile(manifestFile, manifest)}
	if signature := sign(manifest, opts.SignKey); signature != nil {
		head = append(head, contentFile(signatureFile, signature))
	}
	return append(head, files[1:]...), nil
}

func (p *plan) appendBlobs(files []file, blobs []blob) []file {
	for _, b := range blobs {
		open := func() (io.ReadCloser, error) { return p.st.OpenBlob(b.digest) }
		files = append(files, file{blobName(b.digest), b.size, b.digest, open})
	}
	return files
}

// gatherSize is the size of the buffer in which headers and small files are put together.
// Pieces of large files, which are read ahead, are larger and pass it without being copied.
const gatherSize = 64 << 10

// write writes the files as a tar.
func write(ctx context.Context, w io.Writer, files []file, opts SaveOptions) error {
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

// piece is a sequence of bytes of the tar: the content of a file, or the bytes between
// contents.
type piece struct {
	bytes      []byte
	file, next *file // the file whose content it is, if it is not bytes, and the one after it
}

// pieces calls visit for the pieces of the tar, in order. The same files give the same
// pieces.
func pieces(files []file, visit func(piece) error) error {
	dirs := false
	for i := range files {
		f, next := &files[i], (*file)(nil)
		if i+1 < len(files) {
			next = &files[i+1]
		}
		var head []byte
		if _, isBlob := blobDigest(f.name); isBlob && !dirs {
			dirs = true
			for _, dir := range []string{"blobs/", "blobs/sha256/"} {
				h := header(dir, 0)
				h.Typeflag, h.Mode = tar.TypeDir, 0o755
				b, err := encodeHeader(h)
				if err != nil {
					return err
				}
				head = append(head, b...)
			}
		}
		b, err := encodeHeader(header(f.name, f.size))
		if err != nil {
			return err
		}
		padding := make([]byte, -f.size&(tarBlock-1))
		for _, p := range []piece{{bytes: append(head, b...)}, {file: f, next: next}, {bytes: padding}} {
			if err := visit(p); err != nil {
				return err
			}
		}
	}
	return visit(piece{bytes: make([]byte, 2*tarBlock)})
}

const tarBlock = 512

// tarSize returns the bytes of the tar.
func tarSize(files []file) (int64, error) {
	var n int64
	err := pieces(files, func(p piece) error {
		if n += int64(len(p.bytes)); p.file != nil {
			n += p.file.size
		}
		return nil
	})
	return n, err
}

func encodeHeader(h *tar.Header) ([]byte, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(h)
	return b.Bytes(), err
}

// tarWriter writes the pieces of a tar.
type tarWriter struct {
	files       []file
	progressMu  sync.Mutex // copies within the kernel are counted in goroutines
	progress    Progress
	done, total int64
	buf         []byte
	next        *opened     // the file that is read ahead, beside the current one
	oneByOne    bool        // do not read the next file ahead
	kernel      *kernelCopy // nil if the output is not a regular file, or if its file system cannot copy
}

// opened is a file that was opened, or could not be.
type opened struct {
	file *file
	r    io.ReadCloser
	err  error
}

func newTarWriter(files []file, opts SaveOptions) *tarWriter {
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
	err := pieces(t.files, func(p piece) error {
		if n++; n <= skip {
			return nil
		}
		if p.file != nil {
			return t.copy(ctx, w, p)
		}
		_, err := w.Write(p.bytes)
		return err
	})
	if err == nil && t.kernel != nil {
		err = t.kernel.end(ctx)
	}
	return err
}

// copy writes the content of a file: within the kernel, or while the next one is read ahead.
func (t *tarWriter) copy(ctx context.Context, w io.Writer, p piece) error {
	if t.kernel != nil && p.file.size >= filecopy.MinSize {
		err := t.copyWithin(ctx, p.file)
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	current := t.next
	if current == nil || current.file != p.file {
		current = open(p.file)
	} else {
		t.next = nil
	}
	if current.err != nil {
		return current.err
	}
	defer current.r.Close()
	if !t.oneByOne && t.kernel == nil && t.next == nil && p.next != nil && p.next.size >= readAheadSize {
		t.next = open(p.next)
	}
	return copyContent(ctx, w, *p.file, current.r, t.buf, t.add)
}

// copyWithin copies a file within the kernel. After errors.ErrUnsupported, nothing was written.
func (t *tarWriter) copyWithin(ctx context.Context, f *file) error {
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
func open(f *file) *opened {
	r, err := f.open()
	if err == nil && f.size >= readAheadSize {
		r = newReadAhead(r)
	}
	return &opened{f, r, err}
}

func totalSize(files []file) int64 {
	var n int64
	for _, f := range files {
		n += f.size
	}
	return n
}

// copyFile writes the content of a file.
func copyFile(ctx context.Context, w io.Writer, f file, buf []byte, copied func(int)) error {
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
func copyContent(ctx context.Context, w io.Writer, f file, r io.Reader, buf []byte, copied func(int)) error {
	read := func() ([]byte, error) {
		n, err := r.Read(buf)
		return buf[:n], err
	}
	if ahead, ok := r.(*readAhead); ok {
		read = ahead.next
	}
	for left := f.size; ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b, err := read()
		if left -= int64(len(b)); left >= 0 && len(b) > 0 {
			if _, werr := w.Write(b); werr != nil {
				return fmt.Errorf("%s: %w", f.name, werr)
			}
			copied(len(b))
		}
		switch {
		case err == io.EOF && left != 0:
			return fmt.Errorf("%s has %d bytes, %d are expected", f.name, f.size-left, f.size)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// header returns the header of a file, without fields that differ between machines.
func header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)}
}
