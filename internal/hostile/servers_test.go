package hostile

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/lock"
)

// startMisbehaving starts a server whose answers depend on the first element of the path,
// so that a case can be repeated.
func startMisbehaving(t *testing.T) (host string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	quit := make(chan struct{})
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { misbehave(w, r, quit) })}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() {
		close(quit)
		s.Close()
	})
	return ln.Addr().String()
}

// catalogued is the number of namespaces of which the misbehaving server lists images.
const catalogued = 40

var catalog = func() string {
	var names []string
	for i := range catalogued {
		for _, image := range []string{"base", "nova-api", "x"} {
			names = append(names, fmt.Sprintf("%q", fmt.Sprintf("n%d/%s", i, image)))
		}
	}
	return `{"repositories":[` + strings.Join(names, ",") + `]}`
}()

func misbehave(w http.ResponseWriter, r *http.Request, quit chan struct{}) {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	if path == "" && rand.IntN(8) > 0 {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		fmt.Fprint(w, "{}")
		return
	}
	if path == "_catalog" {
		fmt.Fprint(w, catalog)
		return
	}
	hash := fnv.New64()
	fmt.Fprint(hash, path, r.Method)
	rnd := rand.New(rand.NewPCG(hash.Sum64(), 0))
	flood := func(n int) {
		chunk := bytes.Repeat([]byte(`{"manifests":[`), 4096)
		for range n {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	switch rnd.IntN(16) {
	case 0:
		http.Redirect(w, r, r.URL.Path+"x", http.StatusTemporaryRedirect)
	case 1:
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	case 2:
		w.WriteHeader(pick(rnd, []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden,
			http.StatusNotFound, http.StatusTeapot, http.StatusInternalServerError}))
		flood(rnd.IntN(100))
	case 3:
		w.Header().Set("WWW-Authenticate", pick(rnd, []string{`Bearer realm="http://127.0.0.1:1/token"`,
			`Bearer realm="` + strings.Repeat("x", 100_000) + `"`, "Basic", `Bearer realm="file:///etc/passwd",scope=`, "\"\\"}))
		w.WriteHeader(http.StatusUnauthorized)
	case 4:
		flood(1000) // 57 MB of an open document
	case 5:
		w.Header().Set("Content-Length", "9000000000000000000")
		flood(1)
	case 6:
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("a", 64))
		fmt.Fprint(w, `{"schemaVersion":2,"manifests":[`+strings.Repeat("{},", 100_000)+"{}]}")
	case 7:
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		fmt.Fprint(w, pick(rnd, []string{"{}", "null", "[]",
			`{"schemaVersion":2,"config":{"digest":"sha256:../../` + escapee + `"},"layers":[{}]}`, strings.Repeat("[",
				100_000)}))
	case 8:
		select { // it stalls
		case <-quit:
		case <-r.Context().Done():
		case <-time.After(4 * time.Second):
		}
	case 9:
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = conn.Write([]byte(pick(rnd, []string{"", "\x00\x01\x02", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
				"HTTP/1.1 999999 x\r\n\r\n", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 100_000), "SSH-2.0-x\r\n"})))
			conn.Close()
		}
	case 10:
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(compress(make([]byte, 100<<20)))
	case 11:
		w.Header().Set("Link", `</v2/`+path+`x>; rel="next"`) // a list without end
		fmt.Fprint(w, `{"tags":["a","b"],"name":"x"}`)
	case 12:
		fmt.Fprint(w, "001e# service=git-upload-pack\n0000"+strings.Repeat("fff0", 5000))
	case 13:
		fmt.Fprint(w, strings.Repeat(strings.Repeat("a", 40)+"\trefs/heads/master\n", 10_000))
	case 14:
		_, _ = w.Write(compress([]byte("not a tar")))
	default:
		http.NotFound(w, r)
	}
}

var impatient = []string{"--timeout", "2", "-r", "0", "--retry-time", "1"}

