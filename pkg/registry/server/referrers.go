package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The distribution does not have the referrers API (signatures, SBOMs and other
// artifacts that refer to an image as their subject), so it is here.

// maxManifest is the size in bytes of the largest manifest, which is the distribution's.
const maxManifest = 4 << 20

var (
	referrersPath = regexp.MustCompile(`^/v2/(.+)/referrers/([^/]+)$`)
	manifestPath  = regexp.MustCompile(`^/v2/(.+)/manifests/([^/]+)$`)
)

// referrer is what counts in the manifest of an artifact.
type referrer struct {
	MediaType    string              `json:"mediaType"`
	ArtifactType string              `json:"artifactType"`
	Config       *ocispec.Descriptor `json:"config"`
	Subject      *ocispec.Descriptor `json:"subject"`
	Annotations  map[string]string   `json:"annotations"`
}

// serveReferrers answers GET /v2/NAME/referrers/DIGEST. A subject that does not exist has
// no referrers.
func serveReferrers(w http.ResponseWriter, r *http.Request, dir, name, subject string) {
	d, err := digest.Parse(subject)
	if err != nil {
		refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "the subject is not a digest")
		return
	}
	found, err := referrersOf(filepath.Join(dir, treeDir), name, d)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	if wanted := r.URL.Query().Get("artifactType"); wanted != "" {
		found = slices.DeleteFunc(found, func(d ocispec.Descriptor) bool { return d.ArtifactType != wanted })
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	_ = json.NewEncoder(w).Encode(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: found})
}

// referrersOf reads the manifests of a repository and returns those whose subject is d.
func referrersOf(tree, name string, d digest.Digest) ([]ocispec.Descriptor, error) {
	found := []ocispec.Descriptor{}
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return found, nil
	}
	revisions, err := filepath.Glob(filepath.Join(escape(filepath.Join(tree, "repositories", filepath.FromSlash(name))), "_manifests", "revisions", "*", "*", "link"))
	if err != nil {
		return nil, err
	}
	for _, link := range revisions {
		rev := readLink(link)
		if rev == "" {
			continue
		}
		raw, err := readManifest(filepath.Join(tree, "blobs", blobPath(rev)))
		var m referrer
		if err != nil || json.Unmarshal(raw, &m) != nil || m.Subject == nil || m.Subject.Digest != d {
			continue // it is being deleted, or does not refer to anything
		}
		if m.ArtifactType == "" && m.Config != nil {
			m.ArtifactType = m.Config.MediaType
		}
		found = append(found, ocispec.Descriptor{MediaType: m.MediaType, Digest: rev, Size: int64(len(raw)), ArtifactType: m.ArtifactType, Annotations: m.Annotations})
	}
	return found, nil
}

func readManifest(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxManifest))
}

// subjectOf reads the subject of the manifest that a request puts, "" if there is none,
// and leaves the request's body as it was.
func subjectOf(r *http.Request) string {
	if r.Method != http.MethodPut || !manifestPath.MatchString(r.URL.Path) {
		return ""
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxManifest+1))
	rest := r.Body
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(raw), errorReader{err}, rest), rest}
	var m referrer
	if err != nil || json.Unmarshal(raw, &m) != nil || m.Subject == nil {
		return ""
	}
	return m.Subject.Digest.String()
}

// errorReader fails with an error, or is empty.
type errorReader struct{ err error }

// Read implements io.Reader.
func (e errorReader) Read([]byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return 0, io.EOF
}

// requestedDigest is the digest of a blob that a request names.
func requestedDigest(r *http.Request) digest.Digest {
	named := r.URL.Query().Get("digest")
	if i := strings.LastIndex(r.URL.Path, "/blobs/"); i >= 0 && !strings.Contains(r.URL.Path, "/uploads/") {
		named = r.URL.Path[i+len("/blobs/"):]
	}
	d, err := digest.Parse(named)
	if err != nil {
		return ""
	}
	return d
}
