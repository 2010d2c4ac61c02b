package server

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestRequestedDigest checks which blob a request names, also in repositories whose names have parts
// of the API's paths.
func TestRequestedDigest(t *testing.T) {
	a, b := digest.FromString("a"), digest.FromString("b")
	for path, want := range map[string]digest.Digest{
		"/v2/kolla/base/blobs/" + a.String():                       a,
		"/v2/uploads/base/blobs/" + a.String():                     a,
		"/v2/a/blobs/uploads/blobs/" + string(a):                   a,
		"/v2/a/blobs/uploads/":                                     b,
		"/v2/a/blobs/uploads/6c0d8f0a-0000-4000-8000-000000000000": b,
		"/v2/a/blobs/uploads/manifests/t":                          "",
		"/v2/a/manifests/" + a.String():                            "",
		"/v2/a/blobs/" + a.String() + "/x":                         "",
		"/v2/a/blobs/sha256:x":                                     "",
	} {
		r := &http.Request{URL: &url.URL{Path: path, RawQuery: "digest=" + b.String()}}
		if got := requestedDigest(r); got != want {
			t.Errorf("%s names %q, expected %q", path, got, want)
		}
	}
}

// TestRepeatedChildrenAreReadOnce checks that an index that names a large manifest many times is not
// expensive.
func TestRepeatedChildrenAreReadOnce(t *testing.T) {
	const times, size = 500, 1 << 20
	u := newUsage(t.TempDir())
	child := `{"annotations":{"a":"` + strings.Repeat("x", size) + `"}}`
	d := digest.FromString(child)
	path := u.blob(d)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(child), 0o644); err != nil {
		t.Fatal(err)
	}
	var index manifest
	for range times {
		index.Manifests = append(index.Manifests, ocispec.Descriptor{Digest: d})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	u.recordManifest(t.Context(), "kolla/base", digest.FromString("index"), index)
	runtime.ReadMemStats(&after)
	if read := after.TotalAlloc - before.TotalAlloc; read > times*size/10 {
		t.Errorf("%d bytes were allocated", read)
	}
	if _, ok := u.last[d]; !ok {
		t.Error("the child is not recorded")
	}
}

// TestTurnsOfOneClient checks that a client that has all its turns waits, and others do not.
func TestTurnsOfOneClient(t *testing.T) {
	turns := newTurns[string](2)
	r := (&http.Request{}).WithContext(t.Context())
	take := func(key string) (func(), error) { return turns.take(r, key, time.Millisecond) }
	first, err := take("a")
	if err != nil {
		t.Fatal(err)
	}
	second, err := take("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take("a"); !errors.Is(err, errBusy) {
		t.Errorf("a third turn: %v", err)
	}
	other, err := take("b")
	if err != nil {
		t.Fatalf("another client: %v", err)
	}
	first()
	again, err := take("a")
	if err != nil {
		t.Fatalf("after a turn has ended: %v", err)
	}
	for _, end := range []func(){second, other, again} {
		end()
	}
	if len(turns.turns) > 0 {
		t.Errorf("%d keys are left", len(turns.turns))
	}
}

// TestListsOfOneClientLeaveSpace checks the limits of bytes that wait on disk.
func TestListsOfOneClientLeaveSpace(t *testing.T) {
	waiting := newDocumentTurns().waiting
	a, b := clientOf("192.0.2.1:1"), clientOf("192.0.2.2:1")
	if _, ok := waiting.add(a, maxWaitingOfClient); !ok {
		t.Fatal("a client cannot have its share")
	}
	if _, ok := waiting.add(a, 1); ok {
		t.Error("a client has more than its share")
	}
	if _, ok := waiting.add(b, maxWaitingOfClient); !ok {
		t.Error("another client has no share")
	}
	waiting.remove(a, maxWaitingOfClient)
	if _, ok := waiting.add(a, 1); !ok {
		t.Error("the share is not given back")
	}
}
