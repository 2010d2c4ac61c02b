package bootstrap

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// openTar opens a tar and sees through its compression. A plain file can be
// sought in; others are read front to back.
func openTar(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	magic := make([]byte, 6)
	n, err := io.ReadFull(f, magic)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, err
	}
	magic = magic[:n]
	if n == 0 {
		f.Close()
		return nil, &Error{Detail: "the file is empty"}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	in := bufio.NewReaderSize(f, 1<<20)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("damaged gzip: %w", err)
		}
		return &stacked{z, f.Close}, nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("damaged zstd: %w", err)
		}
		return &stacked{z, func() error { z.Close(); return f.Close() }}, nil
	case bytes.HasPrefix(magic, []byte("BZh")):
		return &stacked{bzip2.NewReader(in), f.Close}, nil
	case bytes.Equal(magic, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return openXZ(f)
	}
	return f, nil
}

type stacked struct {
	io.Reader
	close func() error
}

func (s *stacked) Close() error { return s.close() }

// openXZ leaves xz, which root file systems of distributions come in, to the
// program of that name.
func openXZ(f *os.File) (io.ReadCloser, error) {
	if _, err := exec.LookPath("xz"); err != nil {
		f.Close()
		return nil, &Error{Detail: "it is compressed with xz, which is not installed", Hint: "apt-get install xz-utils, or decompress it first"}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "xz", "-dc")
	cmd.Stdin = f
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		f.Close()
		return nil, err
	}
	// An error of xz must not look like the end of the file.
	return &stacked{&checkedEnd{out, func() error {
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("xz: %s", bytes.TrimSpace(said.Bytes()))
		}
		return nil
	}, false}, func() error {
		cancel()
		out.Close()
		_ = cmd.Wait()
		return f.Close()
	}}, nil
}

// checkedEnd asks end what it thinks when r is at its end.
type checkedEnd struct {
	r    io.Reader
	end  func() error
	done bool
}

func (c *checkedEnd) Read(p []byte) (int, error) {
	if c.done {
		return 0, io.EOF
	}
	n, err := c.r.Read(p)
	if err == io.EOF {
		c.done = true
		if eerr := c.end(); eerr != nil {
			return n, eerr
		}
	}
	return n, err
}
