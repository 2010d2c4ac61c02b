package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ctxio"
	"github.com/kolla-build/kolla-build/internal/retry"
)

// Blob is content to upload.
type Blob struct {
	Digest digest.Digest
	Size   int64                         // bytes
	Open   func() (io.ReadCloser, error) // called for each attempt, and after some failures
	// Verified reports that the reader fails at its end if the content has another digest.
	Verified bool
	// Missing reports that the repository was found not to have the blob.
	Missing bool
	// Anywhere asks the registry to mount a missing blob from any other repository. Most
	// registries ignore that; those that refuse it are not asked again.
	Anywhere bool
}

// BlobState describes what happened to a blob.
type BlobState string

// The states of a blob.
const (
	BlobUploaded BlobState = "uploaded" // sent over the network
	BlobMounted  BlobState = "mounted"  // mounted from another repository of the registry
	BlobSkipped  BlobState = "skipped"  // already in the repository
)

// Upload puts a blob into the repository: by mounting it from another repository of the
// same registry (from; nil for none), by finding it there, or by
// sending it. After a fault the whole upload is repeated, because the same bytes must
// not be sent to the same upload again. progress, if not nil, is called with the bytes
// sent so far.
func (r *Repository) Upload(ctx context.Context, blob Blob, from *Repository, progress func(sent int64)) (
	BlobState, error) {
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

func (r *Repository) tryUpload(ctx context.Context, blob Blob, from *Repository, progress func(int64)) (
	BlobState, error) {
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
	} else if present, err := r.has(ctx, "/blobs/"+blob.Digest.String(), blob.Digest, actionsPush); err != nil || present {
		return BlobSkipped, err // a mount also finds existing blobs
	}
	if blob.Digest.Algorithm() != digest.Canonical {
		query.Set("digest-algorithm", blob.Digest.Algorithm().String())
	}
	var resp *http.Response
	var err error
	if from == nil && blob.Missing && blob.Anywhere && r.host.anywhere.usable() {
		resp, err = r.mountAnywhere(ctx, blob, query, scopes)
	} else {
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

// mountAnywhere mounts a blob from any other repository, or begins an upload.
func (r *Repository) mountAnywhere(ctx context.Context, blob Blob, query url.Values, scopes []string) (
	*http.Response, error) {
	mount := maps.Clone(query)
	mount.Set("mount", blob.Digest.String())
	resp, err := r.begin(context.WithValue(ctx, keyOnce, true), mount, scopes)
	if err == nil {
		r.host.anywhere.succeeded()
		return resp, nil
	}
	if resp, plainErr := r.begin(ctx, query, scopes); plainErr == nil {
		r.host.anywhere.failed(err)
		return resp, nil
	} else if ctx.Err() == nil {
		err = plainErr
	}
	return nil, err
}

// anywhereMounts records whether a registry accepts mounts that name no repository to mount
// from. Quay fails for them.
type anywhereMounts struct{ faults atomic.Int32 }

// maxMountFaults is how many faults in succession, of which each may have another cause, show
// that a registry does not accept such mounts.
const maxMountFaults = 3

func (a *anywhereMounts) usable() bool { return a.faults.Load() < maxMountFaults }

func (a *anywhereMounts) succeeded() {
	if a.usable() {
		a.faults.Store(0)
	}
}

// failed records the error of a mount for which an upload could then be begun.
func (a *anywhereMounts) failed(err error) {
	var status *transport.Error
	if !errors.As(err, &status) {
		a.faults.Add(1)
		return
	}
	switch code := status.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden: // of some repository
	case retry.TransientStatus(code):
		a.faults.Add(1)
	default:
		a.faults.Store(maxMountFaults)
	}
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
	want := []int{http.StatusAccepted}
	if query.Has("mount") {
		want = append(want, http.StatusCreated) // otherwise, nothing was sent that it could have created
	}
	if err := checkStatus(resp, want...); err != nil {
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
	content := &blobReader{r: body, blob: blob, progress: progress}
	defer content.Close()
	ctx = context.WithValue(ctx, keyOnce, true)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, location.String(), io.NopCloser(content))
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
		if content.readErr() != nil {
			return content.failure()
		}
		if retry.Transient(err) {
			return &retry.Error{Err: err, Again: true}
		}
		return err
	}
	defer drain(resp)
	err = checkStatus(resp, http.StatusCreated, http.StatusNoContent, http.StatusAccepted)
	switch {
	case err == nil && resp.StatusCode == http.StatusAccepted:
		// It has not said that the blob is complete, and tags of images must not name missing blobs.
		present, err := r.has(ctx, "/blobs/"+blob.Digest.String(), blob.Digest, actionsPush)
		if err == nil && !present {
			err = &retry.Error{Err: errors.New("the registry has not stored what it accepted"), Again: true}
		}
		return err
	case err == nil:
		return nil
	case content.readErr() != nil:
		return content.failure()
	case retry.TransientStatus(resp.StatusCode):
		return &retry.Error{Err: err, Again: true, After: retry.After(resp, time.Now())}
	case resp.StatusCode/100 != 4, resp.StatusCode == http.StatusUnauthorized:
		return err
	}
	// Our data may be damaged, and each registry or proxy refuses it with another status.
	if err := blob.check(ctx); err != nil {
		return err
	}
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable, http.StatusConflict:
		// The upload was lost or damaged on its way.
		return &retry.Error{Err: err, Again: true}
	}
	return err
}

