// Package load loads bundles, and the archives of other tools, into a store. Names, types, sizes and
// digests are checked before any image appears there, and what a bundle says about its images, such as
// their content keys, is used only if the user trusts it.
//
// The package must not know registries, container engines, or what images are for.
package load

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Options are the options of Bundle, Read and Unpack.
type Options struct {
	// Name is the name of an image that has none in its file, and the repository of one
	// whose name there is only a tag.
	Name string
	// Renames are applied one after another, before Relocate and Retag.
	Renames []imageref.Rename
	// Relocate replaces the registry and namespace of images by those that are set in
	// it.
	Relocate imageref.Naming
	// Retag, if it is not nil, returns the tag that replaces a tag of a built image.
	Retag func(tag string) string
	// NamesOnly reads only as far as the index and stores nothing: Read returns the
	// entries that it would store. The store may be nil.
	NamesOnly bool
	// Replace allows names of other images in the store to be replaced, which is an
	// error otherwise.
	Replace bool
	// Check, if it is not nil, is called with the images of a bundle before their content is
	// read, unless Replace is set. Its error ends the load. It is not called for files of other
	// tools, whose images may get other digests.
	Check func(ctx context.Context, images []store.Entry) error
	// Trust accepts the claims of the bundle about its images: their content keys, and
	// whether they are base images. Without it, images are stored as store.KindLoaded,
	// and builds do not use them.
	Trust bool
	// VerifyKey requires that the bundle is signed with this key, which is checked before
	// anything is stored. A signed bundle is trusted.
	VerifyKey ed25519.PublicKey
	Progress  bundle.Progress
	Stdin     io.Reader // for path "-"; nil is os.Stdin
}

// errNamesRead ends the reading of a bundle when only names are wanted.
var errNamesRead = errors.New("the names have been read")

// Unpack stores the blobs of a bundle and checks them, but adds no names. The returned
// entries have the claims of the bundle, including names, which were not checked.
func Unpack(ctx context.Context, path string, st *store.Store, opts Options) (Summary, error) {
	l := newLoader(st, opts)
	err := l.read(ctx, Input{Path: path})
	if err == nil {
		l.sum.Images, err = l.indexEntries()
	}
	if err != nil {
		return l.sum, fmt.Errorf("loading bundle %s: %w", path, err)
	}
	return l.sum, nil
}

// indexEntries returns the images of the bundle as its index describes them, sorted by
// name.
func (l *loader) indexEntries() ([]store.Entry, error) {
	if len(l.images) == 0 {
		return nil, &bundle.FormatError{Detail: "it contains no image"}
	}
	var entries []store.Entry
	for _, d := range l.images {
		e := store.EntryOf(d)
		// Size, platform and time of storing are determined from the blobs.
		entries = append(entries, store.Entry{Name: bundle.ImageName(d), Digest: e.Digest, Key: e.Key, Kind: e.Kind,
			Origin: e.Origin, Created: e.Created})
	}
	sort.SliceStable(entries, func(i, j int) bool { return entries[i].Name < entries[j].Name })
	return entries, nil
}

// entriesToStore returns the entries to be stored: with their new names, each name once, and
// without untrusted claims.
func (l *loader) entriesToStore() ([]store.Entry, error) {
	claimed, err := l.indexEntries()
	if err != nil {
		return nil, err
	}
	unnamed := 0
	first := map[string]store.Entry{} // with the name in the bundle
	var entries []store.Entry
	for _, e := range claimed {
		from := e
		if e.Name, err = l.rename(e); err != nil {
			return nil, err
		}
		if e.Name == "" {
			unnamed++
			continue // without a name, an image could only have a key
		}
		if other, ok := first[e.Name]; ok {
			if other.Digest == e.Digest {
				continue
			}
			return nil, &bundle.FormatError{
				Detail: fmt.Sprintf("images %s and %s would both be named %s", describeEntry(other), describeEntry(from), e.Name),
				Advice: "--rename, --tag and --name give them different names"}
		}
		first[e.Name] = from
		if !l.opts.Trust {
			e.Key, e.Kind, e.Origin = "", store.KindLoaded, ""
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, &bundle.FormatError{Detail: "none of its images has a name",
			Advice: "--name NAME gives one to the image that has none"}
	}
	return entries, nil
}

// describeEntry names an image in an error.
func describeEntry(e store.Entry) string {
	if e.Name == "" {
		return "without a name"
	}
	return e.Name
}

// rename returns the name under which an image of the bundle is stored, "" if it has
// none.
func (l *loader) rename(e store.Entry) (string, error) {
	name := e.Name
	if l.opts.Name != "" {
		switch {
		case name == "":
			name = l.opts.Name
		case !strings.ContainsAny(name, "/:"): // skopeo copy … oci:DIR:TAG
			newName, err := imageref.Parse(l.opts.Name)
			if err != nil {
				return "", err
			}
			if newName.Tag() == "" && imageref.CheckTag(name) == nil {
				newName = newName.WithTag(name)
			}
			name = newName.String()
		}
	}
	if name == "" {
		return "", nil
	}
	ref, err := imageref.ParseTag(name)
	if err != nil {
		return "", &bundle.FormatError{Detail: "image name", Err: err, Advice: bundle.AdviceForged}
	}
	tag := ref.Tag()
	for i, r := range l.opts.Renames {
		before := ref
		if ref, err = r.Apply(ref); err != nil {
			return "", fmt.Errorf("--rename: %w", err)
		}
		l.sum.Renamed[i] = l.sum.Renamed[i] || ref != before
	}
	if l.opts.Relocate != (imageref.Naming{}) {
		ref = l.opts.Relocate.Relocate(ref)
	}
	if l.opts.Retag != nil && e.Kind != store.KindBase {
		ref = ref.WithTag(l.opts.Retag(ref.Tag()))
	}
	if imageref.IsArtifactTag(tag) {
		ref = ref.WithTag(tag) // a signature or SBOM is found by the digest in it
	}
	return ref.Familiar(), nil
}
