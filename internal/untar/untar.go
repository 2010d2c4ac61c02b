// Package untar reads untrusted tar archives: it decompresses them, cleans the names of
// their members and limits their expanded size. It must not know what the archives are
// for.
package untar

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/kolla-build/kolla-build/internal/units"
)

// maxName is the longest name of a member, in bytes: Linux opens no longer path.
const maxName = 4096

// maxNames is how many bytes the names and links of all members may have. It is far
// more than sources have: a million names of 128 bytes. Tests reduce it.
var maxNames = int64(128 << 20)

// Limits bound the expanded size of an archive.
type Limits struct {
	Members int
	Bytes   int64 // of all members, headers included
}

// ErrNotTar reports that data is not a tar archive.
var ErrNotTar = errors.New("not a tar archive")

// LimitError reports that an archive expands to more than allowed.
type LimitError struct{ Limit string }

// Error implements error.
func (e *LimitError) Error() string { return "the archive expands to more than " + e.Limit }

// UnsafeError reports that a member would be written outside the directory into which
// the archive is unpacked, or is not a file, a directory or a link.
type UnsafeError struct {
	Member  string
	Problem string
}

// Error implements error.
func (e *UnsafeError) Error() string { return fmt.Sprintf("unsafe member %q: %s", e.Member, e.Problem) }

// Each calls yield with each member of an uncompressed archive, except global
// headers. If the first header cannot be read, the error is ErrNotTar. It reads
// to the end, so that errors of the compression are noticed.
func Each(ctx context.Context, r io.Reader, limits Limits, yield func(*tar.Header, io.Reader) error) error {
	in := &limitedReader{ctx: ctx, r: r, remaining: limits.Bytes, limit: limits.Bytes}
	tr := tar.NewReader(in)
	// Holes of sparse members are read without reading from r.
	body := &limitedReader{ctx: ctx, r: tr, limit: limits.Bytes}
	size, names := int64(0), int64(0)
	for n := 0; ; n++ {
		h, err := Next(tr)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			var limit *LimitError
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case errors.As(err, &limit):
				return err
			case n == 0:
				return ErrNotTar
			}
			return fmt.Errorf("reading the archive after %d members: %w", n, err)
		}
		// A sparse member is larger than its data in the archive.
		if size += h.Size; size < 0 || size > limits.Bytes {
			return &LimitError{units.Bytes(limits.Bytes)}
		}
		if n >= limits.Members {
			return &LimitError{units.Count(limits.Members, "member")}
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if len(h.Name) > maxName || len(h.Linkname) > maxName {
			return &UnsafeError{h.Name[:min(len(h.Name), 80)], "a name is longer than 4096 bytes"}
		}
		if names += int64(len(h.Name) + len(h.Linkname)); names > maxNames {
			return &LimitError{units.Bytes(maxNames) + " of names"}
		}
		body.remaining = h.Size
		if err := yield(h, body); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return fmt.Errorf("reading the archive: %w", err)
	}
	return nil
}

// Next returns the next header of a tar. Its strings are copies: those of a tar.Reader may be
// parts of an extended header of a megabyte, which a name that is kept would keep in memory.
func Next(r interface{ Next() (*tar.Header, error) }) (*tar.Header, error) {
	h, err := r.Next()
	if err != nil || len(h.PAXRecords) == 0 {
		return h, err
	}
	records := make(map[string]string, len(h.PAXRecords))
	for k, v := range h.PAXRecords {
		records[strings.Clone(k)] = strings.Clone(v)
	}
	c := *h
	c.Name, c.Linkname = strings.Clone(h.Name), strings.Clone(h.Linkname)
	c.Uname, c.Gname = strings.Clone(h.Uname), strings.Clone(h.Gname)
	c.PAXRecords = records
	//lint:ignore SA1019 its strings are in the records, too, and would keep the header in memory
	c.Xattrs = nil
	return &c, nil
}

// CleanName returns the name of a member in its shortest form, relative to the
// directory into which it is unpacked: "." is that directory itself. A name that
// is absolute or leads out of the directory is an *UnsafeError.
func CleanName(name string) (string, error) {
	switch {
	case strings.HasPrefix(name, "/"):
		return "", &UnsafeError{name, "its name is absolute"}
	case strings.ContainsRune(name, 0):
		return "", &UnsafeError{name, "its name contains a null byte"}
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == ".." {
			return "", &UnsafeError{name, `its name contains ".."`}
		}
	}
	return path.Clean(name), nil
}

// limitedReader fails when ctx ends, and after a number of bytes.
type limitedReader struct {
	ctx              context.Context //nolint:containedctx // lives as long as one call
	r                io.Reader
	remaining, limit int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, context.Cause(l.ctx)
	}
	n, err := l.r.Read(p)
	if l.remaining -= int64(n); l.remaining < 0 {
		return 0, &LimitError{units.Bytes(l.limit)}
	}
	return n, err
}
