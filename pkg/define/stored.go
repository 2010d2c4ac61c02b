package define

import (
	"fmt"

	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// The store has one image for a name. If that is for another platform, an image
// is stored under the name and its platform: "debian:trixie@linux/arm64".

// findStored looks up an image in the store, for the platform of the build. For an index it
// returns the image for the platform. A reference with a digest finds the image with
// that digest under any name.
func (b *bases) findStored(ref string) (store.Entry, bool, error) {
	if d := digestOf(ref); d != "" {
		return b.storedDigest(d)
	}
	for _, name := range []string{ref, platformName(ref, b.platform)} {
		e, ok, err := b.Store.Lookup(name)
		if err != nil {
			return e, false, err
		}
		if ok {
			if found, ok := b.forPlatform(e); ok {
				return found, true, nil
			}
		}
	}
	return store.Entry{}, false, nil
}

// digestOf returns the digest of a reference, "" for none.
func digestOf(ref string) digest.Digest {
	_, _, d := imageref.Split(ref)
	return d
}

// storedDigest returns the image with a digest, or the one for the platform that was
// pulled from an index with that digest.
func (b *bases) storedDigest(d digest.Digest) (store.Entry, bool, error) {
	entries, err := b.Store.Entries()
	if err != nil {
		return store.Entry{}, false, err
	}
	for _, e := range entries {
		if e.Kind != store.KindBase || e.Digest != d && e.Key != d.String() {
			continue
		}
		if found, ok := b.forPlatform(e); ok {
			return found, true, nil
		}
	}
	return store.Entry{}, false, nil
}

// forPlatform returns the entry itself, or that of its child in an index, if it is for the
// platform of the build. An entry without a platform is for each.
func (b *bases) forPlatform(e store.Entry) (store.Entry, bool) {
	if types.MediaType(e.MediaType).IsIndex() {
		child, found := findInIndex(b.Store, e.Digest, b.platform)
		if found {
			e.Digest, e.Platform = child, platforms.Format(b.platform)
		}
		return e, found
	}
	return e, e.Platform == "" || isPlatform(e.Platform, b.platform)
}

// isPlatform reports whether an image's platform is p, and not only one that runs on p.
func isPlatform(platform string, p ocispecs.Platform) bool {
	parsed, err := platforms.Parse(platform)
	return err == nil && platforms.OnlyStrict(p).Match(parsed)
}

// findInIndex finds the image for a platform in an index.
func findInIndex(s *store.Store, d digest.Digest, p ocispecs.Platform) (digest.Digest, bool) {
	idx, err := s.ImageIndex(d)
	if err != nil {
		return "", false
	}
	m, err := idx.IndexManifest()
	if err != nil {
		return "", false
	}
	for _, c := range m.Manifests {
		if c.Platform != nil && isPlatform(c.Platform.String(), p) {
			return digest.Digest(c.Digest.String()), true
		}
	}
	return "", false
}

func platformName(ref string, p ocispecs.Platform) string { return ref + "@" + platforms.Format(p) }

// AddBase stores the name of a base image for a platform, whose content the store has.
func AddBase(s *store.Store, ref, platform string, d digest.Digest, origin string) error {
	p, err := platforms.Parse(platform)
	if err != nil {
		return fmt.Errorf("base image %s: platform %q: %w", ref, platform, err)
	}
	if digestOf(ref) != "" {
		ref = "" // it is found by its digest
	}
	name := ref
	if ref != "" {
		name = nameFor(s, ref, p)
		if e, ok, err := s.Lookup(name); err == nil && ok && e.Digest == d && e.Kind == store.KindBase {
			return nil
		}
	}
	return s.Put(store.Entry{Name: name, Digest: d, Kind: store.KindBase, Origin: origin})
}

// nameFor is the name under which an image for a platform is stored: its own,
// unless an image for another platform has it.
func nameFor(s *store.Store, ref string, p ocispecs.Platform) string {
	if e, ok, err := s.Lookup(ref); err == nil && ok && e.Platform != "" && !isPlatform(e.Platform, p) {
		return platformName(ref, p)
	}
	return ref
}
