package registry

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// DeleteTag deletes one tag: the image that it refers to keeps its other tags and its
// digest. A tag that does not exist is not an error. A registry that does not allow it
// answers with a *DeleteError.
func (c *Client) DeleteTag(ctx context.Context, name string) error {
	ref, err := imageref.ParseTag(name)
	if err != nil {
		return fmt.Errorf("deleting a tag: %w", err)
	}
	if err := c.Repository(ref).DeleteTag(ctx, ref.Tag()); err != nil {
		return fmt.Errorf("deleting tag %s: %w", name, err)
	}
	return nil
}

// DeleteTag deletes a tag, as Client.DeleteTag does.
func (r *Repository) DeleteTag(ctx context.Context, tag string) error {
	status, err := r.delete(ctx, tag)
	switch status {
	case http.StatusAccepted, http.StatusOK, http.StatusNoContent:
		return nil
	case http.StatusNotFound, http.StatusBadRequest:
		// The tag does not exist, or this registry only deletes by digest, like
		// versions of the distribution before 3.
	default:
		return err
	}
	var missing *NotFoundError
	if _, err := r.Head(ctx, tag); errors.As(err, &missing) {
		return nil
	}
	return r.deleteByPlaceholder(ctx, tag)
}

// deleteByPlaceholder deletes a tag in registries that only delete digests together
// with all tags that refer to them: it first points the tag to an empty manifest of its
// own, and then deletes that manifest.
func (r *Repository) deleteByPlaceholder(ctx context.Context, tag string) error {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // documented never to fail
	config := []byte("{}")
	raw, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Layers:    []ocispec.Descriptor{},
		Config: ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config)),
		},
		Annotations: map[string]string{"io.kolla-build.deleted": hex.EncodeToString(nonce)},
	})
	if err != nil {
		return err
	}
	m := Manifest{Raw: raw, MediaType: string(types.OCIManifestSchema1), Digest: digest.FromBytes(raw)}
	blob := Blob{
		Digest: digest.FromBytes(config),
		Size:   int64(len(config)),
		Open:   func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(config)), nil },
	}
	if _, err := r.Upload(ctx, blob, nil, nil); err != nil {
		return err
	}
	// The first attempt does not involve the tag, so that a registry that forbids
	// deletion is not left with a tag for an empty manifest.
	steps := []func() error{
		func() error { return r.PutManifest(ctx, m) },
		func() error { return r.PutTag(ctx, tag, m) },
	}
	for _, step := range steps {
		// The distribution answers 500 if another tag is being written, with the manifest
		// deleted and its tag left. The repeated request then finds no manifest.
		var err error
		var missing *NotFoundError
		for range maxDeletions {
			if err = step(); err == nil {
				err = r.DeleteManifest(ctx, m.Digest)
			}
			if !errors.As(err, &missing) {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxDeletions is how often a manifest is uploaded and deleted if the registry reports that
// it does not exist.
const maxDeletions = 4

// DeleteManifest deletes a manifest, and with it every tag that refers to it. The error
// is a *DeleteError if the registry does not allow it.
func (r *Repository) DeleteManifest(ctx context.Context, d digest.Digest) error {
	status, err := r.delete(ctx, d.String())
	if err != nil && (status == http.StatusBadRequest || status == http.StatusNotFound) {
		return &DeleteError{Host: r.Registry(), Err: err}
	}
	return err
}

// delete deletes a tag or a digest. The status is 0 if there was no answer.
func (r *Repository) delete(ctx context.Context, identifier string) (int, error) {
	path, ref := r.reference(identifier)
	req, err := r.request(ctx, http.MethodDelete, path, nil, nil)
	if err != nil {
		return 0, r.host.failure(ref, err)
	}
	resp, err := r.host.do(req, r.ref.Path(), scope(r.ref.Path(), actionsDelete))
	if err != nil {
		return 0, r.host.failure(ref, err)
	}
	defer drain(resp)
	err = checkStatus(resp, http.StatusAccepted, http.StatusOK, http.StatusNoContent)
	switch resp.StatusCode {
	case http.StatusMethodNotAllowed, http.StatusForbidden, http.StatusUnauthorized, http.StatusNotImplemented:
		return resp.StatusCode, &DeleteError{Host: r.Registry(), Err: err}
	}
	return resp.StatusCode, r.host.failure(ref, err)
}
