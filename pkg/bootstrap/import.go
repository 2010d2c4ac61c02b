package bootstrap

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// ImportOptions say what to take from where.
type ImportOptions struct {
	// Name selects an image where there are several: its full name or the tag
	// that the layout or archive gives it. "" takes the only one.
	Name string
	// Platform selects from a multi-platform image, and labels a root file
	// system, which does not say; such as "linux/arm64". "" is this machine's.
	Platform string
}

// ImportLayout brings an image of an OCI layout directory into the store. The
// entry that it returns has no name in the store yet; Put gives it one. Every
// blob's digest and size is checked.
func ImportLayout(ctx context.Context, st *store.Store, dir, name string) (store.Entry, error) {
	return Import(ctx, st, dir, ImportOptions{Name: name})
}

// ImportTar brings a base image from a tar into the store: an OCI archive, what
// docker save writes, or a root file system, which becomes an image of one
// layer; compressed or not. The entry has no name in the store yet.
func ImportTar(ctx context.Context, st *store.Store, path string) (store.Entry, error) {
	return Import(ctx, st, path, ImportOptions{})
}

// Import is ImportLayout or ImportTar, by what path is. Archives may be
// hostile: names that lead out, devices, files that hide others, contents that
// are not what their digest says, and what unpacks without end are errors, and
// nothing of them becomes an image.
func Import(ctx context.Context, st *store.Store, path string, opts ImportOptions) (store.Entry, error) {
	e, err := importAny(ctx, st, path, opts)
	if err != nil {
		return e, fmt.Errorf("importing base image %s: %w", path, err)
	}
	e.Kind = store.KindBase
	if e.Origin, err = filepath.Abs(path); err != nil {
		e.Origin = path
	}
	e.Key = ""
	return e, nil
}

func importAny(ctx context.Context, st *store.Store, path string, opts ImportOptions) (store.Entry, error) {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return store.Entry{}, &Error{Detail: "there is no such file or directory"}
	case err != nil:
		return store.Entry{}, err
	case fi.IsDir():
		return importLayout(ctx, st, path, opts)
	case !fi.Mode().IsRegular():
		return store.Entry{}, &Error{Detail: "it is neither a file nor a directory"}
	}
	kind, err := sniff(path)
	if err != nil {
		return store.Entry{}, err
	}
	switch kind {
	case ociArchive:
		return importArchive(ctx, st, path, opts)
	case dockerArchive:
		return importDocker(ctx, st, path, opts)
	}
	return importRootfs(ctx, st, path, opts)
}

type archiveKind int

const (
	rootfsTar archiveKind = iota
	ociArchive
	dockerArchive
)

// sniff tells from its first level what a tar is. What docker save writes now
// is both an OCI archive and its own older form; the former is checked better.
func sniff(path string) (archiveKind, error) {
	r, err := openTar(path)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	tr := tar.NewReader(r)
	kind, root := rootfsTar, false
	for n := 0; ; n++ {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			if n == 0 {
				return 0, &Error{Detail: "it is not a tar", Err: err, Hint: "a base image is an OCI layout, an archive of docker save or skopeo, or a root file system in a tar"}
			}
			return 0, fmt.Errorf("the tar is damaged after %d files: %w", n, err)
		}
		if n > maxFiles {
			return 0, &unsafeError{h.Name, "is one too many"}
		}
		switch name := strings.TrimPrefix(h.Name, "./"); {
		case name == ocispec.ImageLayoutFile:
			return ociArchive, nil
		case name == "manifest.json":
			if kind = dockerArchive; h.Size > maxRelease {
				return 0, &unsafeError{h.Name, "is too large"}
			}
		case strings.HasPrefix(name, "etc/") || strings.HasPrefix(name, "usr/"):
			root = true
		}
		// In a root file system there is no manifest to come.
		if root && n > 1000 {
			return rootfsTar, nil
		}
	}
	if kind == rootfsTar && !root {
		return 0, &Error{Detail: "it is neither an image archive nor a root file system: it has no oci-layout, manifest.json, etc/ or usr/"}
	}
	return kind, nil
}

