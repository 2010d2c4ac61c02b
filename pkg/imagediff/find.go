package imagediff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// maxNames is how many names an error message lists, and maxSimilar how many a
// suggestion.
const maxNames, maxSimilar = 8, 3

// Finder finds the images that a user names.
type Finder struct {
	Store    *store.Store // nil if there is none
	Client   *registry.Client
	Platform string // platform of multi-platform images in registries, such as "linux/amd64"
}

// NewFinder returns a Finder of the references for a configuration. Close it.
func NewFinder(ctx context.Context, cfg *config.Config, con *console.Console, references ...string) (*Finder, error) {
	s, err := openStore(cfg, references...)
	if err != nil {
		return nil, err
	}
	f := &Finder{Store: s}
	if f.Client, err = workspace.RegistryClient(ctx, cfg, con); err != nil {
		f.Close()
		return nil, err
	}
	selected, err := imageset.Platforms(cfg)
	if err != nil {
		f.Close()
		return nil, err
	}
	f.Platform = platforms.Format(selected[0])
	return f, nil
}

// Close closes the store and the client.
func (f *Finder) Close() {
	if f.Client != nil {
		f.Client.Close()
	}
	if f.Store != nil {
		f.Store.Close()
	}
}

// Find finds an image in the store by its digest, its name, or the last component of
// its repository with or without a tag, if that names one image; by a reference in a
// registry; or by oci:DIR:NAME in an OCI layout. The image is read while it is
// compared, so ctx must last as long.
func (f *Finder) Find(ctx context.Context, ref string) (Image, error) {
	if rest, ok := strings.CutPrefix(ref, "oci:"); ok {
		return inLayout(splitLayout(rest))
	}
	if f.Store == nil {
		return f.inRegistry(ctx, ref)
	}
	e, ok, err := findStored(f.Store, ref)
	if err != nil {
		return Image{}, err
	}
	if ok {
		img, err := f.Store.Image(e.Digest)
		name := e.Name
		if name == "" {
			name = e.Digest.String()
		}
		return Image{Name: name, Digest: e.Digest, content: img}, err
	}
	if !strings.Contains(ref, "/") {
		if err := FileMistake(ref); err != nil {
			return Image{}, err
		}
		const hint = "kolla-build images lists what is stored; HOST/REPOSITORY:TAG names an image in a registry"
		return Image{}, usererr.Usage(usererr.Errorf(similar(f.Store, ref, hint),
			"no image %q in %s", ref, f.Store.Dir()))
	}
	return f.inRegistry(ctx, ref)
}

// openStore opens the local store for a Finder that will find the references. It returns nil if
// there is no store and none of them can be in it.
func openStore(cfg *config.Config, references ...string) (*store.Store, error) {
	s, err := workspace.OpenStoreForReading(cfg)
	var problem *store.OpenError
	if err == nil || !errors.As(err, &problem) || problem.Problem != store.ProblemMissing {
		return s, err
	}
	for _, ref := range references {
		if mistake := FileMistake(ref); mistake != nil {
			return nil, mistake
		}
	}
	inStore := func(ref string) bool { return !strings.HasPrefix(ref, "oci:") && !strings.Contains(ref, "/") }
	if len(references) == 0 || slices.ContainsFunc(references, inStore) {
		return nil, err
	}
	return nil, nil
}

// FileMistake returns the error for an image reference that is the path of a file or of an OCI
// layout, and nil if there is none at that path.
func FileMistake(ref string) error {
	st, err := os.Stat(ref)
	if err != nil {
		return nil // the error that this would explain is reported
	}
	hint := "kolla-build load " + ref + " --data-dir DIR stores its images in an empty DIR; then use that --data-dir here"
	kind := "a file"
	if st.IsDir() {
		if _, err := os.Stat(filepath.Join(ref, ocispec.ImageIndexFile)); err != nil {
			return nil // such as nova/ of a tree of templates
		}
		kind, hint = "a directory", "oci:DIR:NAME names an image of an OCI layout"
	}
	return usererr.Usage(usererr.Errorf(hint, "%s is %s, not the name of an image", ref, kind))
}

func (f *Finder) inRegistry(ctx context.Context, ref string) (Image, error) {
	if err := f.Client.Reach(ctx, ref); err != nil {
		if mistake := FileMistake(ref); mistake != nil {
			return Image{}, mistake
		}
		if f.Store == nil {
			return Image{}, err
		}
		if name := withRegistry(f.Store, ref); name != "" {
			err = usererr.Usage(usererr.Errorf(fmt.Sprintf("did you mean %s?", name),
				"no image %q in %s, and %w", ref, f.Store.Dir(), err))
		}
		return Image{}, err
	}
	img, _, err := f.Client.Fetch(ctx, ref, f.Platform)
	if err != nil {
		return Image{}, err
	}
	d, err := img.Digest()
	return Image{Name: ref, Digest: digest.Digest(d.String()), content: img, remote: true}, err
}

