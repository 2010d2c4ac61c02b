package registry

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Fetch gets an image, for use as a base. An index is resolved to platform
// ("linux/arm64", "linux/arm/v7"; "" means linux/amd64); an image that is for
// another platform is a *PlatformError.
//
// The hash is what the reference itself names (the index's digest where it names
// an index); the image's own digest is image.Digest(). Layers are fetched when
// they are read, so ctx must live as long as the image is used.
func (c *Client) Fetch(ctx context.Context, ref, platform string) (v1.Image, v1.Hash, error) {
	fail := func(err error) (v1.Image, v1.Hash, error) { return nil, v1.Hash{}, err }
	want, err := parsePlatform(platform)
	if err != nil {
		return fail(err)
	}
	r, err := c.parse(ref)
	if err != nil {
		return fail(err)
	}
	opts, err := c.remoteOptions(ctx, r.Context())
	if err != nil {
		return fail(withRef(err, ref))
	}
	refuse := func(err error) error {
		return c.session(r.Context().Registry).refused(classify(r.Context().RegistryStr(), ref, err))
	}
	d, err := remote.Get(r, opts...)
	if err != nil {
		return fail(refuse(err))
	}
	if d.MediaType.IsIndex() {
		idx, err := d.ImageIndex()
		if err != nil {
			return fail(fmt.Errorf("%s: reading the index: %w", ref, err))
		}
		img, err := pick(idx, ref, want)
		if err != nil {
			return fail(refuse(err))
		}
		return img, d.Digest, nil
	}
	if !d.MediaType.IsImage() {
		return fail(fmt.Errorf("%s: it is no image: its media type is %s", ref, d.MediaType))
	}
	img, err := d.Image()
	if err != nil {
		return fail(fmt.Errorf("%s: reading the manifest: %w", ref, err))
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return fail(refuse(fmt.Errorf("%s: reading the image's config: %w", ref, err)))
	}
	have := v1.Platform{OS: cf.OS, Architecture: cf.Architecture, Variant: cf.Variant}
	// A config without an architecture says nothing; old tools wrote such.
	if have.Architecture != "" && !matches(have, want) {
		return fail(&PlatformError{Ref: ref, Wanted: want.String(), Have: []string{have.String()}})
	}
	return img, d.Digest, nil
}

// pick chooses the image of an index that is for want.
func pick(idx v1.ImageIndex, ref string, want v1.Platform) (v1.Image, error) {
	m, err := idx.IndexManifest()
	if err != nil {
		return nil, err
	}
	var have []string
	for _, d := range m.Manifests {
		// Attestations lie in indexes as images for "unknown/unknown".
		if !d.MediaType.IsImage() || d.Platform == nil || d.Platform.OS == "unknown" {
			continue
		}
		if matches(*d.Platform, want) {
			return idx.Image(d.Digest)
		}
		have = append(have, d.Platform.String())
	}
	return nil, &PlatformError{Ref: ref, Wanted: want.String(), Have: have}
}

// matches reports whether an image for have runs as want. A variant counts only
// when both name one; arm64 is v8 unless it says otherwise.
func matches(have, want v1.Platform) bool {
	if have.OS != want.OS || have.Architecture != want.Architecture {
		return false
	}
	return have.Variant == "" || want.Variant == "" || have.Variant == want.Variant
}

// parsePlatform reads os/arch[/variant], with "linux/" implied, and the names
// that distributions and Kolla's base-arch use for architectures.
func parsePlatform(s string) (v1.Platform, error) {
	switch s {
	case "":
		s = "linux/amd64"
	case "x86_64", "amd64":
		s = "linux/amd64"
	case "aarch64", "arm64":
		s = "linux/arm64"
	}
	p, err := v1.ParsePlatform(s)
	if err != nil || p.OS == "" || p.Architecture == "" {
		return v1.Platform{}, fmt.Errorf("platform %q: expected OS/ARCH, as in linux/amd64 or linux/arm64", s)
	}
	return *p, nil
}
