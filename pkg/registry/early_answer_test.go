package registry_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

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

// TestAnswerBeforeTheBlob uploads a blob that cannot be read to a registry that answers without
// reading it. The race detector checks the error of reading.
func TestAnswerBeforeTheBlob(t *testing.T) {
	answered := make(chan struct{}, 100)
	host := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			w.Header().Set("Location", r.URL.Path+"x")
			w.WriteHeader(http.StatusAccepted)
		case r.Method == http.MethodPut:
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusForbidden)
			_ = http.NewResponseController(w).Flush()
			answered <- struct{}{}
		case r.URL.Path != "/v2/":
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	ref, err := imageref.Parse(host + "/kolla/base")
	if err != nil {
		t.Fatal(err)
	}
	content := strings.Repeat("x", 1000)
	blob := registry.Blob{Digest: digest.FromString(content), Size: int64(len(content)), Open: func() (io.ReadCloser, error) { return brokenBlob{answered}, nil }}
	_, err = registrytest.Client(t, registry.Options{Retries: -1}).Repository(ref).Upload(t.Context(), blob, nil, nil)
	var refused *registry.UnauthorizedError
	if !errors.As(err, &refused) && (err == nil || !strings.Contains(err.Error(), "broken disk")) {
		t.Errorf("%v", err)
	}
}
