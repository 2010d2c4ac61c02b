package bootstrap

import (
	"archive/tar"
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
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/untar"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// ImportOptions configure an import.
type ImportOptions struct {
	// Name selects an image if there are several: its full name, or its tag in the
	// layout or archive. "" means the only one.
	Name string
	// Platform selects an image of a multi-platform image, and is the platform of a
	// root file system, such as "linux/arm64". "" means that of this machine.
	Platform string
}

// Import stores a base image from a path: a directory with an OCI layout, an archive
// of docker save or skopeo, or a tar of a root file system, which becomes an image of
// one layer. Archives may be compressed. The entry that it returns has no name in the
// store yet.
//
// Archives are untrusted. Names that lead out of the archive, devices, duplicate files,
// content with an unexpected digest, and archives that expand beyond the limits are
// errors, and then no image is stored.
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
		return store.Entry{}, syscall.ENOENT
	case err != nil:
		return store.Entry{}, err
	case fi.IsDir():
		return importLayout(ctx, st, path, opts)
	case !fi.Mode().IsRegular():
		return store.Entry{}, errors.New("neither a regular file nor a directory")
	}
	kind, err := sniff(ctx, path)
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

// formats of base images for error messages.
const formats = "a base image is an OCI layout, an archive of docker save or skopeo, or a root file system in a tar"

// sniff determines the format of a tar. The output of a current docker save is a valid
// OCI archive as well as the older format; the OCI archive is preferred because it can
// be verified.
func sniff(ctx context.Context, path string) (archiveKind, error) {
	r, err := untar.Open(path)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	kind, members, root := rootfsTar, 0, false
	found := errors.New("found")
	err = untar.Each(ctx, r, rootfsLimits, func(h *tar.Header, _ io.Reader) error {
		members++
		switch name := strings.TrimPrefix(h.Name, "./"); {
		case name == ocispec.ImageLayoutFile:
			kind = ociArchive
			return found
		case name == "manifest.json":
			kind = dockerArchive
		case strings.HasPrefix(name, "etc/") || strings.HasPrefix(name, "usr/"):
			root = true
		}
		// A root file system has no oci-layout or manifest.json.
		if root && members > 1000 {
			return found
		}
		return nil
	})
	switch {
	case errors.Is(err, untar.ErrNotTar):
		return 0, usererr.WithHint(err, formats)
	case err != nil && !errors.Is(err, found):
		return 0, err
	case kind == rootfsTar && !root:
		return 0, usererr.Errorf(formats,
			"neither an image archive nor a root file system: no oci-layout, manifest.json, etc/ or usr/")
	}
	return kind, nil
}

// importArchive stores an image of an OCI archive: an OCI layout in a tar.
func importArchive(ctx context.Context, st *store.Store, path string, opts ImportOptions) (store.Entry, error) {
	sum, err := load.Unpack(ctx, path, st, load.Options{})
	if err != nil {
		return store.Entry{}, err
	}
	names := make([]string, len(sum.Images))
	for i, e := range sum.Images {
		names[i] = e.Name
	}
	i, err := choose(names, opts.Name)
	if err != nil {
		return store.Entry{}, err
	}
	return ofPlatform(st, sum.Images[i], opts)
}

// choose returns the index of the wanted name, or of the only one.
func choose(names []string, wanted string) (int, error) {
	if wanted == "" {
		if len(names) == 1 {
			return 0, nil
		}
		return 0, usererr.Errorf("select one with oci:PATH:NAME; "+listNames(names), "it has %d images", len(names))
	}
	if i := slices.Index(names, wanted); i >= 0 {
		return i, nil
	}
	// In a layout, debian:trixie may be named "trixie" or
	// "docker.io/library/debian:trixie".
	found := -1
	for i, name := range names {
		if strings.HasSuffix(name, "/"+wanted) || strings.HasSuffix(name, ":"+wanted) || strings.HasSuffix(wanted, ":"+name) {
			if found >= 0 {
				return 0, fmt.Errorf("%q may be %s or %s", wanted, names[found], name)
			}
			found = i
		}
	}
	if found < 0 {
		return 0, usererr.Errorf(listNames(names), "no image named %q", wanted)
	}
	return found, nil
}

func listNames(names []string) string {
	var named []string
	for _, n := range names {
		if n != "" {
			named = append(named, n)
		}
	}
	sort.Strings(named)
	if len(named) == 0 {
		return "no image has a name"
	}
	suffix := ""
	if len(named) > 10 {
		named, suffix = named[:10], ", …"
	}
	return "it has " + strings.Join(named, ", ") + suffix
}

// ofPlatform returns the image of the wanted platform of a multi-platform image.
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
		return v1.Platform{}, fmt.Errorf("platform %q: %w", p, err)
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
	var available []string
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
			available = append(available, d.Platform.String())
		}
	}
	return v1.Descriptor{}, usererr.Errorf("it has "+strings.Join(available, ", "), "no image for %s", want)
}

// importRootfs stores a root file system as an image.
func importRootfs(ctx context.Context, st *store.Store, path string, opts ImportOptions) (store.Entry, error) {
	var none store.Entry
	want, err := platform(opts)
	if err != nil {
		return none, err
	}
	r, err := untar.Open(path)
	if err != nil {
		return none, err
	}
	defer r.Close()
	var modified time.Time
	config := func() ocispec.Image {
		created := modified.UTC()
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
		if err := p.copy(ctx, r); err != nil {
			return err
		}
		if !p.isRootFileSystem() {
			return errors.New("not a root file system: neither a shell nor an os-release file")
		}
		modified = p.modified
		return p.tw.Close()
	})
	if err != nil {
		return none, err
	}
	return store.Entry{Digest: d}, nil
}