// importArchive takes an image of a tar that is an OCI layout.
func importArchive(ctx context.Context, st *store.Store, path string, opts ImportOptions) (store.Entry, error) {
	sum, err := bundle.Unpack(ctx, path, st, bundle.LoadOptions{})
	if err != nil {
		return store.Entry{}, err
	}
	i, err := choose(names(sum.Images), opts.Name)
	if err != nil {
		return store.Entry{}, err
	}
	return ofPlatform(st, sum.Images[i], opts)
}

func names(entries []store.Entry) []string {
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Name
	}
	return out
}

// choose returns the index of the wanted name, or of the only one.
func choose(have []string, want string) (int, error) {
	if want == "" {
		if len(have) == 1 {
			return 0, nil
		}
		return 0, &Error{Detail: fmt.Sprintf("it holds %d images", len(have)), Hint: "say which one, as oci:PATH:NAME; " + listNames(have)}
	}
	if i := slices.Index(have, want); i >= 0 {
		return i, nil
	}
	// A layout may say "trixie" or "docker.io/library/debian:trixie" for
	// what the user calls debian:trixie.
	found := -1
	for i, h := range have {
		if strings.HasSuffix(h, "/"+want) || strings.HasSuffix(h, ":"+want) || strings.HasSuffix(want, ":"+h) {
			if found >= 0 {
				return 0, &Error{Detail: fmt.Sprintf("%q may be %s or %s", want, have[found], h)}
			}
			found = i
		}
	}
	if found < 0 {
		return 0, &Error{Detail: fmt.Sprintf("it holds no image named %q", want), Hint: listNames(have)}
	}
	return found, nil
}

func listNames(have []string) string {
	var named []string
	for _, n := range have {
		if n != "" {
			named = append(named, n)
		}
	}
	sort.Strings(named)
	if len(named) == 0 {
		return "none in it has a name"
	}
	more := ""
	if len(named) > 10 {
		named, more = named[:10], ", …"
	}
	return "it has " + strings.Join(named, ", ") + more
}

// ofPlatform replaces a multi-platform image by the one that is wanted.
func ofPlatform(st *store.Store, e store.Entry, opts ImportOptions) (store.Entry, error) {
	idx, err := st.ImageIndex(e.Digest)
	if err != nil {
		if _, ierr := st.Image(e.Digest); ierr == nil {
			return e, nil
		}
		return e, err
	}
	d, err := platformOf(idx, opts)
	if err != nil {
		return e, err
	}
	e.Digest = digest.Digest(d.Digest.String())
	e.MediaType = ""
	return e, nil
}

func platform(opts ImportOptions) (v1.Platform, error) {
	p := opts.Platform
	if p == "" {
		p = "linux/" + runtime.GOARCH
	}
	parsed, err := v1.ParsePlatform(p)
	if err != nil {
		return v1.Platform{}, &Error{Detail: fmt.Sprintf("platform %q", p), Err: err}
	}
	return *parsed, nil
}

func platformOf(idx v1.ImageIndex, opts ImportOptions) (v1.Descriptor, error) {
	want, err := platform(opts)
	if err != nil {
		return v1.Descriptor{}, err
	}
	m, err := idx.IndexManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	var have []string
	for _, d := range m.Manifests {
		if d.Platform == nil {
			if len(m.Manifests) == 1 {
				return d, nil
			}
			continue
		}
		if d.Platform.Satisfies(want) {
			return d, nil
		}
		if d.Platform.OS != "unknown" { // attestations
			have = append(have, d.Platform.String())
		}
	}
	return v1.Descriptor{}, &Error{Detail: "it has no image for " + want.String(), Hint: "it has " + strings.Join(have, ", ")}
}

