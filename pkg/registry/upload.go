package registry

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// flight is one blob on its way to one registry. The first image that has the
// blob brings it there; the others wait for done, and mount it from repo.
type flight struct {
	done chan struct{}
	repo name.Repository // where the blob lies, once done and err is nil
	err  error
}

// putBlob brings one blob into repo.
func (p *Publisher) putBlob(ctx context.Context, repo name.Repository, digest v1.Hash, l v1.Layer) error {
	key := blobKey{repo.RegistryStr(), digest}
	for {
		p.mu.Lock()
		f := p.blobs[key]
		if f == nil {
			f = &flight{done: make(chan struct{})}
			p.blobs[key] = f
			p.mu.Unlock()
			f.repo, f.err = repo, p.bring(ctx, repo, digest, l, nil)
			if f.err != nil {
				// Forgotten, so that a later Push tries again.
				p.mu.Lock()
				delete(p.blobs, key)
				p.mu.Unlock()
			}
			close(f.done)
			return f.err
		}
		p.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		switch {
		case f.err == nil && f.repo.RepositoryStr() == repo.RepositoryStr():
			return nil
		case f.err == nil:
			return p.bring(ctx, repo, digest, l, &f.repo)
		case errors.Is(f.err, context.Canceled), errors.Is(f.err, context.DeadlineExceeded):
			// The other image was given up, not the blob: take over.
		default:
			return f.err
		}
	}
}

// noteBlobs remembers that an image's blobs lie in repo.
func (p *Publisher) noteBlobs(repo name.Repository, img v1.Image) error {
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	closed := make(chan struct{})
	close(closed)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		key := blobKey{repo.RegistryStr(), d.Digest}
		if p.blobs[key] == nil {
			p.blobs[key] = &flight{done: closed, repo: repo}
		}
	}
	return nil
}

// bring tries to get a blob into repo until it is there: by mounting it from
// another repository, by finding it there, by sending it. The whole is what is
// repeated: after a fault the same bytes may not be sent to the same upload.
func (p *Publisher) bring(ctx context.Context, repo name.Repository, digest v1.Hash, l v1.Layer, from *name.Repository) error {
	select {
	case p.jobs <- struct{}{}:
		defer func() { <-p.jobs }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	size, err := l.Size()
	if err != nil {
		return fmt.Errorf("layer %s: %w", digest, err)
	}
	start := time.Now()
	for attempt := 0; ; attempt++ {
		state, err := p.tryBlob(ctx, repo, digest, l, size, from)
		if err == nil {
			switch state {
			case BlobUploaded:
				p.uploaded.Add(1)
				p.bytes.Add(size)
			case BlobMounted:
				p.mounted.Add(1)
			case BlobSkipped:
				p.skipped.Add(1)
			}
			p.report(repo, digest, state, size, size)
			return nil
		}
		var again *againError
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !errors.As(err, &again) || !p.c.policy.wait(ctx, attempt, start, again.after) {
			if again != nil {
				err = again.err
			}
			return fmt.Errorf("blob %s: %w", digest, p.c.session(repo.Registry).refused(classify(repo.RegistryStr(), repo.Name(), err)))
		}
		p.retried.Add(1)
	}
}

// againError is a fault of an upload that a fresh try may not meet.
type againError struct {
	err   error
	after time.Duration
}

func (e *againError) Error() string { return e.err.Error() }
func (e *againError) Unwrap() error { return e.err }

// tryBlob is one try of bring.
func (p *Publisher) tryBlob(ctx context.Context, repo name.Repository, digest v1.Hash, l v1.Layer, size int64, from *name.Repository) (BlobState, error) {
	query := url.Values{}
	var s *session
	var rt http.RoundTripper
	var err error
	if from != nil {
		s, rt, err = p.pushTransport(ctx, repo, *from)
		query.Set("mount", digest.String())
		query.Set("from", from.RepositoryStr())
	} else {
		s, rt, err = p.pushTransport(ctx, repo)
	}
	if err != nil {
		return "", err
	}
	// A mount finds what is there too, so the look-up is only for the rest.
	if from == nil {
		there, err := p.hasBlob(ctx, s, rt, repo, digest)
		if err != nil {
			return "", err
		}
		if there {
			return BlobSkipped, nil
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		s.url("/v2/"+repo.RepositoryStr()+"/blobs/uploads/", query).String(), nil)
	if err != nil {
		return "", err
	}
	resp, err := send(rt, req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusAccepted, http.StatusCreated); err != nil {
		return "", err
	}
	if resp.StatusCode == http.StatusCreated {
		return BlobMounted, nil
	}
	location, err := resp.Location()
	if err != nil {
		return "", fmt.Errorf("the registry began an upload without saying where: %w", err)
	}
	return BlobUploaded, p.sendBlob(ctx, rt, location, repo, digest, l, size)
}

func (p *Publisher) hasBlob(ctx context.Context, s *session, rt http.RoundTripper, repo name.Repository, digest v1.Hash) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead,
		s.url("/v2/"+repo.RepositoryStr()+"/blobs/"+digest.String(), nil).String(), nil)
	if err != nil {
		return false, err
	}
	resp, err := send(rt, req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusNotFound, http.StatusForbidden: // see hasManifest
		return false, nil
	}
	return false, transport.CheckError(resp, http.StatusOK)
}

