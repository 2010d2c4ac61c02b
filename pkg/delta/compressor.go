package delta

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ctxio"
	"github.com/kolla-build/kolla-build/internal/untar"
	"github.com/kolla-build/kolla-build/pkg/compress"
)

// uncompressed is the compressor of plain tars, and goGzip is the standard library's
// gzip, which other builders use.
const (
	uncompressed = "none"
	goGzip       = "go-gzip"
)

// maxWindow bounds the memory that decompressing a layer takes.
const maxWindow = 32 << 20

// openTar returns the tar of a layer in any compression, and its candidates: the
// compressors that may have written it.
func openTar(r io.Reader) (tar io.ReadCloser, candidates []string, err error) {
	buffered := bufio.NewReaderSize(r, 256<<10)
	start, err := buffered.Peek(untar.MagicSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch untar.FormatOf(start) {
	case untar.Gzip:
		z, err := kgzip.NewReader(buffered)
		if err != nil {
			return nil, nil, err
		}
		for _, level := range []int{6, 9, 1, 5, 7, 8, 2, 3, 4} {
			candidates = append(candidates, fmt.Sprintf("%s:%d", compress.Gzip, level))
		}
		return z, slices.Insert(candidates, 1, goGzip), nil
	case untar.Zstd:
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		for _, level := range []int{3, 1, 7, 12} { // the library has four
			candidates = append(candidates, fmt.Sprintf("%s:%d", compress.Zstd, level))
		}
		return z.IOReadCloser(), candidates, nil
	}
	return io.NopCloser(buffered), []string{uncompressed}, nil
}

// newCompressor returns a writer with a recorded compressor.
func newCompressor(name string, w io.Writer) (io.WriteCloser, error) {
	switch name {
	case uncompressed:
		return nopCloser{w}, nil
	case goGzip:
		return gzip.NewWriter(w), nil
	}
	settings, err := compress.Parse(name)
	if err != nil {
		return nil, err
	}
	return settings.NewWriter(w)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// versionOf returns the version of a compressor, which affects its output.
func versionOf(name string) string {
	switch name {
	case uncompressed:
		return ""
	case goGzip:
		return runtime.Version()
	}
	settings, err := compress.Parse(name)
	if err != nil {
		return ""
	}
	return settings.Version()
}

// errDiffers stops a compressor as soon as its output differs.
var errDiffers = errors.New("the output differs")

// comparer is a writer that expects the bytes of a reader.
type comparer struct {
	want io.Reader
	buf  []byte
}

func (c *comparer) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n, err := io.ReadFull(c.want, c.buf[:min(len(c.buf), len(p)-done)])
		if string(c.buf[:n]) != string(p[done:done+n]) || n == 0 {
			return 0, errDiffers
		}
		if done += n; err != nil && done < len(p) {
			return 0, errDiffers
		}
	}
	return len(p), nil
}

// findCompressor returns the compressor that turns the tar into exactly this layer, ""
// if none does, and a description of the layer.
func findCompressor(ctx context.Context, l Blob) (string, Layer, error) {
	out := Layer{Digest: l.Digest, Size: l.Size}
	var candidates []string
	for i := 0; i == 0 || i < len(candidates); i++ {
		name, found, err := tryCompressor(ctx, l, i, &candidates, &out)
		if found || err != nil {
			return name, out, err
		}
	}
	return "", out, nil
}

// tryCompressor compresses the tar with candidate number i and compares.
func tryCompressor(ctx context.Context, layer Blob, i int, candidates *[]string, out *Layer) (
	name string, same bool, err error) {
	blob, err := layer.Open()
	if err != nil {
		return "", false, &readError{err}
	}
	defer blob.Close()
	tar, names, err := openTar(blob)
	if err != nil {
		return "", false, &readError{err}
	}
	defer tar.Close()
	*candidates = names
	want, err := layer.Open()
	if err != nil {
		return "", false, &readError{err}
	}
	defer want.Close()
	cmp := &comparer{want: want, buf: make([]byte, 64<<10)}
	z, err := newCompressor(names[i], cmp)
	if err != nil {
		return "", false, err
	}
	sum := digest.Canonical.Digester()
	n, err := ctxio.Copy(ctx, io.MultiWriter(z, sum.Hash()), layerReader{tar})
	if err == nil {
		err = z.Close()
	}
	if errors.Is(err, errDiffers) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	if rest, err := io.CopyN(io.Discard, want, 1); rest > 0 || err != io.EOF {
		return "", false, nil // more data follows, such as another gzip member
	}
	out.DiffID, out.TarSize = sum.Digest(), n
	return names[i], true, nil
}

// layerReader returns the errors of reading a layer as *readError.
type layerReader struct{ r io.Reader }

func (l layerReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if err != nil && err != io.EOF {
		err = &readError{err}
	}
	return n, err
}

// readError reports that a layer cannot be read or decompressed.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }
