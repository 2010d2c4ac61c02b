package registry

import (
	"bytes"
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// fetch gets an image from one source.
func (c *Client) fetch(ctx context.Context, ref imageref.Ref, platform v1.Platform) (v1.Image, digest.Digest, error) {
	repo, identifier := c.repository(ref)
	name := ref.Familiar()
	m, err := repo.Manifest(ctx, identifier)
	if err != nil {
		return nil, "", err
	}
	named := m.Digest
	if types.MediaType(m.MediaType).IsIndex() {
		child, err := choose(m, name, platform)
		if err != nil {
			return nil, "", err
		}
		if m, err = repo.Manifest(ctx, child); err != nil {
			return nil, "", err
		}
	}
	img, err := repo.image(ctx, m)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", name, err)
	}
	if named == m.Digest { // no index has given its platform
		conf, err := img.ConfigFile()
		if err != nil {
			return nil, "", fmt.Errorf("%s: reading the image's config: %w", name, err)
		}
		imagePlatform := v1.Platform{OS: conf.OS, Architecture: conf.Architecture, Variant: conf.Variant}
		// Old tools wrote configs without an architecture: those match every one.
		if imagePlatform.Architecture != "" && !matches(imagePlatform, platform) {
			return nil, "", &PlatformError{Ref: name, Wanted: platform.String(), Have: []string{imagePlatform.String()}}
		}
	}
	return img, named, nil
}

// choose returns the digest of the image in an index that is for a platform.
func choose(m Manifest, name string, platform v1.Platform) (string, error) {
	index, err := ocijson.Parse(m.Raw)
	if err != nil {
		return "", fmt.Errorf("%s: reading the index: %w", name, err)
	}
	var available []string
	for _, d := range index.Manifests {
		// Attestations are in indexes as images for "unknown/unknown".
		if !types.MediaType(d.MediaType).IsImage() || d.Platform == nil || d.Platform.OS == "unknown" {
			continue
		}
		candidate := v1.Platform{OS: d.Platform.OS, Architecture: d.Platform.Architecture, Variant: d.Platform.Variant,
			OSVersion: d.Platform.OSVersion}
		if matches(candidate, platform) {
			if err := d.Digest.Validate(); err != nil {
				return "", fmt.Errorf("%s: reading the index: digest %q: %w", name, d.Digest, err)
			}
			return d.Digest.String(), nil
		}
		available = append(available, candidate.String())
	}
	return "", &PlatformError{Ref: name, Wanted: platform.String(), Have: available}
}

// matches reports whether an image of one platform runs on another. A variant counts
// only if both name one; arm64 without a variant is v8.
func matches(image, platform v1.Platform) bool {
	if image.OS != platform.OS || image.Architecture != platform.Architecture {
		return false
	}
	return image.Variant == "" || platform.Variant == "" || image.Variant == platform.Variant
}

// parsePlatform reads OS/ARCH[/VARIANT], with "linux/" implied, and the names that
// distributions and Kolla's base-arch use for architectures.
func parsePlatform(s string) (v1.Platform, error) {
	switch s {
	case "", "x86_64", "amd64":
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

// image makes an image of its manifest.
func (r *Repository) image(ctx context.Context, m Manifest) (v1.Image, error) {
	if mt := types.MediaType(m.MediaType); !mt.IsImage() {
		return nil, fmt.Errorf("it is not an image: its media type is %s", mt)
	}
	// The library's parser has no limits.
	if _, err := ocijson.Parse(m.Raw); err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	parsed, err := v1.ParseManifest(bytes.NewReader(m.Raw))
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	return partial.CompressedToImage(&remoteImage{ctx: ctx, repo: r, manifest: m, parsed: parsed})
}
