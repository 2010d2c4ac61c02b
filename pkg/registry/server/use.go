package server

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// A push consists of many requests: a client asks which blobs exist, sends the missing
// ones, then the manifests, and the tags when all images of its set are complete. Until
// then nothing refers to the content. So the content that a request names counts as used,
// and garbage collection keeps recently used content. The time of the last use is stored
// as the modification time of the blob, so that it survives a restart, and in memory, so
// that it does not depend on the system's clock.

// useGranularity is how old the recorded time of a use may be before it is recorded again.
const useGranularity = time.Minute

// contentUse records the content that requests have used.
type contentUse struct {
	tree string // the directory with blobs/ and repositories/

	mu   sync.Mutex
	last map[digest.Digest]time.Time
	// stored counts the requests that are about to store a blob.
	stored map[digest.Digest]int
	// unresolved counts the uploads whose blob will be stored under another digest than
	// the one that the client names.
	unresolved int
}

func newUsage(dir string) *contentUse {
	return &contentUse{
		tree: filepath.Join(dir, treeDir),
		last: map[digest.Digest]time.Time{}, stored: map[digest.Digest]int{},
	}
}

// record records that blobs are used now. It must be called before their existence is
// checked. Missing blobs are not recorded, because clients may ask for any number of
// digests; new blobs are recorded when they are stored.
func (u *contentUse) record(digests ...digest.Digest) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	for _, d := range digests {
		if d == "" {
			continue
		}
		if at, ok := u.last[d]; ok && now.Sub(at) < useGranularity {
			continue
		}
		if err := os.Chtimes(u.blob(d), now, now); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		u.last[d] = now
	}
}

// recordManifest records the use of a manifest and of everything that it refers to, in
// one step, so that garbage collection does not remove the blobs of a used manifest.
//
// It ends early if ctx ends, because the client that would use the content has left then.
func (u *contentUse) recordManifest(ctx context.Context, repository string, d digest.Digest, m manifest) {
	var used []digest.Digest
	seen := map[digest.Digest]bool{}
	var add func(digest.Digest, manifest, int)
	add = func(d digest.Digest, m manifest, depth int) {
		seen[d] = true
		used = append(used, d)
		for _, b := range m.blobs() {
			used = append(used, b, aliasTarget(u.tree, repository, b))
		}
		for _, child := range m.children() {
			if seen[child] || ctx.Err() != nil {
				continue
			}
			inner, err := readManifest(u.blob(child))
			if depth < maxIndexDepth && err == nil {
				add(child, inner, depth+1)
			} else {
				seen[child] = true
				used = append(used, child)
			}
		}
	}
	add(d, m, 0)
	u.record(used...)
}

// usedSince reports whether content was used within a time. Callers hold u.mu.
func (u *contentUse) usedSince(d digest.Digest, age time.Duration) bool {
	if u.stored[d] > 0 {
		return true
	}
	if at, ok := u.last[d]; ok && time.Since(at) < age+useGranularity {
		return true
	}
	info, err := os.Stat(u.blob(d))
	return err == nil && time.Since(info.ModTime()) < age
}

// forget drops uses that are too old for any collection.
func (u *contentUse) forget(age time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for d, at := range u.last {
		if time.Since(at) > age+useGranularity {
			delete(u.last, d)
		}
	}
}

func (u *contentUse) blob(d digest.Digest) string { return filepath.Join(u.tree, "blobs", blobPath(d)) }

// begin records the content that a request uses before it is answered. The returned
// function is called with the digest of the stored content in the answer.
func (u *contentUse) begin(r *http.Request, uploaded manifest) (done func(stored string)) {
	query := r.URL.Query()
	if m := manifestPath.FindStringSubmatch(r.URL.Path); m != nil && filepath.IsLocal(filepath.FromSlash(m[1])) {
		u.beginManifest(r.Context(), r.Method, m[1], m[2], uploaded)
		if r.Method != http.MethodPut {
			return func(string) {}
		}
		return u.storing(uploaded.digest, false)
	}
	m := repositoryPath.FindStringSubmatch(r.URL.Path)
	if m == nil || !filepath.IsLocal(filepath.FromSlash(m[1])) {
		return func(string) {}
	}
	writes := r.Method != http.MethodGet && r.Method != http.MethodHead
	unresolved := false
	for _, d := range []digest.Digest{requestedDigest(r), validDigest(query.Get("mount"))} {
		if d == "" {
			continue
		}
		target := aliasTarget(u.tree, m[1], d)
		u.record(d, target)
		if d.Algorithm() != digest.Canonical && writes {
			unresolved = true
		}
	}
	if !writes {
		return func(string) {}
	}
	return u.storing(requestedDigest(r), unresolved)
}

