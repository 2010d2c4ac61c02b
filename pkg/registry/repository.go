package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxManifest is the size in bytes of the largest manifest or index that is read or
// written. It is what registries accept.
const maxManifest = 4 << 20

// Manifest is an image's manifest or an index, as it is stored.
type Manifest struct {
	Raw       []byte
	MediaType string
	Digest    digest.Digest
}

// Descriptor describes the manifest.
func (m Manifest) Descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Raw))}
}

// Repository is a repository of a registry. Safe for concurrent use.
type Repository struct {
	host    *host
	ref     imageref.Ref // without tag and digest
	blocked error        // of every request, nil unless registries.conf blocks the repository
}

// Repository returns the repository of a reference. It does not touch the network.
func (c *Client) Repository(ref imageref.Ref) *Repository {
	repo := &Repository{host: c.host(ref.Registry(), ref.Path()), ref: ref.WithTag("")}
	repo.blocked = c.conf.check(repo.Name())
	return repo
}

// Name is the repository's full name.
func (r *Repository) Name() string { return r.ref.Repository() }

// Registry is the host that the repository is in, as in names of images.
func (r *Repository) Registry() string { return r.ref.Registry() }

// request makes a request below the repository's address.
func (r *Repository) request(ctx context.Context, method, path string, query url.Values, body []byte) (
	*http.Request, error) {
	if r.blocked != nil {
		return nil, r.blocked
	}
	scheme, err := r.host.contact(ctx)
	if err != nil {
		return nil, err
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	return http.NewRequestWithContext(ctx, method, r.host.url(scheme, "/v2/"+r.ref.Path()+path, query).String(), reader)
}

// exchange sends a request, logged in for the actions, and checks the answer's status.
// The caller closes its body.
func (r *Repository) exchange(req *http.Request, actions string, want ...int) (*http.Response, error) {
	resp, err := r.host.do(req, r.ref.Path(), scope(r.ref.Path(), actions))
	if err != nil {
		return nil, err
	}
	if err := checkStatus(resp, want...); err != nil {
		resp.Body.Close()
		return resp, err
	}
	return resp, nil
}

// checkIdentifier refuses what is neither a tag nor a digest, because it becomes part of a
// request's path. Manifests, which others write, name their children.
func checkIdentifier(identifier string) error {
	if imageref.CheckTag(identifier) == nil {
		return nil
	}
	if _, err := digest.Parse(identifier); err != nil {
		return fmt.Errorf("%q is neither a tag nor a digest", identifier)
	}
	return nil
}

// Child reads a manifest that another one refers to.
func (r *Repository) Child(ctx context.Context, d digest.Digest) (Manifest, error) {
	if err := d.Validate(); err != nil {
		return Manifest{}, fmt.Errorf("manifest %q: %w", d, err)
	}
	return r.Manifest(ctx, d.String())
}

// reference names a tag or a manifest of the repository, for requests' paths and for
// messages.
func (r *Repository) reference(identifier string) (path, ref string) {
	path = "/manifests/" + identifier
	if strings.Contains(identifier, ":") {
		return path, r.Name() + "@" + identifier
	}
	return path, r.Name() + ":" + identifier
}

var manifestTypes = strings.Join([]string{
	string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
	string(types.OCIImageIndex), string(types.DockerManifestList),
}, ", ")

// Head looks up a tag or digest with one HEAD request. The errors are *NotFoundError,
// *UnauthorizedError and *UnreachableError where they fit.
func (r *Repository) Head(ctx context.Context, identifier string) (ocispec.Descriptor, error) {
	path, ref := r.reference(identifier)
	fail := func(err error) (ocispec.Descriptor, error) { return ocispec.Descriptor{}, r.host.failure(ref, err) }
	if err := checkIdentifier(identifier); err != nil {
		return fail(err)
	}
	req, err := r.request(ctx, http.MethodHead, path, nil, nil)
	if err != nil {
		return fail(err)
	}
	req.Header.Set("Accept", manifestTypes)
	resp, err := r.exchange(req, actionsPull, http.StatusOK)
	if err != nil {
		return fail(err)
	}
	resp.Body.Close()
	d := ocispec.Descriptor{
		MediaType: resp.Header.Get("Content-Type"), Size: resp.ContentLength,
		Digest: digest.Digest(resp.Header.Get("Docker-Content-Digest")),
	}
	if d.Digest.Validate() != nil || d.Size < 0 {
		// The specification does not oblige registries to send these headers.
		m, err := r.Manifest(ctx, identifier)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		return m.Descriptor(), nil
	}
	return d, nil
}

// Has reports whether the repository has a manifest. A registry that denies access to
// what does not exist has it not: if it is a real refusal, the upload that follows
// says so.
func (r *Repository) Has(ctx context.Context, d digest.Digest) (bool, error) {
	return r.has(ctx, "/manifests/"+d.String(), d, actionsPush)
}

func (r *Repository) has(ctx context.Context, path string, d digest.Digest, actions string) (bool, error) {
	if err := d.Validate(); err != nil {
		return false, fmt.Errorf("%q: %w", d, err)
	}
	req, err := r.request(ctx, http.MethodHead, path, nil, nil)
	if err != nil {
		return false, r.host.failure(r.Name(), err)
	}
	req.Header.Set("Accept", manifestTypes)
	resp, err := r.host.do(req, r.ref.Path(), scope(r.ref.Path(), actions))
	if err != nil {
		return false, r.host.failure(r.Name(), err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusNotFound:
		return false, nil
	case http.StatusForbidden:
		if actions == actionsPush {
			return false, nil
		}
	}
	return false, r.host.failure(r.Name()+"@"+d.String(), checkStatus(resp, http.StatusOK))
}

// Manifest reads a manifest by tag or digest. What is read by digest has been checked
// against it.
func (r *Repository) Manifest(ctx context.Context, identifier string) (Manifest, error) {
	_, ref := r.reference(identifier)
	if err := checkIdentifier(identifier); err != nil {
		return Manifest{}, r.host.failure(ref, err)
	}
	var m Manifest
	err := r.host.client.repeat(ctx, func() (err error) {
		m, err = r.readManifest(ctx, identifier)
		return err
	})
	if err != nil {
		return Manifest{}, r.host.failure(ref, err)
	}
	return m, nil
}

// readManifest is one try of Manifest.
func (r *Repository) readManifest(ctx context.Context, identifier string) (Manifest, error) {
	path, ref := r.reference(identifier)
	req, err := r.request(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return Manifest{}, final(err)
	}
	req.Header.Set("Accept", manifestTypes)
	resp, err := r.exchange(req, actionsPull, http.StatusOK)
	if err != nil {
		return Manifest{}, final(err)
	}
	defer resp.Body.Close()
	raw, err := readLimited(resp.Body, maxManifest, "manifest "+ref)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Raw: raw, MediaType: mediaType(resp.Header.Get("Content-Type")), Digest: digest.FromBytes(raw)}
	want, err := digest.Parse(identifier)
	if err != nil { // a tag
		if want, err = digest.Parse(resp.Header.Get("Docker-Content-Digest")); err != nil {
			return m, nil
		}
	}
	if m.Digest = want.Algorithm().FromBytes(raw); m.Digest != want {
		damaged := &ContentError{What: "manifest read from " + r.Name(), Want: want.String(),
			Got: m.Digest.String(), Remote: true}
		return Manifest{}, &retry.Error{Err: damaged, Again: true} // it may have happened on the way
	}
	return m, nil
}

// mediaType is a Content-Type without its parameters.
func mediaType(header string) string {
	mt, _, _ := strings.Cut(header, ";")
	return strings.TrimSpace(mt)
}

// readLimited reads all, up to a limit.
func readLimited(r io.Reader, limit int64, subject string) ([]byte, error) {
	b, err := inputfile.ReadAll(r, subject, limit)
	var large *inputfile.TooLargeError
	if errors.As(err, &large) {
		err = &SizeError{What: subject, Limit: limit}
	}
	return b, err
}

// PutManifest stores a manifest under its digest, and reads it back: a registry that
// changes content is found before any tag refers to it.
func (r *Repository) PutManifest(ctx context.Context, m Manifest) error {
	resp, err := r.putManifest(ctx, m.Digest.String(), m)
	if err != nil {
		return err
	}
	drain(resp)
	_, err = r.Manifest(ctx, m.Digest.String())
	return err
}

// PutTag makes a tag refer to a manifest, and checks that it does.
func (r *Repository) PutTag(ctx context.Context, tag string, m Manifest) error {
	resp, err := r.putManifest(ctx, tag, m)
	if err != nil {
		return err
	}
	drain(resp)
	got := resp.Header.Get("Docker-Content-Digest")
	if got == "" || !strings.HasPrefix(got, m.Digest.Algorithm().String()+":") {
		d, err := r.Head(ctx, tag)
		if err != nil {
			return err
		}
		got = d.Digest.String()
	}
	if got != m.Digest.String() {
		return &ContentError{What: "tag " + r.Name() + ":" + tag, Want: m.Digest.String(), Got: got, Remote: true}
	}
	return nil
}

func (r *Repository) putManifest(ctx context.Context, identifier string, m Manifest) (*http.Response, error) {
	path, ref := r.reference(identifier)
	if err := checkIdentifier(identifier); err != nil {
		return nil, r.host.failure(ref, err)
	}
	if len(m.Raw) > maxManifest {
		return nil, &SizeError{What: "manifest " + ref, Limit: maxManifest}
	}
	req, err := r.request(ctx, http.MethodPut, path, nil, m.Raw)
	if err != nil {
		return nil, r.host.failure(ref, err)
	}
	req.Header.Set("Content-Type", m.MediaType)
	resp, err := r.exchange(req, actionsPush, http.StatusCreated, http.StatusOK, http.StatusAccepted)
	if err != nil {
		return nil, r.host.failure(ref, err)
	}
	return resp, nil
}

// Tags lists the tags of the repository, in no order. A repository that does not exist
// has none.
func (r *Repository) Tags(ctx context.Context) ([]string, error) {
	fail := func(err error) ([]string, error) {
		return nil, fmt.Errorf("listing the tags of %s: %w", r.Name(), r.host.failure(r.Name(), err))
	}
	path, query := "/tags/list", url.Values{"n": {"1000"}}
	var tags []string
	for page, size := 0, 0; ; page++ {
		var more []string
		var next url.Values
		err := r.host.client.repeat(ctx, func() error {
			req, err := r.request(ctx, http.MethodGet, path, query, nil)
			if err != nil {
				return final(err)
			}
			resp, err := r.exchange(req, actionsPull, http.StatusOK)
			if err != nil {
				return final(err)
			}
			defer resp.Body.Close()
			more, next, err = readTags(resp)
			return err
		})
		if err != nil {
			var missing *NotFoundError
			if errors.As(r.host.failure(r.Name(), err), &missing) {
				return nil, nil
			}
			return fail(err)
		}
		tags = append(tags, more...)
		size += textSize(more)
		if next == nil {
			return tags, nil
		}
		switch {
		case size > maxTagBytes:
			return fail(&SizeError{What: "the list of tags", Limit: maxTagBytes})
		case page == maxTagPages || len(tags) > maxTags:
			return fail(&SizeError{What: "the list of tags", Limit: maxTags, Unit: "entries"})
		case samePage(next, query):
			return fail(fmt.Errorf("the page after %q is the same page", next.Encode()))
		}
		query = next
	}
}
