package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

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

// maxReferrersPage is about the size in bytes of the largest part of a list of referrers that
// is sent at once, because clients read no more than maxManifest.
const maxReferrersPage = maxManifest - 64<<10

// serveReferrers answers GET /v2/NAME/referrers/DIGEST. A subject that does not exist has
// no referrers. The rest of a long list is requested with the digest after which it begins.
func serveReferrers(w http.ResponseWriter, r *http.Request, dir, name, subject string) {
	d, err := digest.Parse(subject)
	if err != nil {
		refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "the subject is not a digest")
		return
	}
	query := r.URL.Query()
	wanted := query.Get("artifactType")
	found, more, err := referrersOf(r.Context(), filepath.Join(dir, treeDir), name, d, wanted, query.Get("last"))
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", "the manifests of the repository cannot be listed")
		return
	}
	if wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	if more {
		query.Set("last", found[len(found)-1].Digest.String())
		w.Header().Set("Link", fmt.Sprintf(`</v2/%s/referrers/%s?%s>; rel="next"`, name, d, query.Encode()))
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	answer := json.NewEncoder(w)
	answer.SetEscapeHTML(false) // a page has the size that was counted
	_ = answer.Encode(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: found,
	})
}

// referrersOf reads the manifests of a repository and returns those whose subject is d, in the
// order of their digests, after the digest last and at most a page of them. artifactType may
// be "".
func referrersOf(ctx context.Context, tree, name string, d digest.Digest, artifactType, last string) (
	found []ocispec.Descriptor, more bool, err error) {
	found = []ocispec.Descriptor{}
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return found, false, nil
	}
	dir := filepath.Join(tree, "repositories", filepath.FromSlash(name), "_manifests", "revisions")
	revisions, err := revisionsAfter(dir, last)
	if err != nil {
		return nil, false, err
	}
	size := 0
	for _, link := range revisions {
		if ctx.Err() != nil {
			return nil, false, context.Cause(ctx) // the client has left, and others wait for this turn
		}
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
		if artifactType != "" && m.ArtifactType != artifactType {
			continue
		}
		// A descriptor repeats parts of the manifest.
		if size += int(m.size) + 200; size > maxReferrersPage && len(found) > 0 {
			return found, true, nil
		}
		found = append(found, ocispec.Descriptor{MediaType: m.MediaType, Digest: rev, Size: m.size,
			ArtifactType: m.ArtifactType, Annotations: m.Annotations})
	}
	return found, false, nil
}

// revisionsAfter returns the links of a repository's manifests in the order of their digests,
// after the digest last. Their names are the digests: a page reads no file of earlier ones.
func revisionsAfter(dir, last string) ([]string, error) {
	algorithms, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var links []string
	for _, algorithm := range algorithms {
		names, err := os.ReadDir(filepath.Join(dir, algorithm.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return nil, err
		}
		for _, n := range names {
			if algorithm.Name()+":"+n.Name() > last {
				links = append(links, filepath.Join(dir, algorithm.Name(), n.Name(), "link"))
			}
		}
	}
	return links, nil
}