// check reads a blob, unless its reader has done that, and returns a *ContentError if it does
// not have its digest. The registry verifies what is sent, so this is only needed to find
// out who is at fault.
func (b Blob) check(ctx context.Context) error {
	if b.Verified {
		return nil
	}
	body, err := b.Open()
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	defer body.Close()
	sum := b.Digest.Algorithm().Hash()
	if _, err := ctxio.Copy(ctx, sum, body); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	if got := digest.NewDigest(b.Digest.Algorithm(), sum); got != b.Digest {
		return &ContentError{What: "layer", Want: b.Digest.String(), Got: got.String()}
	}
	return nil
}

// blobReader counts and reports the bytes that are read from a blob. Close does not wait for a
// Read: the transport may still read the blob in a goroutine when the registry has answered, and
// the blob is then closed after that.
type blobReader struct {
	r        io.ReadCloser
	blob     Blob
	progress func(int64)
	n        int64
	last     time.Time // of the last report

	mu              sync.Mutex
	reading, closed bool
	err             error // reading the blob failed, which is not the registry's fault
}

// begin reports whether the blob may be read.
func (b *blobReader) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = !b.closed
	return b.reading
}

// end ends a Read, and reports whether the blob was closed during it.
func (b *blobReader) end(err error) (closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	if b.closed {
		b.r.Close()
		return true
	}
	if err != nil && err != io.EOF {
		b.err = err
	}
	return false
}

// Close closes the blob, if it is being read when that has ended.
func (b *blobReader) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	if b.closed = true; b.reading {
		return nil
	}
	return b.r.Close()
}

// readErr returns the error of reading so far.
func (b *blobReader) readErr() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// failure returns the error of reading. What another registry sent damaged may arrive
// undamaged next time.
func (b *blobReader) failure() error {
	err := fmt.Errorf("reading: %w", b.readErr())
	var damaged *ContentError
	if errors.As(err, &damaged) && damaged.Remote {
		return &retry.Error{Err: err, Again: true}
	}
	return err
}

// progressInterval bounds how often the progress of a blob is reported.
const progressInterval = 100 * time.Millisecond

func (b *blobReader) Read(p []byte) (int, error) {
	if !b.begin() {
		return 0, fs.ErrClosed
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	if err == io.EOF && b.n < b.blob.Size {
		err = fmt.Errorf("layer %s has %d bytes, %d are expected: %w", b.blob.Digest, b.n, b.blob.Size, io.ErrUnexpectedEOF)
	}
	if b.end(err) {
		return 0, fs.ErrClosed
	}
	if now := time.Now(); b.progress != nil && now.Sub(b.last) >= progressInterval {
		b.last = now
		b.progress(b.n)
	}
	return n, err
}
