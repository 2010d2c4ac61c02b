// Package reader opens bundles for reading: files, compressed or not, directories, parts, and those of
// other tools. It checks the names, types and sizes of their files, and compares them with the manifest.
//
// Bundles are hostile: memory is bounded, and a tar is read once, from front to back, so that it can
// come through a pipe. The package must not know what the content is read for.
package reader

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"syscall"

	"github.com/klauspost/compress/zstd"

	"github.com/kolla-build/kolla-build/internal/filecopy"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/untar"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
)

// Files has the files of a bundle one after another, as a *tar.Reader has them.
type Files interface {
	Next() (*tar.Header, error)
	io.Reader // of the current file
}

// sectioned has contents that can be copied within the kernel.
type sectioned interface {
	// section returns the content of the current file, of which nothing was read, or nil.
	section(size int64) *filecopy.Section
}

// Source is an open bundle: a tar, compressed or not, or a directory.
type Source struct {
	Files Files
	Parts *parts.Set // nil for one file
	Extra []string   // of a directory: files that do not belong to the bundle

	plain sectioned // the file or directory if contents are in it as they are, else nil
	close func()
	tail  tail             // its r is nil for a directory or device
	rest  io.Reader        // the rest of the parts after the tar, whose end is verified
	dir   bool             // it is a directory
	track *progressTracker // counts the bytes that were read; may be nil
}

// Close closes the files.
func (s *Source) Close() { s.close() }

// OpenParts opens a bundle that is in several files. Lost ones are restored in tempDir.
func OpenParts(ctx context.Context, report bundle.Progress, tempDir string, files ...string) (*Source, error) {
	set, err := parts.Open(files...)
	if err != nil {
		return nil, err
	}
	set.Progress, set.TempDir = report, tempDir
	r, err := set.Reader(ctx)
	if err != nil {
		return nil, err
	}
	return FromParts(set, r)
}

// FromParts returns a source that reads from r, the stream of a set of parts. Closing it, and an
// error, close r.
func FromParts(set *parts.Set, r io.ReadCloser) (*Source, error) {
	s, err := newSource(r, func() { r.Close() })
	if err != nil {
		r.Close()
		return nil, err
	}
	s.Parts, s.rest = set, r
	return s, nil
}

// Open opens a bundle file, or stdin for "-", and decompresses it. report is called
// while it is read; it may be nil.
func Open(ctx context.Context, file string, stdin io.Reader, report bundle.Progress) (*Source, error) {
	if file != "-" && parts.IsPart(file) {
		return OpenParts(ctx, report, "", file)
	}
	track := &progressTracker{report: report}
	var r io.ReadCloser
	if file == "-" {
		if stdin == nil {
			stdin = os.Stdin
		}
		r = inputfile.Interruptible(ctx, io.NopCloser(stdin))
	} else {
		var err error
		r, err = inputfile.Open(ctx, file)
		if errors.Is(err, syscall.EISDIR) {
			return openDirectory(ctx, file, track)
		}
		if err != nil {
			return nil, openError(file, err)
		}
	}
	r = track.reader(r)
	s, err := newSource(r, func() { r.Close() })
	if err != nil {
		r.Close()
		return nil, err
	}
	s.track = track
	if isDevice(file, stdin) {
		s.tail.r = nil
	}
	return s, nil
}

// OpenUnverified opens a bundle; its parts are read without verification, unless some are
// lost and can be restored.
func OpenUnverified(ctx context.Context, path string, files []string, stdin io.Reader) (*Source, error) {
	if len(files) == 0 && path != "-" && parts.IsPart(path) {
		files = []string{path}
	}
	if len(files) == 0 {
		return Open(ctx, path, stdin, nil)
	}
	set, err := parts.Open(files...)
	if err != nil {
		return nil, err
	}
	if len(set.Lost()) > 0 && set.Needed() == 0 {
		return OpenParts(ctx, nil, "", files...)
	}
	return FromParts(set, set.Scan(ctx))
}

