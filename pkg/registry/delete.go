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

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// DeleteError says that a registry does not let tags be deleted, not at all or
// not by this user. Trying again does not help.
type DeleteError struct {
	Host string
	Err  error // its answer
}

// Error implements error.
func (e *DeleteError) Error() string {
	return fmt.Sprintf("registry %s does not allow tags to be deleted", e.Host)
}

// Unwrap gives the registry's answer.
func (e *DeleteError) Unwrap() error { return e.Err }

// Hint says what the user can do.
func (e *DeleteError) Hint() string {
	if e.Host == dockerHub {
		return "Docker Hub deletes tags on its web page only"
	}
	return "allow it there (the CNCF distribution: storage.delete.enabled), or delete with the registry's own tools"
}

// Tags lists the tags of a repository, in no order. A repository that does not
// exist has none.
func (c *Client) Tags(ctx context.Context, repo string) ([]string, error) {
	r, err := c.parseRepo(repo)
	if err != nil {
		return nil, err
	}
	opts, err := c.remoteOptions(ctx, r)
	if err != nil {
		return nil, withRef(err, repo)
	}
	tags, err := remote.List(r, opts...)
	if err = c.session(r.Registry).refused(classify(r.RegistryStr(), repo, err)); err != nil {
		var nf *NotFoundError
		if errors.As(err, &nf) {
			return nil, nil
		}
		return nil, fmt.Errorf("listing the tags of %s: %w", repo, err)
	}
	return tags, nil
}

// DeleteTag takes one tag away and nothing else: the image that it names stays
// under its other tags and its digest. A tag that is not there is no error. A
// registry that does not allow it answers with a *DeleteError.
func (p *Publisher) DeleteTag(ctx context.Context, ref string) error {
	r, err := p.c.parse(ref)
	if err != nil {
		return err
	}
	tag, ok := r.(name.Tag)
	if !ok {
		return fmt.Errorf("deleting tag %s: it names a digest, not a tag", ref)
	}
	if err := p.deleteTag(ctx, tag); err != nil {
		return fmt.Errorf("deleting tag %s: %w", ref, err)
	}
	return nil
}

func (p *Publisher) deleteTag(ctx context.Context, tag name.Tag) error {
	status, err := p.deleteManifest(ctx, tag.Repository, tag.TagStr())
	switch status {
	case http.StatusAccepted, http.StatusOK, http.StatusNoContent:
		return nil
	case http.StatusNotFound, http.StatusBadRequest:
		// It is gone already, or this registry deletes by digest only, as the
		// distribution before its version 3 does.
	default:
		return err
	}
	var nf *NotFoundError
	if _, herr := p.c.Head(ctx, tag.Name()); errors.As(herr, &nf) {
		return nil
	}
	return p.deleteByStandIn(ctx, tag)
}

// deleteByStandIn takes a tag away where only digests can be deleted, and with a
// digest all tags that name it: the tag is first moved to an empty manifest of
// its own, and that is deleted.
func (p *Publisher) deleteByStandIn(ctx context.Context, tag name.Tag) error {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails, says its documentation
	config := static.NewLayer([]byte("{}"), types.OCIConfigJSON)
	h, err := config.Digest()
	if err != nil {
		return err
	}
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{},
		Config:      v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: h, Size: 2},
		Annotations: map[string]string{"io.kolla-build.deleted": hex.EncodeToString(nonce)},
	})
	if err != nil {
		return err
	}
	d, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	m := &manifest{raw: raw, mediaType: types.OCIManifestSchema1}
	if err := p.putBlob(ctx, tag.Repository, h, config); err != nil {
		return err
	}
	// Once without the tag: a registry that forbids deletion must not be left
	// with a tag that names nothing useful.
	for _, identifier := range []string{d.String(), tag.TagStr()} {
		if err := p.putManifest(ctx, tag.Repository, identifier, m, d); err != nil {
			return err
		}
		if status, err := p.deleteManifest(ctx, tag.Repository, d.String()); err != nil {
			if status == http.StatusBadRequest || status == http.StatusNotFound {
				return &DeleteError{Host: tag.RegistryStr(), Err: err}
			}
			return err
		}
	}
	return nil
}

// deleteManifest deletes a tag or a digest. The status is 0 where there was no
// answer.
func (p *Publisher) deleteManifest(ctx context.Context, repo name.Repository, identifier string) (int, error) {
	rt, err := p.c.transport(ctx, repo.Registry, repo.Scope(transport.DeleteScope))
	if err != nil {
		return 0, withRef(err, repo.Name())
	}
	s := p.c.session(repo.Registry)
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete,
		s.url("/v2/"+repo.RepositoryStr()+"/manifests/"+identifier, nil).String(), nil)
	if err != nil {
		return 0, err
	}
	resp, err := send(rt, req)
	if err != nil {
		return 0, s.refused(classify(repo.RegistryStr(), repo.Name(), err))
	}
	defer resp.Body.Close()
	err = transport.CheckError(resp, http.StatusAccepted, http.StatusOK, http.StatusNoContent)
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	switch resp.StatusCode {
	case http.StatusMethodNotAllowed, http.StatusForbidden, http.StatusUnauthorized, http.StatusNotImplemented:
		return resp.StatusCode, &DeleteError{Host: repo.RegistryStr(), Err: err}
	}
	return resp.StatusCode, s.refused(classify(repo.RegistryStr(), repo.Name(), err))
}
