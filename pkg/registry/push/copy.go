package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// Copy copies a manifest of another repository by digest, with everything that it
// refers to and all artifacts that refer to it (signatures, SBOMs). Blobs are mounted
// if both repositories are in one registry, else streamed; existing content is not sent
// again. It returns the tags that must be updated together with those of the image:
// where a registry has no referrers API, and for cosign's signatures, the artifacts of
// an image are found by tags.
func (p *Publisher) Copy(ctx context.Context, from, to *registry.Repository, d digest.Digest) ([]Tag, error) {
	c := &copier{Publisher: p, from: from, to: to, done: map[digest.Digest]bool{}}
	m, err := from.Manifest(ctx, d.String())
	if err == nil {
		err = c.copyManifest(ctx, m, maxIndexDepth)
	}
	if err == nil {
		err = c.artifacts(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("copying %s@%s to %s: %w", from.Name(), d, to.Name(), err)
	}
	return c.tags, nil
}

// copier copies one image.
type copier struct {
	*Publisher
	from, to *registry.Repository
	done     map[digest.Digest]bool // manifests
	order    []digest.Digest        // of done
	tags     []Tag
}

// maxArtifacts bounds the artifacts of one image.
const maxArtifacts = 1000

// copyManifest copies the content that a manifest refers to, and then the manifest.
func (c *copier) copyManifest(ctx context.Context, m registry.Manifest, depth int) error {
	switch {
	case c.done[m.Digest]:
		return nil
	case depth == 0:
		return fmt.Errorf("indexes are nested more than %d levels deep", maxIndexDepth)
	case len(c.done) > ocijson.MaxManifests+maxArtifacts:
		return errors.New("it has too many manifests")
	}
	parsed, err := ocijson.Parse(m.Raw)
	if err == nil && !parsed.IsArtifact() {
		err = parsed.CheckImage()
	}
	if err != nil {
		return fmt.Errorf("manifest %s: %w", m.Digest, err)
	}
	c.done[m.Digest] = true
	c.order = append(c.order, m.Digest)
	for _, child := range parsed.Manifests {
		if c.done[child.Digest] {
			continue
		}
		sub, err := c.from.Child(ctx, child.Digest)
		if err == nil {
			err = c.copyManifest(ctx, sub, depth-1)
		}
		if err != nil {
			return err
		}
	}
	blobs := distributable(parsed)
	present, err := c.begin(ctx, c.to, m)
	if err != nil {
		return err
	}
	if present {
		c.record(c.to, blobs) // other images can mount them from there
		c.present(c.to, blobs)
		return nil
	}
	if c.from.Registry() == c.to.Registry() {
		c.record(c.from, blobs)
	}
	if err := c.blobs(ctx, blobs); err != nil {
		return err
	}
	_, err = c.finish(ctx, c.to, m)
	return err
}

// distributable returns the blobs of a manifest that registries keep, each once.
func distributable(m ocijson.Document) []ocispec.Descriptor {
	var blobs []ocispec.Descriptor
	seen := map[digest.Digest]bool{}
	descriptors := m.Layers
	if m.Config != nil {
		descriptors = append(slices.Clone(descriptors), *m.Config)
	}
	for _, d := range descriptors {
		foreign := len(d.URLs) > 0 || strings.Contains(d.MediaType, "nondistributable") ||
			strings.Contains(d.MediaType, "foreign")
		if !foreign && !seen[d.Digest] {
			blobs = append(blobs, d)
		}
		seen[d.Digest] = true
	}
	return blobs
}

func (c *copier) blobs(ctx context.Context, blobs []ocispec.Descriptor) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, d := range blobs {
		if err := d.Digest.Validate(); err != nil {
			return fmt.Errorf("blob %q: %w", d.Digest, err)
		}
		open := func() (io.ReadCloser, error) { return c.from.Blob(gctx, d.Digest, d.Size) }
		blob := registry.Blob{Digest: d.Digest, Size: d.Size, Open: open, Verified: true}
		g.Go(func() error { return c.putBlob(gctx, c.to, blob) })
	}
	err := g.Wait()
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// record remembers that blobs are in a repository, from which others can mount them, unless
// one is known or being uploaded.
func (p *Publisher) record(repo *registry.Repository, blobs []ocispec.Descriptor) {
	for _, d := range blobs {
		p.blobs.SetIfAbsent(blobKey{repo.Registry(), d.Digest}, repo)
	}
}

// artifacts copies the artifacts that refer to the copied manifests, and artifacts of
// those. c.order grows during this.
func (c *copier) artifacts(ctx context.Context) error {
	for i := 0; i < len(c.order); i++ {
		subject := c.order[i]
		found, _, err := c.from.Referrers(ctx, subject)
		if err != nil {
			return err
		}
		if len(found) > maxArtifacts {
			return fmt.Errorf("%s has more than %d artifacts", subject, maxArtifacts)
		}
		var copied []ocispec.Descriptor
		for _, d := range found {
			if c.done[d.Digest] {
				copied = append(copied, d)
				continue
			}
			m, err := c.from.Child(ctx, d.Digest)
			if err == nil {
				err = c.copyManifest(ctx, m, 2)
			}
			switch {
			case err == nil:
				copied = append(copied, d)
			case refusesArtifact(m, err):
				c.notice(fmt.Sprintf("warning: %s@%s is not copied, because it is an artifact from before OCI 1.1: %v",
					c.from.Name(), d.Digest, err))
			default:
				return fmt.Errorf("artifact %s of %s: %w", d.Digest, subject, err)
			}
		}
		if len(copied) > 0 {
			if err := c.listReferrers(ctx, subject, copied); err != nil {
				return err
			}
		}
		for _, suffix := range []string{".sig", ".att", ".sbom"} { // cosign's
			if err := c.tagged(ctx, registry.ReferrersTag(subject)+suffix); err != nil {
				return err
			}
		}
	}
	return nil
}

// refusesArtifact reports whether a registry does not accept a manifest because it is an artifact from
// before OCI 1.1, as Distribution's registry and the embedded one do. The image does not need it.
func refusesArtifact(m registry.Manifest, err error) bool {
	var answer *registry.AnswerError
	if !errors.As(err, &answer) {
		return false
	}
	parsed, parseErr := ocijson.Parse(m.Raw)
	return parseErr == nil && parsed.IsArtifact() &&
		slices.Contains([]int{http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType}, answer.Status)
}

// tagged copies the artifact of a tag, if there is one.
func (c *copier) tagged(ctx context.Context, tag string) error {
	d, err := c.from.Head(ctx, tag)
	var missing *registry.NotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return err
	}
	m, err := c.from.Child(ctx, d.Digest)
	if err == nil {
		err = c.copyManifest(ctx, m, 2)
	}
	if err != nil {
		return fmt.Errorf("artifact %s: %w", tag, err)
	}
	c.tags = append(c.tags, Tag{Ref: c.to.Name() + ":" + tag, Digest: d.Digest})
	return nil
}

// listReferrers writes the index of referrers for a repository whose registry does not
// keep one. What is already in it stays.
func (c *copier) listReferrers(ctx context.Context, subject digest.Digest, add []ocispec.Descriptor) error {
	present, hasAPI, err := c.to.Referrers(ctx, subject)
	if err != nil || hasAPI {
		return err
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	seen := map[digest.Digest]bool{}
	for _, list := range []struct {
		repo  *registry.Repository
		found []ocispec.Descriptor
	}{{c.to, present}, {c.from, add}} {
		for _, d := range list.found {
			if seen[d.Digest] {
				continue
			}
			seen[d.Digest] = true
			m, err := list.repo.Child(ctx, d.Digest)
			if err != nil {
				return err
			}
			index.Manifests = append(index.Manifests, registry.ReferrerDescriptor(m))
		}
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return err
	}
	m := registry.Manifest{Raw: raw, MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(raw)}
	if present, err := c.begin(ctx, c.to, m); err != nil {
		return err
	} else if !present {
		if _, err := c.finish(ctx, c.to, m); err != nil {
			return err
		}
	}
	c.tags = append(c.tags, Tag{Ref: c.to.Name() + ":" + registry.ReferrersTag(subject), Digest: m.Digest})
	return nil
}
