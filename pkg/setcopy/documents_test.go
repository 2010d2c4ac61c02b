package setcopy

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/console"
)

// documents is a registry with the image "image", whose tags are documents. It has nothing else, and
// counts what clients write.
type documents struct {
	content map[string]string // by tag and digest
	written atomic.Int64
}

func (d *documents) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	content, ok := d.content[name]
	switch {
	case r.URL.Path == "/v2/":
	case r.Method == http.MethodPost: // the client tries whether it may push
		w.Header().Set("Location", r.URL.Path+"upload")
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		d.written.Add(1)
		w.WriteHeader(http.StatusCreated)
	case !ok || !strings.HasPrefix(r.URL.Path, "/v2/kolla/image/manifests/"):
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.Header().Set("Docker-Content-Digest", digest.FromString(content).String())
		fmt.Fprint(w, content)
	}
}

// TestOtherDocumentsAreNotCopied checks that documents that are no image are refused, alone and in an
// index, before anything is written.
func TestOtherDocumentsAreNotCopied(t *testing.T) {
	for name, raw := range map[string]string{
		"null":    "null",
		"empty":   "{}",
		"layers":  `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","layers":[]}`,
		"schema1": `{"schemaVersion":1,"name":"a","tag":"t1","fsLayers":[],"history":[]}`,
	} {
		listed := digest.FromString(raw)
		index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"%s","size":%d}]}`,
			ocispec.MediaTypeImageManifest, listed, len(raw))
		registry := &documents{content: map[string]string{"alone": raw, string(listed): raw, "index": index,
			digest.FromString(index).String(): index}}
		server := httptest.NewServer(registry)
		t.Cleanup(server.Close)
		host := strings.TrimPrefix(server.URL, "http://")
		for _, tag := range []string{"alone", "index"} {
			for _, dryRun := range []bool{true, false} {
				con := &console.Console{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}
				err := Copy(t.Context(), settings(t.TempDir()), con, []string{host + "/kolla:" + tag, host + "/other", "image"},
					Options{DryRun: dryRun})
				if err == nil || !strings.Contains(err.Error(), "neither an image manifest nor an index") {
					t.Errorf("%s, %s, dry run %v: %v", name, tag, dryRun, err)
				}
			}
		}
		if n := registry.written.Load(); n > 0 {
			t.Errorf("%s: %d requests to write", name, n)
		}
	}
}