// importLayout copies an image from a layout directory.
func importLayout(ctx context.Context, st *store.Store, dir string, opts ImportOptions) (store.Entry, error) {
	var none store.Entry
	notLayout := func(err error) error {
		return &Error{Detail: "it is not an OCI layout", Err: err, Hint: "a directory is taken as one: with oci-layout, index.json and blobs/"}
	}
	if _, err := os.Stat(filepath.Join(dir, ocispec.ImageLayoutFile)); err != nil {
		return none, notLayout(err)
	}
	p, err := layout.FromPath(dir)
	if err != nil {
		return none, notLayout(err)
	}
	if fi, err := os.Stat(filepath.Join(dir, ocispec.ImageIndexFile)); err == nil && fi.Size() > maxRelease {
		return none, notLayout(fmt.Errorf("its %s has %s", ocispec.ImageIndexFile, store.Bytes(fi.Size())))
	}
	idx, err := p.ImageIndex()
	if err != nil {
		return none, notLayout(err)
	}
	m, err := idx.IndexManifest()
	if err != nil {
		return none, notLayout(err)
	}
	// Several names of one image are one image.
	var list []v1.Descriptor
	var have []string
	for _, d := range m.Manifests {
		n := d.Annotations["io.containerd.image.name"]
		if n == "" {
			n = d.Annotations[ocispec.AnnotationRefName]
		}
		if opts.Name == "" && slices.ContainsFunc(list, func(o v1.Descriptor) bool { return o.Digest == d.Digest }) {
			continue
		}
		list, have = append(list, d), append(have, n)
	}
	i, err := choose(have, opts.Name)
	if err != nil {
		return none, err
	}
	e := store.Entry{Name: have[i]}
	d := list[i]
	if d.MediaType.IsIndex() {
		if err := checkSmall(dir, d.Digest); err != nil {
			return none, err
		}
		sub, err := idx.ImageIndex(d.Digest)
		if err != nil {
			return none, err
		}
		if d, err = platformOf(sub, opts); err != nil {
			return none, err
		}
		idx = sub
	}
	if err := checkSmall(dir, d.Digest); err != nil {
		return none, err
	}
	img, err := idx.Image(d.Digest)
	if err != nil {
		return none, err
	}
	man, err := img.Manifest()
	if err != nil {
		return none, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if err := checkSmall(dir, man.Config.Digest); err != nil {
		return none, err
	}
	if e.Digest, err = st.WriteImage(ctx, img); err != nil {
		return none, err
	}
	// The store checks each blob against the name that it is asked for under;
	// the manifest's name came from the index.
	if e.Digest.String() != d.Digest.String() {
		return none, fmt.Errorf("manifest %s: its content has digest %s", d.Digest, e.Digest)
	}
	return e, st.Check(ctx, e.Digest)
}

// checkSmall looks at a blob of a foreign layout before it is read into memory.
func checkSmall(dir string, h v1.Hash) error {
	d := digest.Digest(h.String())
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d, err)
	}
	fi, err := os.Stat(filepath.Join(dir, ocispec.ImageBlobsDir, h.Algorithm, h.Hex))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("blob %s is missing", d)
	case err != nil:
		return err
	case !fi.Mode().IsRegular() || fi.Size() > maxRelease:
		return fmt.Errorf("blob %s is no manifest or config (%s)", d, store.Bytes(fi.Size()))
	}
	return nil
}

// importRootfs makes an image of a root file system.
func importRootfs(ctx context.Context, st *store.Store, path string, opts ImportOptions) (store.Entry, error) {
	var none store.Entry
	want, err := platform(opts)
	if err != nil {
		return none, err
	}
	r, err := openTar(path)
	if err != nil {
		return none, err
	}
	defer r.Close()
	var newest time.Time
	config := func() ocispec.Image {
		created := newest.UTC()
		return ocispec.Image{
			Created:  &created,
			Platform: ocispec.Platform{OS: want.OS, Architecture: want.Architecture, Variant: want.Variant},
			Config: ocispec.ImageConfig{
				Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
				Cmd: []string{"/bin/sh"},
			},
			History: []ocispec.History{{Created: &created, CreatedBy: "import " + filepath.Base(path)}},
		}
	}
	d, err := writeSingleLayer(ctx, st, config, func(w io.Writer) error {
		p := newRepacker(w)
		if err := p.copy(bufio.NewReaderSize(contextReader{ctx, r}, 1<<20)); err != nil {
			return err
		}
		if !p.isSystem() {
			return &Error{Detail: "it is not a root file system: it has neither a shell nor an os-release"}
		}
		newest = p.last
		return p.tw.Close()
	})
	if err != nil {
		return none, err
	}
	return store.Entry{Digest: d}, nil
}

func (p *repacker) isSystem() bool {
	for _, n := range []string{"etc/os-release", "usr/lib/os-release", "bin/sh", "usr/bin/sh"} {
		if p.seen[n] != 0 {
			return true
		}
	}
	return false
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
