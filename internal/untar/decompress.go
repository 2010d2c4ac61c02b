package untar

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/xi2/xz"
)

// maxWindow limits the memory that a compressed file may demand of its reader.
// zstd --ultra -22 and xz -9 demand 128 and 64 MiB.
const maxWindow = 128 << 20

// Open opens a file and returns its decompressed content, see Decompress. A FIFO
// or a device is an error.
func Open(path string) (io.ReadCloser, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := Decompress(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &stackedCloser{r, f}, nil
}

// Decompress returns the decompressed content of r. The first bytes decide on the
// compression: gzip, bzip2, xz, zstd or none. An error in the compressed data is
// returned by Read. Closing the result does not close r.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(r, 1<<18)
	magic, err := in.Peek(MagicSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch FormatOf(magic) {
	case Gzip:
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("decompressing gzip: %w", err)
		}
		return z, nil
	case Zstd:
		z, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("decompressing zstd: %w", err)
		}
		return z.IOReadCloser(), nil
	case Bzip2:
		return io.NopCloser(bzip2.NewReader(in)), nil
	case XZ:
		z, err := xz.NewReader(in, maxWindow)
		if err != nil {
			return nil, fmt.Errorf("decompressing xz: %w", err)
		}
		return io.NopCloser(z), nil
	}
	return io.NopCloser(in), nil
}

type stackedCloser struct {
	io.ReadCloser
	file *os.File
}

func (s *stackedCloser) Close() error { return errors.Join(s.ReadCloser.Close(), s.file.Close()) }