// storing keeps a blob that a request may store, until the returned function is called.
func (u *contentUse) storing(d digest.Digest, unresolved bool) (done func(stored string)) {
	count := func(n int) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if unresolved {
			u.unresolved += n
		}
		if d == "" {
			return
		}
		if u.stored[d] += n; u.stored[d] == 0 {
			delete(u.stored, d)
		}
	}
	count(1)
	return func(stored string) {
		u.record(validDigest(stored), d)
		count(-1)
	}
}

func (u *contentUse) beginManifest(ctx context.Context, method, repository, ref string, uploaded manifest) {
	switch method {
	case http.MethodPut:
		u.recordManifest(ctx, repository, uploaded.digest, uploaded)
		u.record(validDigest(ref))
	case http.MethodGet, http.MethodHead:
		d := validDigest(ref)
		if d == "" && !strings.ContainsAny(ref, `/\`) {
			manifests := filepath.Join(u.tree, "repositories", filepath.FromSlash(repository), "_manifests")
			d = readLink(filepath.Join(manifests, "tags", ref, "current", "link"))
		}
		if d == "" {
			return
		}
		m, _ := readManifest(u.blob(d)) // content that is not a manifest has no references
		u.recordManifest(ctx, repository, d, m)
	}
}

// aliasTarget is the digest under which a repository stores a blob that it knows by
// another algorithm's digest, or "".
func aliasTarget(tree, repository string, d digest.Digest) digest.Digest {
	if d == "" || d.Algorithm() == digest.Canonical {
		return ""
	}
	return readLink(filepath.Join(tree, "repositories", filepath.FromSlash(repository), "_layers",
		d.Algorithm().String(), d.Encoded(), "link"))
}

func validDigest(s string) digest.Digest {
	d, err := digest.Parse(s)
	if err != nil {
		return ""
	}
	return d
}

// maxIndexDepth is how deep indexes are followed into indexes.
const maxIndexDepth = 8

// manifest holds the references of a manifest or an index.
type manifest struct {
	MediaType    string               `json:"mediaType"`
	ArtifactType string               `json:"artifactType"`
	Config       *ocispec.Descriptor  `json:"config"`
	Layers       []ocispec.Descriptor `json:"layers"`
	Blobs        []ocispec.Descriptor `json:"blobs"`
	Manifests    []ocispec.Descriptor `json:"manifests"`
	Subject      *ocispec.Descriptor  `json:"subject"`
	Annotations  map[string]string    `json:"annotations"`

	digest digest.Digest
	size   int64
}

// blobs lists the blobs that a manifest refers to.
func (m manifest) blobs() []digest.Digest {
	var out []digest.Digest
	if m.Config != nil {
		out = append(out, validDigest(m.Config.Digest.String()))
	}
	for _, list := range [][]ocispec.Descriptor{m.Layers, m.Blobs} {
		for _, l := range list {
			out = append(out, validDigest(l.Digest.String()))
		}
	}
	return out
}

// children lists the manifests of an index.
func (m manifest) children() []digest.Digest {
	var out []digest.Digest
	for _, c := range m.Manifests {
		if d := validDigest(c.Digest.String()); d != "" {
			out = append(out, d)
		}
	}
	return out
}

func parseManifest(raw []byte) (manifest, error) {
	m := manifest{}
	err := json.Unmarshal(raw, &m)
	m.digest, m.size = digest.FromBytes(raw), int64(len(raw))
	return m, err
}

// readManifest reads a manifest of a size that a registry accepts.
func readManifest(path string) (manifest, error) {
	raw, err := inputfile.ReadRegular(path, maxManifest)
	if err != nil {
		return manifest{}, err
	}
	return parseManifest(raw)
}