// withRegistry returns the stored name that consists of a registry and ref, "" if there
// is none. Users may omit the registry.
func withRegistry(s *store.Store, ref string) string {
	entries, err := s.Entries()
	if err != nil {
		return "" // the error that this would explain is reported
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name, "/"+ref) {
			return e.Name
		}
	}
	return ""
}

// findStored finds the only image of the store that ref names: by its digest, its
// name, or the last component of its repository, with or without a tag.
func findStored(s *store.Store, ref string) (store.Entry, bool, error) {
	if d, err := digest.Parse(ref); err == nil {
		return s.ByDigest(d)
	}
	if e, ok, err := s.Lookup(ref); ok || err != nil {
		return e, ok, err
	}
	name, tag, _ := imageref.Split(ref)
	if strings.Contains(name, "/") {
		return store.Entry{}, false, nil
	}
	entries, err := s.Entries()
	if err != nil {
		return store.Entry{}, false, err
	}
	var found []store.Entry
	for _, e := range entries {
		repository, entryTag, _ := imageref.Split(e.Name)
		if e.Name != "" && shortName(repository) == name && (tag == "" || entryTag == tag) {
			found = append(found, e)
		}
	}
	if len(found) == 0 {
		return store.Entry{}, false, nil
	}
	if !slices.ContainsFunc(found, func(e store.Entry) bool { return e.Digest != found[0].Digest }) {
		return found[0], true, nil // one image with any number of names
	}
	var names []string
	for _, e := range found[:min(len(found), maxNames)] {
		names = append(names, e.Name)
	}
	return store.Entry{}, false, usererr.Usage(usererr.Errorf("add the tag, or write the full name",
		"%q names %d images: %s", ref, len(found), strings.Join(names, ", ")))
}

// similar returns a hint with the stored names most similar to ref, another hint if
// there is none. A name typed without its tag is compared without tags.
func similar(s *store.Store, ref, other string) string {
	entries, err := s.Entries()
	if err != nil {
		return other // the error that this would explain is reported
	}
	name, tag, _ := imageref.Split(ref)
	var candidates []string
	for _, e := range entries {
		if e.Name == "" {
			continue
		}
		repository, entryTag, _ := imageref.Split(e.Name)
		name := shortName(repository)
		if tag != "" && entryTag != "" {
			name += ":" + entryTag
		}
		candidates = append(candidates, name)
	}
	slices.Sort(candidates)
	near := suggest.Near(ref, slices.Compact(candidates), maxSimilar)
	for _, c := range candidates { // the image with other tags
		if len(near) < maxSimilar && strings.HasPrefix(c, name+":") && !slices.Contains(near, c) {
			near = append(near, c)
		}
	}
	return cmp.Or(suggest.DidYouMeanAny(near), other)
}

// shortName returns the last component of a repository.
func shortName(repository string) string {
	return repository[strings.LastIndexByte(repository, '/')+1:]
}

// splitLayout splits DIR:NAME, where both may contain colons, after the first DIR
// that is a layout.
func splitLayout(ref string) (dir, name string) {
	for i, c := range ref {
		if c != ':' {
			continue
		}
		if _, err := os.Stat(filepath.Join(ref[:i], "index.json")); err == nil {
			return ref[:i], ref[i+1:]
		}
	}
	return ref, ""
}

// inLayout finds an image in an OCI layout, such as the store of another data
// directory. The name may be empty if there is one image.
func inLayout(dir, name string) (Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, usererr.Usage(usererr.Errorf("a layout is a directory with the file index.json, such as that of "+
			"kolla-build save --output DIR/",
			"no OCI layout %s", dir))
	}
	if err != nil {
		return Image{}, fmt.Errorf("reading OCI layout %s: %w", dir, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return Image{}, fmt.Errorf("reading OCI layout %s: %w", dir, err)
	}
	var names []string
	var found []v1.Descriptor
	for _, d := range manifest.Manifests {
		n := d.Annotations[ocispec.AnnotationRefName]
		names = append(names, n)
		if d.MediaType.IsImage() && (name == "" || n == name) {
			found = append(found, d)
		}
	}
	if len(found) == 0 || name == "" && len(found) > 1 {
		return Image{}, usererr.Usage(usererr.Errorf("it has "+strings.Join(names[:min(len(names), maxNames)], ", "),
			"no image %q in the OCI layout %s", name, dir))
	}
	d := found[len(found)-1].Digest // the last one with a name is the current one
	img, err := index.Image(d)
	return Image{Name: strings.TrimSuffix("oci:"+dir+":"+name, ":"), Digest: digest.Digest(d.String()), content: img}, err
}
