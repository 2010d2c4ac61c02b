package server

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	digest "github.com/opencontainers/go-digest"
)

// findMount names, in a request that mounts a blob, a repository that has the blob, unless
// the one that the client names does. All repositories have the same readers.
func (h *handler) findMount(r *http.Request) {
	q := r.URL.Query()
	d := validDigest(q.Get("mount"))
	if r.Method != http.MethodPost || d == "" || d.Algorithm() != digest.Canonical ||
		!uploadsPath.MatchString(r.URL.Path) {
		return
	}
	if _, err := os.Stat(h.use.blob(d)); err != nil {
		return
	}
	has := func(repository string) bool {
		_, err := os.Stat(filepath.Join(repository, "_layers", d.Algorithm().String(), d.Encoded(), "link"))
		return err == nil
	}
	if from := filepath.FromSlash(q.Get("from")); from != "" && filepath.IsLocal(from) &&
		has(filepath.Join(h.use.tree, "repositories", from)) {
		return
	}
	_ = eachRepository(h.dir, func(name, path string) error { // without one, the blob is uploaded
		if !has(path) {
			return nil
		}
		q.Set("from", name)
		r.URL.RawQuery, r.Form = q.Encode(), nil
		return fs.SkipAll
	})
}
