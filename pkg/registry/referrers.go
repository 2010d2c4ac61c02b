package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds on one list of referrers.
const (
	maxReferrerPages = 100
	maxReferrerBytes = 64 << 20
)

// ReferrersTag is the tag under which registries without the referrers API keep the
// index of what refers to a manifest.
func ReferrersTag(subject digest.Digest) string {
	return subject.Algorithm().String() + "-" + subject.Encoded()
}

// Referrers lists the manifests, such as signatures and SBOMs, whose subject is a
// manifest of the repository. hasAPI reports whether the registry keeps the list
// itself; if not, the list is an index under ReferrersTag, which clients keep.
func (r *Repository) Referrers(ctx context.Context, subject digest.Digest) (
	found []ocispec.Descriptor, hasAPI bool, err error) {
	fail := func(err error) ([]ocispec.Descriptor, bool, error) {
		return nil, false, fmt.Errorf("listing the referrers of %s@%s: %w", r.Name(), subject, err)
	}
	query, size := url.Values{}, 0
	for range maxReferrerPages {
		var page []ocispec.Descriptor
		var next url.Values
		err := r.host.client.repeat(ctx, func() error {
			req, err := r.request(ctx, http.MethodGet, "/referrers/"+subject.String(), query, nil)
			if err != nil {
				return final(err)
			}
			resp, err := r.exchange(req, actionsPull, http.StatusOK)
			if err != nil {
				return final(err)
			}
			defer resp.Body.Close()
			if mediaType(resp.Header.Get("Content-Type")) != ocispec.MediaTypeImageIndex {
				return final(&NotFoundError{Ref: "the list of referrers"}) // a page for people, of a server that answers anything
			}
			b, err := readLimited(resp.Body, maxManifest, "list of referrers")
			if err != nil {
				return err
			}
			if size += len(b); size > maxReferrerBytes {
				return final(&SizeError{What: "the list of referrers", Limit: maxReferrerBytes})
			}
			if page, err = ocijson.ParseLayoutIndex(b, ocijson.MaxManifests); err != nil {
				return err
			}
			if err := checkDigests(page); err != nil {
				return final(err)
			}
			next, err = nextPage(resp.Header)
			return final(err)
		})
		if err != nil {
			err = r.host.failure(r.Name(), err)
			var missing *NotFoundError
			if !errors.As(err, &missing) {
				return fail(err)
			}
			found, err := r.taggedReferrers(ctx, subject)
			if err != nil {
				return fail(err)
			}
			return found, false, nil
		}
		found = append(found, page...)
		if next == nil || samePage(next, query) {
			return found, true, nil
		}
		query = next
	}
	return fail(&SizeError{What: "the list of referrers", Limit: maxReferrerPages, Unit: "pages"})
}

// taggedReferrers reads the index that clients keep where the registry has no API.
func (r *Repository) taggedReferrers(ctx context.Context, subject digest.Digest) ([]ocispec.Descriptor, error) {
	m, err := r.Manifest(ctx, ReferrersTag(subject))
	var missing *NotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	parsed, err := ocijson.Parse(m.Raw)
	if err == nil {
		err = checkDigests(parsed.Manifests)
	}
	return parsed.Manifests, err
}

// checkDigests returns an error for a list with an invalid digest.
func checkDigests(list []ocispec.Descriptor) error {
	for _, d := range list {
		if err := d.Digest.Validate(); err != nil {
			return fmt.Errorf("digest %.100q: %w", d.Digest, err)
		}
	}
	return nil
}

// ReferrerDescriptor describes a manifest as lists of referrers do.
func ReferrerDescriptor(m Manifest) ocispec.Descriptor {
	d := m.Descriptor()
	var fields struct {
		ArtifactType string              `json:"artifactType"`
		Config       *ocispec.Descriptor `json:"config"`
		Annotations  map[string]string   `json:"annotations"`
	}
	if json.Unmarshal(m.Raw, &fields) == nil {
		d.ArtifactType, d.Annotations = fields.ArtifactType, fields.Annotations
		if d.ArtifactType == "" && fields.Config != nil {
			d.ArtifactType = fields.Config.MediaType
		}
	}
	return d
}

// Blob opens a blob for reading. It is checked against its digest and size while it is
// read, and no more than size bytes are delivered. A connection that is lost is resumed.
func (r *Repository) Blob(ctx context.Context, d digest.Digest, size int64) (io.ReadCloser, error) {
	return r.blob(ctx, d, size)
}

// HasBlob reports whether the repository has a blob.
func (r *Repository) HasBlob(ctx context.Context, d digest.Digest) (bool, error) {
	return r.has(ctx, "/blobs/"+d.String(), d, actionsPush)
}

// OffersBlob reports whether a blob can be pulled from the repository, without the right to
// push to it. If the repository cannot be read, the error is an *UnauthorizedError.
func (r *Repository) OffersBlob(ctx context.Context, d digest.Digest) (bool, error) {
	return r.has(ctx, "/blobs/"+d.String(), d, actionsPull)
}
