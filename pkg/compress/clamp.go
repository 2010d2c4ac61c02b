package compress

import (
	"archive/tar"
	"bufio"
	"errors"
	"io"
	"time"
)

// clampTimes copies a tar and sets the times in it that are later than the limit to the
// limit. It reads r to its end, including padding after the tar.
func clampTimes(w io.Writer, r io.Reader, limit time.Time) error {
	buf := make([]byte, 256<<10)
	r = bufio.NewReaderSize(r, len(buf)) // headers are read 512 bytes at a time
	in, out := tar.NewReader(r), tar.NewWriter(w)
	for {
		hdr, err := in.Next()
		if errors.Is(err, io.EOF) {
			if err := out.Close(); err != nil {
				return err
			}
			_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, buf)
			return err
		}
		if err != nil {
			return err
		}
		for _, t := range []*time.Time{&hdr.ModTime, &hdr.AccessTime, &hdr.ChangeTime} {
			if t.After(limit) {
				*t = limit
			}
		}
		if err := out.WriteHeader(hdr); err != nil {
			return err
		}
		// Without the struct, each file would get its own buffer.
		if _, err := io.CopyBuffer(struct{ io.Writer }{out}, in, buf); err != nil {
			return err
		}
	}
}