// registryCase talks to a registry that misbehaves.
func registryCase(rnd *rand.Rand, env *environment) hostileCase {
	name := fmt.Sprintf("%s/c%d", env.server, rnd.Uint64())
	b := newBundle()
	b.addImage("other.example/kolla/x:1", map[string]string{"f": "x"})
	content := b.tar()
	c := hostileCase{kind: "registry", prepare: func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "in.tar"), content, 0o644); err != nil {
			return err
		}
		return smallTree(dir, "FROM {{ base_image }}:{{ base_distro_tag }}\n")
	}}
	// In these namespaces, images are found by expressions, too.
	set := func() string {
		return fmt.Sprintf("%s/n%d", env.server, rnd.IntN(catalogued)) + pick(rnd, []string{"", ":t", ":t"})
	}
	selection := func() []string { return pick(rnd, [][]string{nil, {"base"}, {"base", "nova-api"}, {"^nova-"}}) }
	switch rnd.IntN(8) {
	case 0:
		c.args = append([]string{"copy", set(), set() + "copied", "--timeout", "2"}, selection()...)
	case 1:
		c.args = []string{"tag", set(), "new", "--timeout", "2"}
	case 2:
		c.accepts = true
		c.args = []string{"inventory", set(), "--timeout", "2"}
	case 3:
		c.args = append([]string{"save", "--from", set(), "--output", "out.tar", "--timeout", "2"}, selection()...)
	case 4:
		text := fetchedLock(rnd, env.server)
		c.accepts = true // it may list nothing
		c.args = append([]string{"fetch", "--lock", "in.lock", "--output", "out-inputs"}, impatient...)
		c.prepare = func(dir string) error { return os.WriteFile(filepath.Join(dir, "in.lock"), text, 0o644) }
	case 5:
		c.args = append([]string{"plan", "-b", "debian", "--images-dir", "tree", "--base-image", name, "--base-tag", "t",
			"--bootstrap", "never", "--tag", "t"}, impatient...)
		c.accepts = true // plan reports what it cannot know
	case 6:
		c.args = []string{"diff", name + ":a", name + ":b", "--timeout", "2"}
	default:
		c.args = []string{"load", "in.tar", "--push", "--registry", env.server, "-n",
			fmt.Sprintf("c%d", rnd.Uint64()), "--timeout", "2"}
	}
	return c
}

// fetchedLock is a lock whose files and base images are on a server that misbehaves.
func fetchedLock(rnd *rand.Rand, server string) []byte {
	l := &lock.Lock{Version: lock.Version, Compatibility: 30,
		Set: lock.Set{Base: "debian", BaseTag: "trixie", InstallType: "source", Release: "master"}}
	sum := func() digest.Digest { return digest.FromString(fmt.Sprint(rnd.Uint64())) }
	size := func() int64 { return pick(rnd, []int64{0, 1, 1000, 1 << 20, 1 << 39}) }
	for range rnd.IntN(4) {
		l.Files = append(l.Files,
			lock.File{URL: fmt.Sprintf("http://%s/f%d", server, rnd.Uint64()), Digest: sum(), Size: size(),
				Images: []string{"base"}})
	}
	if rnd.IntN(2) == 0 {
		l.Bases = append(l.Bases,
			lock.Base{Name: fmt.Sprintf("%s/c%d:t", server, rnd.Uint64()), Platform: "linux/amd64", Digest: sum(), Size: size()})
	}
	if rnd.IntN(2) == 0 {
		l.Sources = append(l.Sources, lock.Source{Section: "base", Type: "url",
			Location: fmt.Sprintf("http://%s/s%d.tar.gz", server, rnd.Uint64()), Digest: sum(), Size: size()})
	}
	return l.Marshal()
}

// gitCase plans an image with a source on a server that misbehaves.
func gitCase(rnd *rand.Rand, env *environment) hostileCase {
	kind := pick(rnd, []string{"git", "url"})
	location := fmt.Sprintf("http://%s/c%d.%s", env.server, rnd.Uint64(), kind)
	if rnd.IntN(4) == 0 {
		location = pick(rnd, []string{"--upload-pack=touch " + escapee, "ext::sh -c touch% " + escapee, "file:///etc",
			"/etc", "ssh://-oProxyCommand=x/y", "git://127.0.0.1:1/x", "http://[::1", "\x1b[2J", ""})
	}
	reference := pick(rnd, []string{"master", "-x", "--upload-pack=x", "a..b", "refs/../../x",
		strings.Repeat("a", 40), "\x1b"})
	conf := fmt.Sprintf("[base-plugin-x]\ntype = %s\nlocation = %s\nreference = %s\n", kind, location, reference)
	return planWithSource(conf)
}

// planWithSource plans an image with the source of a configuration.
func planWithSource(conf string) hostileCase {
	return hostileCase{kind: "source", accepts: true,
		args: append([]string{"plan", "-b", "debian", "-t", "source", "--images-dir", "tree", "--base-image", "./base.tar",
			"--bootstrap", "never", "--tag", "t", "--config-file", "sources.conf"}, impatient...),
		prepare: func(dir string) error {
			if err := os.WriteFile(filepath.Join(dir, "base.tar"), rootTar(), 0o644); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, "sources.conf"), []byte(conf), 0o644); err != nil {
				return err
			}
			return smallTree(dir, "FROM {{ base_image }}:{{ base_distro_tag }}\nADD plugins-archive /x\n")
		}}
}
