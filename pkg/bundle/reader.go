package bundle

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds on what a bundle may make us hold in memory.
const (
	maxLayout   = 4 << 10
	maxIndex    = 64 << 20 // some 100,000 images
	maxManifest = 16 << 20
	maxMembers  = 4 << 20 // files in one bundle
)

const dockerManifest = "manifest.json"

// FormatError says that a file is no bundle, or a damaged one.
type FormatError struct {
	Member string // the file within the tar, "" if it is about the whole
	Blob   digest.Digest
	Of     string // what the blob is: "layer 3 of 7 of localhost:4000/kolla/nova-api:t"
	Detail string
	Hint   string
	Err    error
}

func (e *FormatError) Error() string {
	var s string
	switch {
	case e.Blob != "" && e.Of != "":
		s = fmt.Sprintf("blob %s (%s): ", e.Blob, e.Of)
	case e.Blob != "":
		s = fmt.Sprintf("blob %s: ", e.Blob)
	case e.Member != "":
		s = fmt.Sprintf("file %q in it: ", e.Member)
	}
	s += e.Detail
	if e.Err != nil {
		if e.Detail != "" {
			s += ": "
		}
		s += e.Err.Error()
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *FormatError) Unwrap() error { return e.Err }

const hintTruncated = "the file is cut off: copy it again; what arrived whole is kept, so that loading it again goes on from there"

// source is an open bundle: a tar, whatever is around it.
type source struct {
	tr    *tar.Reader
	close func()
}

// openSource opens a bundle file, or stdin for "-", and sees through compression.
func openSource(file string, stdin io.Reader) (*source, error) {
	if file == "-" {
		if stdin == nil {
			stdin = os.Stdin
		}
		return newSource(stdin, func() {})
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err == nil && st.IsDir() {
		f.Close()
		return nil, &FormatError{Detail: "it is a directory, not a tar"}
	}
	s, err := newSource(f, func() { f.Close() })
	if err != nil {
		f.Close()
	}
	return s, err
}

func newSource(r io.Reader, closer func()) (*source, error) {
	magic := make([]byte, 6)
	n, err := io.ReadFull(r, magic)
	magic = magic[:n]
	switch {
	case n == 0:
		return nil, &FormatError{Detail: "it is empty"}
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, err
	}
	var whole io.Reader
	if sk, ok := r.(io.Seeker); ok {
		// A plain file: the tar reader skips by seeking what it need not read.
		if _, err := sk.Seek(0, io.SeekStart); err == nil {
			whole = r
		}
	}
	if whole == nil {
		whole = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(magic), r), 1<<20)
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(bufio.NewReaderSize(whole, 1<<20))
		if err != nil {
			return nil, &FormatError{Detail: "damaged gzip", Err: err}
		}
		return &source{tr: tar.NewReader(z), close: closer}, nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(whole, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, &FormatError{Detail: "damaged zstd", Err: err}
		}
		return &source{tr: tar.NewReader(z), close: func() { z.Close(); closer() }}, nil
	case bytes.Equal(magic, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return nil, &FormatError{Detail: "it is compressed with xz", Hint: "decompress it first: xz -dc FILE | … load -"}
	case bytes.HasPrefix(magic, []byte("BZh")):
		return nil, &FormatError{Detail: "it is compressed with bzip2", Hint: "decompress it first: bzip2 -dc FILE | … load -"}
	}
	return &source{tr: tar.NewReader(whole), close: closer}, nil
}

// member is one file of a bundle after the checks on its header.
type member struct {
	name   string
	digest digest.Digest // of a blob, "" for others
	size   int64
}

// checker holds what makes a sequence of headers a bundle.
type checker struct {
	seen map[string]bool
}

// next returns the next file, skipping directories, or io.EOF at the end.
func (c *checker) next(s *source) (member, error) {
	for {
		h, err := s.tr.Next()
		if err == io.EOF {
			return member{}, io.EOF
		}
		if err != nil {
			return member{}, c.damaged(err)
		}
		m, err := c.check(h)
		if err != nil || m.name != "" {
			return m, err
		}
	}
}

func (c *checker) damaged(err error) error {
	switch {
	case errors.Is(err, tar.ErrHeader) && len(c.seen) == 0:
		return &FormatError{Detail: "it is not a tar", Hint: "a bundle is what save writes", Err: err}
	case errors.Is(err, tar.ErrHeader):
		return &FormatError{Detail: fmt.Sprintf("the tar is damaged after %d files", len(c.seen)), Err: err, Hint: "copy the file again"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &FormatError{Detail: fmt.Sprintf("it ends in the middle, after %d files", len(c.seen)), Hint: hintTruncated}
	}
	return &FormatError{Detail: "reading it", Err: err}
}

// check refuses whatever a bundle cannot hold. It returns a member without a
// name for directories, which mean nothing here.
func (c *checker) check(h *tar.Header) (member, error) {
	refuse := func(detail string) (member, error) {
		return member{}, &FormatError{Member: h.Name, Detail: detail, Hint: "this is not what save writes; do not trust the file"}
	}
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	if len(c.seen) >= maxMembers {
		return refuse("one file too many")
	}
	if strings.HasPrefix(h.Name, "/") || strings.Contains(h.Name, "\\") || strings.ContainsRune(h.Name, 0) {
		return refuse("its name is not allowed")
	}
	for _, part := range strings.Split(h.Name, "/") {
		if part == ".." {
			return refuse("its name leads out of the bundle")
		}
	}
	name := path.Clean(h.Name) // takes off "./", which tar adds when told to pack "."
	switch h.Typeflag {
	case tar.TypeDir:
		switch {
		case name == "." || name == "blobs" || path.Dir(name) == "blobs":
			return member{}, nil
		}
		return c.unexpected(h.Name)
	case tar.TypeReg:
	case tar.TypeSymlink, tar.TypeLink:
		return refuse("it is a link")
	case tar.TypeGNUSparse:
		return refuse("it is a sparse file")
	default:
		return refuse(fmt.Sprintf("it is no regular file (type %q)", h.Typeflag))
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse") {
			return refuse("it is a sparse file")
		}
	}
	if h.Size < 0 {
		return refuse("its size is negative")
	}
	if c.seen[name] {
		return refuse("it is there twice")
	}
	c.seen[name] = true
	m := member{name: name, size: h.Size}
	switch name {
	case ocispec.ImageLayoutFile, ocispec.ImageIndexFile, dockerManifest, "repositories":
		return m, nil
	}
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] != "blobs" {
		return c.unexpected(h.Name)
	}
	m.digest = digest.NewDigestFromEncoded(digest.Algorithm(parts[1]), parts[2])
	if err := m.digest.Validate(); err != nil {
		return refuse("its name is no digest")
	}
	return m, nil
}

func (c *checker) unexpected(name string) (member, error) {
	e := &FormatError{Member: name, Detail: "it does not belong in a bundle"}
	if c.seen[ocispec.ImageIndexFile] || c.seen[ocispec.ImageLayoutFile] {
		e.Hint = "this is not what save writes; do not trust the file"
	} else {
		e.Hint = "a bundle is what save writes; a root file system or the output of docker save is a base image, not a bundle"
	}
	return member{}, e
}

// readSmall reads a whole member that may be at most limit bytes.
func readSmall(s *source, m member, limit int64) ([]byte, error) {
	if m.size > limit {
		return nil, &FormatError{Member: m.name, Detail: fmt.Sprintf("its %d bytes are too many, %d are allowed", m.size, limit)}
	}
	b, err := io.ReadAll(io.LimitReader(s.tr, limit))
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, &FormatError{Member: m.name, Detail: fmt.Sprintf("it ends after %d of %d bytes", len(b), m.size), Hint: hintTruncated}
		}
		return nil, &FormatError{Member: m.name, Detail: "reading it", Err: err}
	}
	return b, nil
}
