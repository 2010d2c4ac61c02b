package registrytest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// oldArtifact is a registry that has everything that another one has, and an artifact from before OCI 1.1.
type oldArtifact struct {
	http.Handler // of the other one
	subject      digest.Digest
	raw          []byte
}

const oldArtifactType = "application/vnd.oci.artifact.manifest.v1+json"

func (o *oldArtifact) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, mediaType := o.raw, oldArtifactType
	switch {
	case strings.HasSuffix(r.URL.Path, "/referrers/"+o.subject.String()):
		mediaType = ocispec.MediaTypeImageIndex
		content, _ = json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: mediaType,
			Manifests: []ocispec.Descriptor{{MediaType: oldArtifactType, Digest: digest.FromBytes(o.raw), Size: int64(len(o.raw))}}})
	case !strings.HasSuffix(r.URL.Path, "/manifests/"+digest.FromBytes(o.raw).String()):
		o.Handler.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", digest.FromBytes(content).String())
	_, _ = w.Write(content)
}

// OldArtifact starts a registry that has everything that another one has, and an artifact of an image in
// the format from before OCI 1.1, which current registries do not accept. The other one must have the blob.
func OldArtifact(t testing.TB, other string, subject digest.Digest, blob ocispec.Descriptor) (string, digest.Digest) {
	t.Helper()
	raw := testenv.Must[[]byte](t)(json.Marshal(map[string]any{
		"mediaType": oldArtifactType, "artifactType": "application/vnd.example.signature", "blobs": []ocispec.Descriptor{blob}}))
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: other})
	}}
	s := httptest.NewServer(&oldArtifact{Handler: proxy, subject: subject, raw: raw})
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), digest.FromBytes(raw)
}
