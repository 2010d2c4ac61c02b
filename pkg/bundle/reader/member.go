package reader

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
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/imagearchive"
)

// Member is a file of a bundle whose header was checked.
type Member struct {
	Name   string
	Digest digest.Digest // of a blob, or of the layer that a byte delta makes; "" for other files
	Delta  bool          // it is a byte delta
	Size   int64
	// Foreign is the first member that docker save writes and a bundle cannot contain; nil for others.
	Foreign *tar.Header
}

// maxDirs bounds the directories in a tar.
const maxDirs = 1000

// Checker checks the headers of a tar.
type Checker struct {
	seen map[string]bool // files by name
	dirs int
	// Layout reports that a file was found that only OCI layouts have.
	Layout bool
	// LayoutOnly rejects files of docker save.
	LayoutOnly bool
}

// Count records a file.
func (c *Checker) Count(name string) { c.seen[name] = true }

// knownFiles are the files of a bundle, besides blobs and byte deltas.
var knownFiles = []string{
	ocispec.ImageLayoutFile, ocispec.ImageIndexFile, imagearchive.ManifestFile,
	bundle.DeltaListName, bundle.ManifestName, bundle.SignatureName, imagearchive.RepositoriesFile,
}

// isForeign reports whether docker save writes a file of this name and OCI layouts do
// not.
func isForeign(name string) bool {
	return !slices.Contains(knownFiles, name) && imagearchive.IsMember(name)
}

// Next returns the next file, without directories, or io.EOF at the end.
func (c *Checker) Next(ctx context.Context, s *Source) (Member, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Member{}, context.Cause(ctx)
		}
		h, err := untar.Next(s.Files)
		if err == io.EOF {
			return Member{}, io.EOF
		}
		if err != nil {
			return Member{}, c.DamagedError(err)
		}
		m, err := c.check(h)
		if err != nil || m.Name != "" || m.Foreign != nil {
			return m, err
		}
	}
}

// DamagedError adds to an error of reading a tar how many files precede the place, and a hint.
func (c *Checker) DamagedError(err error) error {
	files := units.Count(len(c.seen), "file")
	switch {
	case errors.Is(err, tar.ErrHeader) && len(c.seen) == 0:
		return &bundle.FormatError{Detail: "it is not a tar", Advice: bundle.AdviceNoBundle, Err: err}
	case errors.Is(err, tar.ErrHeader):
		return &bundle.FormatError{Detail: "the tar is damaged after " + files, Err: err, Advice: bundle.AdviceDamaged}
	case errors.Is(err, io.ErrUnexpectedEOF) && len(c.seen) == 0:
		return &bundle.FormatError{Detail: "it is not a tar, or it ends before its first file", Advice: bundle.AdviceNoBundle}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &bundle.FormatError{Detail: "it ends in the middle, after " + files, Advice: bundle.AdviceTruncated}
	}
	return &bundle.FormatError{Detail: "reading it", Err: err}
}

// check rejects files that a bundle cannot contain. For a directory it returns a member
// without a name.
func (c *Checker) check(h *tar.Header) (Member, error) {
	refuse := func(detail string) (Member, error) {
		return Member{}, &bundle.FormatError{Member: h.Name, Detail: detail, Advice: bundle.AdviceForged}
	}
	sparse := &bundle.FormatError{Member: h.Name, Detail: "it is a sparse file", Advice: bundle.AdviceSparse}
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	if len(c.seen) > bundle.MaxBlobs {
		return refuse(fmt.Sprintf("more than %d files", bundle.MaxBlobs))
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
	if !c.Layout && isForeign(name) && c.LayoutOnly {
		return Member{}, &bundle.FormatError{
			Detail: fmt.Sprintf("%q belongs to an archive of another tool", h.Name),
			Advice: "kolla-build load --dry-run shows what such an archive contains",
		}
	}
	if !c.Layout && isForeign(name) {
		return Member{Foreign: h}, nil
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if c.dirs++; c.dirs > maxDirs {
			return refuse(fmt.Sprintf("more than %d directories", maxDirs))
		}
		if name == "." || name == "blobs" || path.Dir(name) == "blobs" {
			return Member{}, nil
		}
		return c.unexpectedMember(h.Name)
	case tar.TypeReg:
	case tar.TypeSymlink, tar.TypeLink:
		return refuse("it is a link")
	case tar.TypeGNUSparse:
		return Member{}, sparse
	default:
		return refuse(fmt.Sprintf("it is not a regular file (type %q)", h.Typeflag))
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse") {
			return Member{}, sparse
		}
	}
	if h.Size < 0 {
		return refuse("its size is negative")
	}
	if c.seen[name] {
		return refuse("it occurs twice")
	}
	c.Count(name)
	m := Member{Name: name, Size: h.Size}
	if slices.Contains(knownFiles, name) {
		c.Layout = c.Layout || name != imagearchive.ManifestFile && name != imagearchive.RepositoriesFile
		return m, nil
	}
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] != "blobs" && parts[0] != bundle.DeltaDir {
		return c.unexpectedMember(h.Name)
	}
	c.Layout = true
	m.Delta = parts[0] == bundle.DeltaDir
	m.Digest = digest.NewDigestFromEncoded(digest.Algorithm(parts[1]), parts[2])
	if err := m.Digest.Validate(); err != nil {
		return refuse("its name is not a digest")
	}
	return m, nil
}

func (c *Checker) unexpectedMember(name string) (Member, error) {
	e := &bundle.FormatError{Member: name, Detail: "it does not belong in a bundle", Advice: bundle.AdviceForged}
	if !c.seen[ocispec.ImageIndexFile] && !c.seen[ocispec.ImageLayoutFile] {
		e.Advice = bundle.AdviceNoBundle + "; use a root file system or the output of docker save with --base-image"
	}
	return Member{}, e
}

// ReadSmall reads a file of up to limit bytes.
func ReadSmall(s *Source, m Member, limit int64) ([]byte, error) {
	if m.Size > limit {
		return nil, &bundle.FormatError{
			Member: m.Name, Detail: fmt.Sprintf("its size is %s, more than %s", units.Bytes(m.Size), units.Bytes(limit)),
			Advice: bundle.AdviceForged,
		}
	}
	b := make([]byte, m.Size)
	n, err := io.ReadFull(s.Files, b)
	switch {
	case err == nil:
		return b, nil
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &bundle.FormatError{Member: m.Name, Detail: fmt.Sprintf("it ends after %d of %d bytes", n, m.Size),
			Advice: bundle.AdviceTruncated}
	}
	return nil, &bundle.FormatError{Member: m.Name, Detail: "reading it", Err: err}
}
