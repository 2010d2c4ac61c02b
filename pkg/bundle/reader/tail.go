package reader

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"github.com/kolla-build/kolla-build/pkg/bundle"
)

// maxPadding is how many zeros may follow a tar, in bytes. Tapes and dd pad with a few megabytes.
const maxPadding = 1 << 30

const adviceJoined = "load files that were joined one at a time; copy a file that was not joined again"

// tail is what follows the last file of a tar: the checksum of its compression, and padding.
type tail struct {
	r          io.Reader // after the end of the tar
	compressed bool
}

// Finish reads a bundle to its end. Until there, nothing has noticed that a compressed file lacks its
// end. It also lets the program that writes to a pipe end without an error.
func (s *Source) Finish(ctx context.Context) error {
	if s.tail.r != nil {
		if err := s.tail.read(ctx); err != nil {
			return err
		}
	}
	if s.rest != nil {
		if _, err := io.Copy(io.Discard, s.rest); err != nil {
			return err
		}
	}
	return nil
}

func (t tail) read(ctx context.Context) error {
	buf, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for n := 0; ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		k, err := t.r.Read(buf)
		if n += k; !bytes.Equal(buf[:k], zeros[:k]) || n > maxPadding {
			return &bundle.FormatError{Detail: "data follows the end of the tar", Advice: adviceJoined}
		}
		switch {
		case err == io.EOF:
			return nil
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case t.compressed && errors.Is(err, io.ErrUnexpectedEOF):
			return &bundle.FormatError{Detail: "its end is missing after the last file", Advice: bundle.AdviceTruncated}
		case t.compressed:
			return &bundle.FormatError{Detail: "after the last file", Err: err, Advice: bundle.AdviceDamaged}
		default:
			return err
		}
	}
}

// isDevice reports whether a bundle is read from a disk, which has other data after it.
func isDevice(file string, stdin io.Reader) bool {
	var st os.FileInfo
	var err error
	if file != "-" {
		st, err = os.Stat(file)
	} else if f, ok := stdin.(*os.File); ok {
		st, err = f.Stat()
	}
	return err == nil && st != nil && st.Mode()&os.ModeDevice != 0
}
