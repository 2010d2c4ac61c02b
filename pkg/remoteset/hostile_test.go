package remoteset

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/setcopy"
)

func TestMain(m *testing.M) { registrytest.Main(m) }

// liar is a registry that serves any documents.
type liar struct {
	mu        sync.Mutex
	documents map[string]string // by identifier, of all repositories
	blobs     map[string]string
	referrers string // the answer to each question for referrers, "" for none
	requests  int
}

func (l *liar) manifest(tag, text string) digest.Digest {
	d := digest.FromString(text)
	l.documents[tag], l.documents[string(d)] = text, text
	return d
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	_, last, _ := strings.Cut(r.URL.Path, "/v2/")
	last = last[strings.LastIndexByte(last, '/')+1:]
	send := func(mediaType, text string) {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, text)
		}
	}
	switch {
	case r.URL.Path == "/v2/":
		send("application/json", "{}")
	case strings.HasSuffix(r.URL.Path, "/_catalog"):
		send("application/json", `{"repositories":["kolla/app"]}`)
	case strings.HasSuffix(r.URL.Path, "/tags/list"):
		send("application/json", `{"tags":["t"]}`)
	case strings.Contains(r.URL.Path, "/referrers/") && l.referrers != "":
		send("application/vnd.oci.image.index.v1+json", l.referrers)
	case strings.Contains(r.URL.Path, "/manifests/") && l.documents[last] != "":
		send("application/vnd.oci.image.manifest.v1+json", l.documents[last])
	case strings.Contains(r.URL.Path, "/blobs/") && l.blobs[last] != "":
		send("application/octet-stream", l.blobs[last])
	default:
		http.Error(w, "{}", http.StatusNotFound)
	}
}

func descriptor(d digest.Digest, size int) string {
	return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":%d}`, d, size)
}

func imageManifest(config string, layers ...string) string {
	return `{"schemaVersion":2,"config":` + config + `,"layers":[` + strings.Join(layers, ",") + `]}`
}

// Reading a set from any registry ends, with the set or with an error.
func TestHostileRegistry(t *testing.T) {
	testenv.Slow(t)
	const config = `{"os":"linux","architecture":"amd64"}`
	good := descriptor(digest.FromString(config), len(config))
	layer := digest.FromString("layer")
	for name, tc := range map[string]struct {
		fill func(l *liar)
		want string // in the error, "" for none
	}{
		"honest":        {func(l *liar) { l.manifest("t", imageManifest(good, descriptor(layer, 5))) }, ""},
		"negative size": {func(l *liar) { l.manifest("t", imageManifest(good, descriptor(layer, -5))) }, "size is -5"},
		"two sizes": {func(l *liar) {
			l.manifest("t",
				imageManifest(good, descriptor(layer, 5), descriptor(layer, 6)))
		}, "two sizes"},
		"no digest": {func(l *liar) {
			l.manifest("t",
				imageManifest(good, descriptor("sha256:../../etc/passwd", 5)))
		}, "digest"},
		"neither":   {func(l *liar) { l.manifest("t", `{"schemaVersion":2}`) }, "neither"},
		"no JSON":   {func(l *liar) { l.manifest("t", "<html>") }, "manifest"},
		"too large": {func(l *liar) { l.manifest("t", imageManifest(good)+strings.Repeat(" ", 5<<20)) }, "larger"},
		"another manifest": {func(l *liar) {
			l.documents[string(l.manifest("t",
				imageManifest(good)))] = imageManifest(good, good)
		}, "digest"},
		"config of other": {func(l *liar) { l.manifest("t", imageManifest(descriptor(layer, len(config)))) },
			"not found"},
		"config of wrong size": {func(l *liar) { l.manifest("t", imageManifest(descriptor(digest.FromString(config), 3))) },
			"bytes"},
		"child of wrong size": {func(l *liar) {
			l.manifest("t", `{"schemaVersion":2,"manifests":[`+descriptor(l.manifest("", imageManifest(good)), 3)+`]}`)
		}, "3 are expected"},
		"deep indexes": {func(l *liar) {
			text := imageManifest(good)
			for range 6 {
				text = `{"schemaVersion":2,"manifests":[` + descriptor(l.manifest("", text), len(text)) + `]}`
			}
			l.manifest("t", text)
		}, "nested"},
		"referrers without end": {func(l *liar) { // each has all others as referrers
			l.manifest("t", imageManifest(good))
			var all []string
			for i := range 900 {
				text := fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[],"n":%d}`, good, i)
				all = append(all, descriptor(l.manifest("", text), len(text)))
			}
			l.referrers = `{"schemaVersion":2,"manifests":[` + strings.Join(all, ",") + `]}`
		}, "too many"},
		"too many referrers": {func(l *liar) {
			l.manifest("t", imageManifest(good))
			l.referrers = `{"schemaVersion":2,"manifests":[` + strings.Repeat(good+",", 1500) + good + `]}`
		}, "more than 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			l := &liar{documents: map[string]string{}, blobs: map[string]string{string(digest.FromString(config)): config}}
			tc.fill(l)
			from := setcopy.Location{Registry: registrytest.Serve(t, l), Namespace: "kolla", Tag: "t"}
			set, err := Open(t.Context(), registrytest.Client(t, registry.Options{}), from, nil)
			switch {
			case tc.want == "" && err != nil:
				t.Fatal(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Fatalf("%v, want an error with %q", err, tc.want)
			}
			l.mu.Lock()
			if l.requests > 5000 {
				t.Errorf("%d requests", l.requests)
			}
			l.mu.Unlock()
			if err != nil {
				return
			}
			// The layer does not exist: an error, not an empty one.
			r, err := set.OpenBlob(layer)
			if err == nil {
				_, err = io.ReadAll(r)
				r.Close()
			}
			if err == nil {
				t.Error("a layer that does not exist was read")
			}
		})
	}
}
