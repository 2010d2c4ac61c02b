package server

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"

	digest "github.com/opencontainers/go-digest"
)

// FuzzManifest checks that manifests of clients refer only to valid digests, from which
// paths are made, and that the number of values is counted correctly.
func FuzzManifest(f *testing.F) {
	d := digest.FromString("x").String()
	f.Add([]byte(`{"config":{"digest":"` + d + `"},"layers":[{"digest":"sha256:../../x"},null,{}],"manifests":[{"digest":"` +
		d + `"}],"subject":{}}`))
	f.Add([]byte(`{"annotations":{"a":"{[,\"\\"},"layers":[[],{},"",1]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parseManifest(raw)
		if err != nil {
			return
		}
		for _, d := range append(m.blobs(), m.children()...) {
			if d != "" && (d.Validate() != nil || !filepath.IsLocal(blobPath(d))) {
				t.Errorf("digest %q", d)
			}
		}
		if n := len(m.Layers) + len(m.Blobs) + len(m.Manifests) + len(m.Annotations); n > values(raw) {
			t.Errorf("%d of %d values", n, values(raw))
		}
		var any any
		if json.Unmarshal(raw, &any) != nil {
			t.Error("it is not JSON")
		}
	})
}

// FuzzRequest checks that requests are classified without harm, and that no name leads out
// of the directory of repositories.
func FuzzRequest(f *testing.F) {
	f.Add("PUT", "/v2/a/../../x/manifests/t", "digest=sha256:x", "0-5", "text/plain")
	f.Add("PATCH", "/v2/a/blobs/uploads/6c0d8f0a-0000-4000-8000-000000000000", "mount=sha512:&from=../x", "-", "")
	f.Add("GET", "/v2/a/referrers/sha256:", "", "", "")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, method, path, query, contentRange, contentType string) {
		r := &http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query},
			Header: http.Header{"Content-Range": {contentRange}, "Content-Type": {contentType}}, Body: http.NoBody}
		for _, check := range []func(*http.Request) *problem{checkName, checkUpload} {
			if p := check(r); p != nil && (p.status < 400 || p.status >= 500) {
				t.Errorf("status %d", p.status)
			}
		}
		use := newUsage(dir)
		put, done, _ := (&handler{dir: dir, pace: defaultPace, turns: newManifestTurns()}).putManifest(r)
		defer done()
		use.begin(r, put)("")
		if len(use.last)+len(use.stored)+use.unresolved > 0 {
			t.Errorf("%s %q is remembered", method, path)
		}
		if d := requestedDigest(r); d != "" && d.Validate() != nil {
			t.Errorf("digest %q", d)
		}
	})
}
