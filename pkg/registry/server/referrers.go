package server

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// This file adds the referrers API, which the distribution lacks: it lists signatures,
// SBOMs and other artifacts that refer to an image as their subject.

// maxManifest is the size in bytes of the largest manifest, which is the distribution's.
const maxManifest = 4 << 20

var (
	referrersPath = regexp.MustCompile(`^/v2/(.+)/referrers/([^/]+)$`)
	manifestPath  = regexp.MustCompile(`^/v2/(.+)/manifests/([^/]+)$`)
)

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
	repository := escape(filepath.Join(tree, "repositories", filepath.FromSlash(name)))
	revisions, err := filepath.Glob(filepath.Join(repository, "_manifests", "revisions", "*", "*", "link"))
	if err != nil {
		return nil, err
	}
	for _, link := range revisions {
		rev := readLink(link)
		if rev == "" {
			continue
		}
		m, err := readManifest(filepath.Join(tree, "blobs", blobPath(rev)))
		if err != nil || m.Subject == nil || m.Subject.Digest != d {
			continue // it is being deleted, or does not refer to anything
		}
		if m.ArtifactType == "" && m.Config != nil {
			m.ArtifactType = m.Config.MediaType
		}
		found = append(found, ocispec.Descriptor{MediaType: m.MediaType, Digest: rev, Size: m.size, ArtifactType: m.ArtifactType, Annotations: m.Annotations})
	}
	return found, nil
}

// requestedDigest is the digest of a blob that a request names.
func requestedDigest(r *http.Request) digest.Digest {
	named := r.URL.Query().Get("digest")
	if i := strings.LastIndex(r.URL.Path, "/blobs/"); i >= 0 && !strings.Contains(r.URL.Path, "/uploads/") {
		named = r.URL.Path[i+len("/blobs/"):]
	}
	return validDigest(named)
}
