package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/untar"
	"github.com/kolla-build/kolla-build/pkg/imagearchive"
)

// member is a file of a bundle whose header was checked.
type member struct {
	name   string
	digest digest.Digest // of a blob, or of the layer that a byte delta makes; "" for other files
	delta  bool          // it is a byte delta
	size   int64
	// foreign is the first member that docker save writes and a bundle cannot contain.
	foreign *tar.Header
}

// checker checks the headers of a tar.
type checker struct {
	seen map[string]bool // files by name
	dirs int
	// layout reports that a file was found that only OCI layouts have.
	layout bool
	// layoutOnly rejects files of docker save.
	layoutOnly bool
}

// count records a file.
func (c *checker) count(name string) { c.seen[name] = true }

// knownFiles are the files of a bundle, besides blobs and byte deltas.
var knownFiles = []string{
	ocispec.ImageLayoutFile, ocispec.ImageIndexFile, imagearchive.ManifestFile,
	deltaIndex, manifestFile, signatureFile, imagearchive.RepositoriesFile,
}

// isForeign reports whether docker save writes a file of this name and OCI layouts do
// not.
func isForeign(name string) bool {
	return !slices.Contains(knownFiles, name) && imagearchive.IsMember(name)
}

// next returns the next file, without directories, or io.EOF at the end.
func (c *checker) next(ctx context.Context, s *source) (member, error) {
	for {
		if err := ctx.Err(); err != nil {
			return member{}, context.Cause(ctx)
		}
		h, err := untar.Next(s.tr)
		if err == io.EOF {
			return member{}, io.EOF
		}
		if err != nil {
			return member{}, c.damagedError(err)
		}
		m, err := c.check(h)
		if err != nil || m.name != "" || m.foreign != nil {
			return m, err
		}
	}
}

func (c *checker) damagedError(err error) error {
	files := units.Count(len(c.seen), "file")
	switch {
	case errors.Is(err, tar.ErrHeader) && len(c.seen) == 0:
		return &FormatError{Detail: "it is not a tar", Advice: adviceNoBundle, Err: err}
	case errors.Is(err, tar.ErrHeader):
		return &FormatError{Detail: "the tar is damaged after " + files, Err: err, Advice: adviceDamaged}
	case errors.Is(err, io.ErrUnexpectedEOF) && len(c.seen) == 0:
		return &FormatError{Detail: "it is not a tar, or it ends before its first file", Advice: adviceNoBundle}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &FormatError{Detail: "it ends in the middle, after " + files, Advice: adviceTruncated}
	}
	return &FormatError{Detail: "reading it", Err: err}
}

// check rejects files that a bundle cannot contain. For a directory it returns a member
// without a name.
func (c *checker) check(h *tar.Header) (member, error) {
	refuse := func(detail string) (member, error) {
		return member{}, &FormatError{Member: h.Name, Detail: detail, Advice: adviceForeign}
	}
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	if len(c.seen) > maxBlobs {
		return refuse(fmt.Sprintf("more than %d files", maxBlobs))
	}
	if strings.HasPrefix(h.Name, "/") || strings.Contains(h.Name, "\\") || strings.ContainsRune(h.Name, 0) {
		return refuse("its name is not allowed")
	}
	for _, part := range strings.Split(h.Name, "/") {
		if part == ".." {
			return refuse("its name leads out of the bundle")
		}
	}
	name := path.Clean(h.Name) // removes "./", which tar adds when it packs "."
	if !c.layout && isForeign(name) && c.layoutOnly {
		return member{}, &FormatError{
			Detail: fmt.Sprintf("%q belongs to an archive of another tool", h.Name),
			Advice: "kolla-build load --dry-run shows what such an archive contains",
		}
	}
	if !c.layout && isForeign(name) {
		return member{foreign: h}, nil
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if c.dirs++; c.dirs > maxDirs {
			return refuse(fmt.Sprintf("more than %d directories", maxDirs))
		}
		if name == "." || name == "blobs" || path.Dir(name) == "blobs" {
			return member{}, nil
		}
		return c.unexpectedMember(h.Name)
	case tar.TypeReg:
	case tar.TypeSymlink, tar.TypeLink:
		return refuse("it is a link")
	case tar.TypeGNUSparse:
		return refuse("it is a sparse file")
	default:
		return refuse(fmt.Sprintf("it is not a regular file (type %q)", h.Typeflag))
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
		return refuse("it occurs twice")
	}
	c.count(name)
	m := member{name: name, size: h.Size}
	if slices.Contains(knownFiles, name) {
		c.layout = c.layout || name != imagearchive.ManifestFile && name != imagearchive.RepositoriesFile
		return m, nil
	}
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] != "blobs" && parts[0] != deltaDir {
		return c.unexpectedMember(h.Name)
	}
	c.layout = true
	m.delta = parts[0] == deltaDir
	m.digest = digest.NewDigestFromEncoded(digest.Algorithm(parts[1]), parts[2])
	if err := m.digest.Validate(); err != nil {
		return refuse("its name is not a digest")
	}
	return m, nil
}

func (c *checker) unexpectedMember(name string) (member, error) {
	e := &FormatError{Member: name, Detail: "it does not belong in a bundle", Advice: adviceForeign}
	if !c.seen[ocispec.ImageIndexFile] && !c.seen[ocispec.ImageLayoutFile] {
		e.Advice = adviceNoBundle + "; use a root file system or the output of docker save with --base-image"
	}
	return member{}, e
}

// readSmall reads a file of up to limit bytes.
func readSmall(s *source, m member, limit int64) ([]byte, error) {
	if m.size > limit {
		return nil, &FormatError{
			Member: m.name, Detail: fmt.Sprintf("its size is %s, more than %s", units.Bytes(m.size), units.Bytes(limit)),
			Advice: adviceForeign,
		}
	}
	b := make([]byte, m.size)
	n, err := io.ReadFull(s.tr, b)
	switch {
	case err == nil:
		return b, nil
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &FormatError{Member: m.name, Detail: fmt.Sprintf("it ends after %d of %d bytes", n, m.size),
			Advice: adviceTruncated}
	}
	return nil, &FormatError{Member: m.name, Detail: "reading it", Err: err}
}
