package registry_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// brokenBlob fails when the registry has answered.
type brokenBlob struct{ answered chan struct{} }

func (b brokenBlob) Read([]byte) (int, error) {
	<-b.answered
	return 0, errors.New("broken disk")
}

func (brokenBlob) Close() error { return nil }

// slowBlob is read for longer than the registry takes to refuse it.
type slowBlob struct {
	began           chan struct{} // closed by the first Read
	once            sync.Once
	reading, closed atomic.Bool
	overlap         atomic.Bool // it was closed while it was read, or read after that
	done            chan struct{}
}

func (b *slowBlob) Read([]byte) (int, error) {
	if b.closed.Load() {
		b.overlap.Store(true)
	}
	b.reading.Store(true)
	defer b.reading.Store(false)
	b.once.Do(func() { close(b.began) })
	time.Sleep(300 * time.Millisecond)
	return 1, nil
}

func (b *slowBlob) Close() error {
	if b.reading.Load() {
		b.overlap.Store(true)
	}
	if !b.closed.Swap(true) {
		close(b.done)
	}
	return nil
}

// refusing is a registry that refuses blobs without reading them, after before has returned.
func refusing(t *testing.T, status int, before, after func()) *registry.Repository {
	t.Helper()
	host := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			w.Header().Set("Location", r.URL.Path+"x")
			w.WriteHeader(http.StatusAccepted)
		case r.Method == http.MethodPut:
			before()
			w.Header().Set("Connection", "close")
			w.WriteHeader(status)
			_ = http.NewResponseController(w).Flush()
			after()
		case r.URL.Path != "/v2/":
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	ref, err := imageref.Parse(host + "/kolla/base")
	if err != nil {
		t.Fatal(err)
	}
	return registrytest.Client(t, registry.Options{Retries: -1}).Repository(ref)
}

// A blob that the transport still reads when the registry has answered is closed after that, and
// once.
func TestBlobIsNotClosedWhileItIsRead(t *testing.T) {
	b := &slowBlob{began: make(chan struct{}), done: make(chan struct{})}
	repo := refusing(t, http.StatusForbidden, func() { <-b.began }, func() {})
	blob := registry.Blob{Digest: digest.FromString(""), Size: 1000,
		Open: func() (io.ReadCloser, error) { return b, nil }, Verified: true}
	_, err := repo.Upload(t.Context(), blob, nil, nil)
	var refused *registry.UnauthorizedError
	if !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
	if !b.reading.Load() {
		t.Error("the upload waited for the blob, so that nothing was tested")
	}
	select {
	case <-b.done:
	case <-time.After(10 * time.Second):
		t.Error("the blob was never closed")
	}
	if b.overlap.Load() {
		t.Error("the blob was closed while it was read")
	}
}

// TestAnswerBeforeTheBlob uploads a blob that cannot be read to a registry that answers without
// reading it. The race detector checks the error of reading.
func TestAnswerBeforeTheBlob(t *testing.T) {
	answered := make(chan struct{}, 100)
	repo := refusing(t, http.StatusForbidden, func() {}, func() { answered <- struct{}{} })
	content := strings.Repeat("x", 1000)
	blob := registry.Blob{Digest: digest.FromString(content), Size: int64(len(content)),
		Open: func() (io.ReadCloser, error) { return brokenBlob{answered}, nil }, Verified: true}
	_, err := repo.Upload(t.Context(), blob, nil, nil)
	var refused *registry.UnauthorizedError
	if !errors.As(err, &refused) && (err == nil || !strings.Contains(err.Error(), "broken disk")) {
		t.Errorf("%v", err)
	}
}

// A damaged blob is found whatever the status with which a registry or a proxy refuses it, and an
// undamaged one is not blamed.
func TestRefusedBlobIsChecked(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusBadRequest} {
		repo := refusing(t, status, func() {}, func() {})
		for content, damaged := range map[string]bool{"as promised": false, "as damaged": true} {
			blob := registry.Blob{Digest: digest.FromString("as promised"), Size: int64(len(content)),
				Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
			_, err := repo.Upload(t.Context(), blob, nil, nil)
			var found *registry.ContentError
			if err == nil || errors.As(err, &found) != damaged {
				t.Errorf("status %d, %s: %v", status, content, err)
			}
		}
	}
}
