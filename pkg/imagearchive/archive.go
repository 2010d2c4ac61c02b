package imagearchive

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/untar"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Files that list the images of an archive.
const (
	ManifestFile     = "manifest.json"
	RepositoriesFile = "repositories"
)

// Limits of an archive. They bound the memory that reading one takes.
const (
	maxMembers   = 250_000
	maxName      = 4096             // bytes, of a member or the target of a link
	maxNames     = 64 << 20         // bytes, of all of them
	maxList      = 8 << 20          // bytes, of manifest.json and of repositories
	maxDocument  = ocijson.MaxBytes // of a config
	maxDocuments = 64 << 20         // bytes, of all configs and the lists
	maxImages    = 50_000
	maxLinks     = 40 // links that are followed for one file
)

// Error is an error in an archive, with its place.
type Error struct {
	Member string // the file in it, "" if the error is about the whole
	Detail string
	Err    error
}

func (e *Error) Error() string {
	s := e.Detail
	if e.Member != "" {
		s = fmt.Sprintf("file %q in it: %s", e.Member, s)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrSparse is the cause of an Error for a file that tar wrote with holes in place of zeros.
var ErrSparse = errors.New("it is a sparse file")

// Image is an image of an archive.
type Image struct {
	Names  []string      // as in the archive; none if it was saved by its ID
	Digest digest.Digest // of the manifest in the store; "" if only names are read
}

// Options are the options of New.
type Options struct {
	NamesOnly bool // store nothing: the images have no digest
}

// Archive collects the members of an archive and stores its layers.
type Archive struct {
	st    *store.Store // nil if only names are read
	files map[string]file
	links map[string]string // targets, by name
	// Configs that were parsed, by the name in manifest.json.
	configs map[string]ocijson.Config
	// Members and bytes so far, for the limits.
	members, names, documents int64
	stats                     Stats
}

// Stats counts the content that was read.
type Stats struct {
	Layers int
	Reused int   // layers whose content the store had
	Bytes  int64 // of the members, as far as they were read
}

// file is a regular file of the archive.
type file struct {
	data  []byte          // of a document
	layer *compress.Layer // nil for a document
	size  int64
}

// New returns an archive without members. With Options.NamesOnly, st may be nil.
func New(st *store.Store, opts Options) *Archive {
	if opts.NamesOnly {
		st = nil
	}
	return &Archive{st: st, files: map[string]file{}, links: map[string]string{}, configs: map[string]ocijson.Config{}}
}

// Stats returns the counts so far.
func (a *Archive) Stats() Stats { return a.stats }

var (
	memberName = regexp.MustCompile(`^(?:[0-9a-f]{64}(?:/(?:VERSION|json|layer\.tar))?|[^/]+\.json|` +
		`(?:sha256:)?[0-9a-f]{12,64}|[^/]+\.tar(?:\.gz|\.zst)?|[^/]+/layer\.tar)$`)
	hexName = regexp.MustCompile(`^(?:blobs/sha256/|sha256:)?([0-9a-f]{64})(?:\.json|\.tar|\.tar\.gz)?$`)
)

// IsMember reports whether an archive in a format of docker save can have a member with the
// name.
func IsMember(name string) bool { return memberName.MatchString(path.Clean(name)) }

// Add reads the next member. It reads the content of r as far as it needs to.
func (a *Archive) Add(ctx context.Context, h *tar.Header, r io.Reader) error {
	fail := func(detail string, err error) error {
		name := h.Name
		if len(name) > 100 {
			name = name[:100] + "…"
		}
		return &Error{Member: name, Detail: detail, Err: err}
	}
	sparse := func() error { return fail("it cannot be read", ErrSparse) }
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	a.names += int64(len(h.Name) + len(h.Linkname))
	if a.members++; a.members > maxMembers {
		return &Error{Detail: fmt.Sprintf("it has more than %d files", maxMembers)}
	}
	if len(h.Name) > maxName || len(h.Linkname) > maxName || a.names > maxNames {
		return fail("its name is too long", nil)
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return fail(err.Error(), nil)
	}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	case tar.TypeReg:
	case tar.TypeSymlink, tar.TypeLink:
	case tar.TypeGNUSparse:
		return sparse()
	default:
		return fail(fmt.Sprintf("it is neither a regular file nor a link (type %q)", h.Typeflag), nil)
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse") {
			return sparse()
		}
	}
	_, isFile := a.files[name]
	if _, isLink := a.links[name]; isFile || isLink {
		return fail("it occurs twice", nil)
	}
	if h.Typeflag != tar.TypeReg {
		target, err := linkTarget(name, h)
		if err != nil {
			return fail(err.Error(), nil)
		}
		a.links[name] = target
		return nil
	}
	f, err := a.read(ctx, name, h.Size, r)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		var full *store.FullError
		if errors.As(err, &full) {
			return err
		}
		return fail("reading it", err)
	}
	a.files[name] = f
	return nil
}

