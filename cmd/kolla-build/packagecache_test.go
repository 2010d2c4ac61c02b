package main

import (
	"archive/tar"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/opencontainers/go-digest"
)

// countingProxy is a proxy that records the requests for packages and package lists.
func countingProxy(t *testing.T) (address string, requests func() (debs, lists []string)) {
	t.Helper()
	var mu sync.Mutex
	var all []string
	through := http.DefaultTransport.(*http.Transport).Clone()
	if up := os.Getenv("http_proxy"); up != "" {
		u, err := url.Parse(up)
		if err != nil {
			t.Fatal(err)
		}
		through.Proxy = http.ProxyURL(u)
	} else {
		through.Proxy = nil
	}
	server := httptest.NewServer(&httputil.ReverseProxy{Transport: through, Rewrite: func(r *httputil.ProxyRequest) {
		mu.Lock()
		all = append(all, r.In.URL.Path)
		mu.Unlock()
	}})
	t.Cleanup(server.Close)
	return server.URL, func() (debs, lists []string) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range all {
			switch {
			case strings.HasSuffix(p, ".deb"):
				debs = append(debs, p)
			case strings.Contains(p, "/Packages") || strings.Contains(p, "/by-hash/"):
				lists = append(lists, p)
			}
		}
		all = nil
		return debs, lists
	}
}

// TestPackageCache installs the same packages from Debian's archive in two images whose
// steps remove the package cache, as many templates do. The second one downloads
// nothing.
func TestPackageCache(t *testing.T) {
	dir := t.TempDir()
	buildkitd := testenv.Buildkitd(t)
	testenv.Program(t, "mmdebstrap", "mmdebstrap")
	bases := os.Getenv("KOLLA_TEST_STANDIN_DATA") // see newStandinWorld
	if bases == "" {
		bases = filepath.Join(dir, "bases")
	}
	if _, err := os.Stat(bases); err != nil {
		runBuild(t, []string{"bootstrap", "debian:trixie", "--data-dir", bases}, exitOK)
	}
	data := filepath.Join(dir, "data") // with a builder that has no cache yet
	template := func(image, from, run string) {
		put(t, filepath.Join(dir, "tree", image, "Dockerfile.j2"),
			[]byte("FROM "+from+"\nLABEL name=\""+image+"\"\n"+run+"\n"))
	}
	template("base", "{{ base_image }}:{{ base_distro_tag }}", "ENV DEBIAN_FRONTEND=noninteractive")
	for _, image := range []string{"one", "two"} {
		template(image, "{{ namespace }}/base:{{ tag }}",
			"RUN : "+image+" && apt-get update && apt-get install -y --no-install-recommends bc rsync qemu-utils \\\n"+
				"    && apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb")
	}
	proxy, requests := countingProxy(t)
	t.Setenv("http_proxy", proxy)
	build := func(image string, extra ...string) {
		runBuild(t, append([]string{"-b", "debian", "--base-image", "oci:" + filepath.Join(bases, "store") + ":debian:trixie",
			"--images-dir", filepath.Join(dir, "tree"), "-n", "packages", "--tag", "t",
			"--data-dir", data, "--buildkitd", buildkitd, "--logs-dir", filepath.Join(dir,
				"logs"), "--progress", "plain", "^" + image + "$"}, extra...), exitOK)
	}
	build("one", "--package-cache")
	if debs, lists := requests(); len(debs) < 3 || len(lists) == 0 {
		t.Fatalf("the first image requested %d packages and %d lists: the proxy is not used", len(debs), len(lists))
	}
	build("two", "--package-cache")
	if debs, lists := requests(); len(debs) > 0 || len(lists) > 0 {
		t.Errorf("the second image downloaded what the first one had: %q %q", debs, lists)
	}
	for _, image := range []string{"one", "two"} {
		files := lastLayer(t, data, "packages/"+image+":t")
		if !slices.Contains(files, "usr/bin/bc") {
			t.Errorf("%s: bc is not installed", image)
		}
		for _, f := range files {
			if strings.HasSuffix(f, ".deb") || strings.HasPrefix(f, "run/kolla-build") ||
				strings.HasSuffix(f, "_Packages") || strings.HasSuffix(f, "_InRelease") ||
				strings.HasSuffix(f, "pkgcache.bin") {
				t.Errorf("%s: its layer has %s", image, f)
			}
		}
	}
	// The cache is not part of an image's key: without the option nothing is built.
	build("two", "--buildkitd", testenv.Program(t, "false", "coreutils")) // no builder at all
}

// lastLayer returns the files of a stored image's last layer.
func lastLayer(t *testing.T, data, name string) []string {
	t.Helper()
	s, err := store.Open(filepath.Join(data, "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e, ok, err := s.Lookup(name)
	if err != nil || !ok {
		t.Fatalf("%s is not in the store: %v", name, err)
	}
	img, err := s.Image(digest.Digest(e.Digest))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	rc, err := layers[len(layers)-1].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	var files []string
	for tr := tar.NewReader(rc); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, strings.TrimPrefix(h.Name, "/"))
	}
}