// sendBlob sends the bytes in one PUT, as containerd does: each registry takes
// that, and it saves a request per blob.
func (p *Publisher) sendBlob(ctx context.Context, rt http.RoundTripper, location *url.URL, repo name.Repository, digest v1.Hash, l v1.Layer, size int64) error {
	q := location.Query()
	q.Set("digest", digest.String())
	location.RawQuery = q.Encode()
	body, err := l.Compressed()
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	defer body.Close()
	r := &blobReader{r: body, p: p, repo: repo, digest: digest, size: size, sum: sha256.New()}
	req, err := http.NewRequestWithContext(context.WithValue(ctx, keyOnce, true), http.MethodPut, location.String(), io.NopCloser(r))
	if err != nil {
		return err
	}
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := send(rt, req)
	if err != nil {
		if r.err != nil {
			return fmt.Errorf("reading: %w", r.err)
		}
		if isTransient(err) {
			return &againError{err: err}
		}
		return err
	}
	defer resp.Body.Close()
	err = transport.CheckError(resp, http.StatusCreated, http.StatusNoContent, http.StatusAccepted)
	switch {
	case err == nil:
		return nil
	case r.err != nil:
		return fmt.Errorf("reading: %w", r.err)
	case transientStatus(resp.StatusCode):
		return &againError{err: err, after: retryAfter(resp, time.Now())}
	case resp.StatusCode == http.StatusBadRequest, resp.StatusCode == http.StatusNotFound,
		resp.StatusCode == http.StatusRequestedRangeNotSatisfiable, resp.StatusCode == http.StatusConflict:
		// The upload was lost or arrived damaged. If what we read is sound, it
		// happened on the way. (The digest of a partly read blob means nothing.)
		if r.n == size {
			if got := fmt.Sprintf("sha256:%x", r.sum.Sum(nil)); digest.Algorithm == "sha256" && got != digest.String() {
				return &ContentError{What: "layer", Want: digest.String(), Got: got}
			}
		}
		return &againError{err: err}
	}
	return err
}

// blobReader counts, hashes and reports what is read of a blob.
type blobReader struct {
	r      io.Reader
	p      *Publisher
	repo   name.Repository
	digest v1.Hash
	size   int64
	n      int64
	sum    hash.Hash
	last   time.Time
	err    error // our own reading failed: not the registry's fault
}

func (b *blobReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.sum.Write(p[:n])
	b.n += int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	if err == io.EOF && b.n < b.size {
		b.err = fmt.Errorf("layer %s has %d bytes, %d are expected: %w", b.digest, b.n, b.size, io.ErrUnexpectedEOF)
		err = b.err
	}
	if now := time.Now(); now.Sub(b.last) >= progressEvery {
		b.last = now
		b.p.report(b.repo, b.digest, BlobUploading, b.n, b.size)
	}
	return n, err
}

// MountSource tells the publisher that the registry has an image's blobs in
// repo (from an earlier run, or a base image), so that they are mounted from
// there rather than sent. It asks nothing; a mount that the registry refuses
// turns into an upload.
func (p *Publisher) MountSource(repo string, img v1.Image) error {
	r, err := p.c.parseRepo(repo)
	if err != nil {
		return err
	}
	return p.noteBlobs(r, img)
}