func cleanName(name string) (string, error) {
	clean, err := untar.CleanName(name)
	var unsafe *untar.UnsafeError
	switch {
	case errors.As(err, &unsafe):
		return "", errors.New(unsafe.Problem)
	case err != nil:
		return "", err
	case strings.Contains(name, "\\"):
		return "", errors.New("its name contains a backslash")
	}
	return clean, nil
}

// linkTarget returns the name of the member that a link refers to: the target of a
// symbolic link is relative to its directory, that of a hard link to the archive.
func linkTarget(name string, h *tar.Header) (string, error) {
	target := h.Linkname
	if path.IsAbs(target) {
		return "", fmt.Errorf("it is a link to %s, outside the archive", target)
	}
	if h.Typeflag == tar.TypeSymlink {
		target = path.Join(path.Dir(name), target)
	}
	target = path.Clean(target)
	if target == ".." || strings.HasPrefix(target, "../") {
		return "", fmt.Errorf("it is a link to %s, outside the archive", h.Linkname)
	}
	return target, nil
}

// read reads a regular file: a layer into the store, a document into memory.
func (a *Archive) read(ctx context.Context, name string, size int64, r io.Reader) (file, error) {
	in := bufio.NewReaderSize(r, headSize)
	head, err := in.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) || int64(len(head)) < min(size, headSize) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return file{}, err
	}
	if f := formOf(head); f != document {
		if a.st == nil {
			return file{size: size, layer: &compress.Layer{}}, nil
		}
		return a.readLayer(ctx, name, size, in, f)
	}
	limit := int64(maxDocument)
	if name == ManifestFile || name == RepositoriesFile {
		limit = maxList
	}
	if size > limit {
		return file{}, fmt.Errorf("its size is %s, more than %s, and it is not a layer", units.Bytes(size),
			units.Bytes(limit))
	}
	if a.documents += size; a.documents > maxDocuments {
		return file{}, fmt.Errorf("its documents have more than %s", units.Bytes(maxDocuments))
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(in, data); err != nil {
		return file{}, err
	}
	a.stats.Bytes += size
	return file{data: data, size: size}, nil
}

func (a *Archive) readLayer(ctx context.Context, name string, size int64, r io.Reader, f layerForm) (file, error) {
	a.stats.Layers++
	// Many tools name a plain layer by its diff ID. If the store has that layer, the
	// content is not checked, because the config decides which layer is needed.
	if m := hexName.FindStringSubmatch(name); m != nil && f == plainTar {
		switch l, ok, err := StoredLayer(ctx, a.st, digest.NewDigestFromEncoded(digest.Canonical, m[1])); {
		case err != nil:
			return file{}, err
		case ok:
			a.stats.Reused++
			return file{size: size, layer: &l}, nil
		}
	}
	counted := &countingReader{r: r}
	l, err := StoreLayer(ctx, a.st, counted)
	if err != nil {
		return file{}, err
	}
	if counted.n != size {
		return file{}, fmt.Errorf("%w after %d of %d bytes", io.ErrUnexpectedEOF, counted.n, size)
	}
	a.stats.Bytes += size
	return file{size: size, layer: &l}, nil
}

// find returns the file of a name, following links.
func (a *Archive) find(name string) (file, error) {
	clean, err := cleanName(name)
	if err != nil {
		return file{}, err
	}
	for range maxLinks {
		if f, ok := a.files[clean]; ok {
			return f, nil
		}
		target, ok := a.links[clean]
		if !ok {
			if clean == name {
				return file{}, errors.New("it is not in the archive")
			}
			return file{}, fmt.Errorf("it refers to %q, which is not in the archive", clean)
		}
		clean = target
	}
	return file{}, fmt.Errorf("its links form a cycle, or are more than %d", maxLinks)
}