// openError is the error for a bundle file that cannot be opened. Callers name the file.
func openError(file string, err error) error {
	err = inputfile.WithoutPath(err)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if file == "" {
		return errors.New("the name of the file is empty")
	}
	if part := parts.First(file); part != "" {
		return usererr.WithHint(err, "it was saved in parts: name one of them, such as "+part)
	}
	return err
}

// Expect sets the size of a bundle that comes through a pipe.
func (s *Source) Expect(m *bundle.Manifest) {
	if s.track != nil {
		// Each file has a header of 512 bytes, and is followed by zeros up to a multiple of them.
		s.track.expect(m.Bytes() + int64(len(m.Files))*768)
	}
}

// openDirectory opens a directory that save or another tool wrote.
func openDirectory(ctx context.Context, dir string, track *progressTracker) (*Source, error) {
	s, err := openForeignDir(ctx, dir)
	if s == nil && err == nil {
		s, err = openDir(ctx, dir)
	}
	if err != nil {
		return nil, err
	}
	if d, ok := s.Files.(*dirFiles); ok {
		var total int64
		for _, h := range d.headers {
			total += h.Size
		}
		track.expect(total)
	}
	tracked := &trackedFiles{Files: s.Files, tracker: track}
	s.Files, s.plain, s.track = tracked, tracked, track
	return s, nil
}

// headerBuffer is the size of the buffer that headers of a tar are read with. Content is read in pieces
// of 1 MiB, which pass this buffer without being copied, because they are larger.
const headerBuffer = 64 << 10

// jsonBegin is the beginning of a JSON object. Templates begin in other ways.
var jsonBegin = regexp.MustCompile(`^\{\s*"`)

func newSource(r io.Reader, closer func()) (*Source, error) {
	magic := make([]byte, 32)
	n, err := io.ReadFull(r, magic)
	magic = magic[:n]
	switch {
	case n == 0 && (err == io.EOF || err == nil):
		return nil, &bundle.FormatError{Detail: "it is empty"}
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, err
	case parts.IsBeginning(magic):
		return nil, &bundle.FormatError{Detail: "it is a part of a bundle",
			Advice: "name the files of the parts, which cannot be read from a pipe"}
	case jsonBegin.Match(magic):
		return nil, &bundle.FormatError{Detail: "it is JSON, and not a bundle",
			Advice: "save --since reads the files of kolla-build inventory"}
	}
	var stream io.Reader
	if sk, ok := r.(io.Seeker); ok {
		// The tar reader skips content of a regular file by seeking.
		if _, err := sk.Seek(0, io.SeekStart); err == nil {
			stream = r
		}
	}
	if stream == nil {
		stream = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(magic), r), headerBuffer)
	}
	switch untar.FormatOf(magic) {
	case untar.Gzip:
		z, err := gzip.NewReader(bufio.NewReaderSize(stream, 1<<20))
		if err != nil {
			return nil, &bundle.FormatError{Detail: "damaged gzip", Err: err}
		}
		return &Source{Files: tar.NewReader(z), tail: tail{z, true}, close: closer}, nil
	case untar.Zstd:
		z, err := zstd.NewReader(stream, zstd.WithDecoderMaxWindow(128<<20),
			zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, &bundle.FormatError{Detail: "damaged zstd", Err: err}
		}
		return &Source{Files: tar.NewReader(z), tail: tail{z, true}, close: func() { z.Close(); closer() }}, nil
	case untar.XZ, untar.Bzip2:
		z, err := untar.Decompress(stream)
		if err != nil {
			return nil, &bundle.FormatError{Detail: "damaged", Err: err}
		}
		return &Source{Files: tar.NewReader(z), tail: tail{z, true}, close: func() { z.Close(); closer() }}, nil
	}
	plain, _ := stream.(*trackedFile)
	s := &Source{Files: tar.NewReader(stream), tail: tail{r: stream}, close: closer}
	if plain != nil {
		s.plain = plain
	}
	return s, nil
}

// Content returns the content of the current file, of which nothing was read.
func (s *Source) Content(size int64) io.Reader {
	if s.plain != nil {
		if section := s.plain.section(size); section != nil {
			return section
		}
	}
	return s.Files
}
