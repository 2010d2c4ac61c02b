package registry

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/retry"
)

// Blob is content to upload.
type Blob struct {
	Digest digest.Digest
	Size   int64                         // bytes
	Open   func() (io.ReadCloser, error) // called once for each attempt
	// Missing says that the repository was found not to have the blob.
	Missing bool
	// Anywhere asks the registry to mount a missing blob from any other repository. Most
	// registries ignore that; those that fail are not asked again.
	Anywhere bool
}

// BlobState says what happened to a blob.
type BlobState string

// The states of a blob.
const (
	BlobUploaded BlobState = "uploaded" // sent over the network
	BlobMounted  BlobState = "mounted"  // mounted from another repository of the registry
	BlobSkipped  BlobState = "skipped"  // already in the repository
)

// Upload puts a blob into the repository: by mounting it from another repository of the
// same registry (from, nil if there is none to mount from), by finding it there, or by
// sending it. After a fault the whole upload is repeated, because the same bytes must
// not be sent to the same upload again. progress, if not nil, is called with the bytes
// sent so far.
func (r *Repository) Upload(ctx context.Context, blob Blob, from *Repository, progress func(sent int64)) (BlobState, error) {
	var state BlobState
	refused := false
	err := r.host.client.repeat(ctx, func() (err error) {
		if state, err = r.tryUpload(ctx, blob, from, progress); err == nil {
			return nil
		}
		blob.Missing = false // the registry may have it, although its answer was lost
		var status *transport.Error
		if errors.As(err, &status) && status.StatusCode == http.StatusUnauthorized && !refused {
			refused = true // the token expired during the upload and is replaced
			return &retry.Error{Err: err, Again: true}
		}
		var known *retry.Error
		if !errors.As(err, &known) {
			err = final(err)
		}
		return err
	})
	if err == nil {
		return state, nil
	}
	if ctx.Err() != nil {
		return "", err
	}
	return "", fmt.Errorf("blob %s: %w", blob.Digest, r.host.failure(r.Name(), err))
}

func (r *Repository) tryUpload(ctx context.Context, blob Blob, from *Repository, progress func(int64)) (BlobState, error) {
	query := url.Values{}
	scopes := []string{scope(r.ref.Path(), actionsPush)}
	if from != nil {
		query.Set("mount", blob.Digest.String())
		query.Set("from", from.ref.Path())
		if from.ref.Path() != r.ref.Path() {
			scopes = append(scopes, scope(from.ref.Path(), actionsPull))
		}
	} else if blob.Missing {
		// It has been looked up.
	} else if there, err := r.has(ctx, "/blobs/"+blob.Digest.String(), blob.Digest, actionsPush); err != nil || there {
		return BlobSkipped, err // a mount also finds existing blobs
	}
	if blob.Digest.Algorithm() != digest.Canonical {
		query.Set("digest-algorithm", blob.Digest.Algorithm().String())
	}
	anywhere := from == nil && blob.Missing && blob.Anywhere && !r.host.needsSource.Load()
	if anywhere {
		query.Set("mount", blob.Digest.String())
	}
	resp, err := r.begin(ctx, query, scopes)
	var status *transport.Error
	if anywhere && errors.As(err, &status) && status.StatusCode != http.StatusUnauthorized && status.StatusCode != http.StatusTooManyRequests {
		// Quay fails for a mount without a repository to mount from.
		r.host.needsSource.Store(true)
		query.Del("mount")
		resp, err = r.begin(ctx, query, scopes)
	}
	if err != nil {
		return "", err
	}
	defer drain(resp)
	if resp.StatusCode == http.StatusCreated {
		return BlobMounted, nil
	}
	location, err := resp.Location()
	if err != nil {
		return "", fmt.Errorf("the registry began an upload without a location: %w", err)
	}
	return BlobUploaded, r.send(ctx, location, blob, progress)
}

// begin begins an upload or mounts a blob. The caller closes the body of the answer.
func (r *Repository) begin(ctx context.Context, query url.Values, scopes []string) (*http.Response, error) {
	req, err := r.request(ctx, http.MethodPost, "/blobs/uploads/", query, nil)
	if err != nil {
		return nil, err
	}
	resp, err := r.host.do(req, r.ref.Path(), scopes...)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, http.StatusAccepted, http.StatusCreated); err != nil {
		drain(resp)
		return nil, err
	}
	return resp, nil
}

// send sends the bytes in one PUT, as containerd does: every registry accepts that, and
// it saves a request per blob.
func (r *Repository) send(ctx context.Context, location *url.URL, blob Blob, progress func(int64)) error {
	q := location.Query()
	q.Set("digest", blob.Digest.String())
	location.RawQuery = q.Encode()
	body, err := blob.Open()
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	defer body.Close()
	content := &blobReader{r: body, blob: blob, progress: progress, sum: blob.Digest.Algorithm().Hash()}
	req, err := http.NewRequestWithContext(context.WithValue(ctx, keyOnce, true), http.MethodPut, location.String(), io.NopCloser(content))
	if err != nil {
		return err
	}
	req.ContentLength = blob.Size
	if blob.Size == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := r.host.do(req, r.ref.Path(), scope(r.ref.Path(), actionsPush))
	if err != nil {
		if content.err != nil {
			return content.failure()
		}
		if retry.Transient(err) {
			return &retry.Error{Err: err, Again: true}
		}
		return err
	}
	defer drain(resp)
	err = transport.CheckError(resp, http.StatusCreated, http.StatusNoContent, http.StatusAccepted)
	switch {
	case err == nil:
		return nil
	case content.err != nil:
		return content.failure()
	case retry.TransientStatus(resp.StatusCode):
		return &retry.Error{Err: err, Again: true, After: retry.After(resp, time.Now())}
	case resp.StatusCode == http.StatusBadRequest, resp.StatusCode == http.StatusNotFound,
		resp.StatusCode == http.StatusRequestedRangeNotSatisfiable, resp.StatusCode == http.StatusConflict:
		// The upload was lost or damaged. If our own data is correct, the transfer is
		// at fault. (The digest of a partly read blob has no meaning.)
		if content.n == blob.Size {
			if got := digest.NewDigest(blob.Digest.Algorithm(), content.sum); got != blob.Digest {
				return &ContentError{What: "layer", Want: blob.Digest.String(), Got: got.String()}
			}
		}
		return &retry.Error{Err: err, Again: true}
	}
	return err
}

// blobReader counts, hashes and reports the bytes that are read from a blob.
type blobReader struct {
	r        io.Reader
	blob     Blob
	progress func(int64)
	n        int64
	sum      hash.Hash
	last     time.Time // of the last report
	err      error     // reading the blob failed, which is not the registry's fault
}

// failure returns the error of reading. What another registry sent damaged may arrive
// undamaged next time.
func (b *blobReader) failure() error {
	err := fmt.Errorf("reading: %w", b.err)
	var damaged *ContentError
	if errors.As(b.err, &damaged) && damaged.Remote {
		return &retry.Error{Err: err, Again: true}
	}
	return err
}

// progressInterval bounds how often the progress of a blob is reported.
const progressInterval = 100 * time.Millisecond

func (b *blobReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.sum.Write(p[:n])
	b.n += int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	if err == io.EOF && b.n < b.blob.Size {
		b.err = fmt.Errorf("layer %s has %d bytes, %d are expected: %w", b.blob.Digest, b.n, b.blob.Size, io.ErrUnexpectedEOF)
		err = b.err
	}
	if now := time.Now(); b.progress != nil && now.Sub(b.last) >= progressInterval {
		b.last = now
		b.progress(b.n)
	}
	return n, err
}
