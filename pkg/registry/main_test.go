package registry

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// The registries of these tests are real: the embedded one and Debian's
// docker-registry. What fails on purpose is a proxy before them.

func TestMain(m *testing.M) {
	// The user's own logins have no business here.
	dir, err := os.MkdirTemp("", "registry-test-docker-config-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("DOCKER_CONFIG", dir)
	os.Unsetenv("REGISTRY_AUTH_FILE")
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// eachRegistry runs a test against every registry that can be had.
func eachRegistry(t *testing.T, f func(t *testing.T, host string)) {
	t.Run("embedded", func(t *testing.T) { f(t, startEmbedded(t, ServeOptions{}).Host()) })
	t.Run("debian", func(t *testing.T) { f(t, startDebian(t)) })
}

func startEmbedded(t testing.TB, opts ServeOptions) *Server {
	t.Helper()
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	s, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the registry: %v", err)
		}
	})
	return s
}

// startDebian runs Debian's docker-registry, another version of the distribution
// than the embedded one.
func startDebian(t testing.TB) string {
	t.Helper()
	bin := testenv.Program(t, "docker-registry", "docker-registry")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	dir := t.TempDir()
	conf := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: %s\n  delete:\n    enabled: true\nhttp:\n  addr: %s\n", filepath.Join(dir, "data"), addr)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "serve", conf)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("docker-registry said:\n%s", out)
		}
	})
	for i := 0; i < 200; i++ {
		if resp, err := http.Get("http://" + addr + "/v2/"); err == nil {
			resp.Body.Close()
			return addr
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("docker-registry does not answer")
	return ""
}

// newClient is a client that waits milliseconds where a real one waits seconds.
func newClient(t testing.TB, opts Options) *Client {
	t.Helper()
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	c.policy.base = 2 * time.Millisecond
	t.Cleanup(c.Close)
	return c
}

// testImage is an image on a base, with layers of its own.
func testImage(t testing.TB, base v1.Image, size int64, layers int) v1.Image {
	t.Helper()
	img := base
	for range layers {
		l, err := random.Layer(size, types.OCILayer)
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

func digestOf(t testing.TB, img v1.Image) v1.Hash {
	t.Helper()
	h, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// fault is what the proxy does to one request.
type fault string

const (
	faultNone     fault = ""
	faultReset    fault = "connection reset"
	fault429      fault = "429 with Retry-After"
	fault503      fault = "503"
	faultTruncate fault = "truncated upload"
	faultCut      fault = "truncated answer"
	faultStall    fault = "stall"
	faultLost     fault = "done, but the answer is lost"
)

// proxy stands before a registry and spoils requests.
type proxy struct {
	*http.Server
	host string

	mu     sync.Mutex
	choose func(*http.Request) fault
	seen   []string // METHOD PATH of each request
	faults map[fault]int

	denyTags bool          // for a test's own handler
	delay    time.Duration // before each request is passed on; set before the first
}

func startProxy(t testing.TB, backend string, choose func(*http.Request) fault) *proxy {
	t.Helper()
	target := &url.URL{Scheme: "http", Host: backend}
	p := &proxy{choose: choose, faults: map[fault]int{}}
	rp := &httputil.ReverseProxy{
		// The Host stays, so that upload locations lead through the proxy.
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { abort(w) },
	}
	quit := make(chan struct{})
	p.Server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen = append(p.seen, r.Method+" "+r.URL.Path)
		f := faultNone
		if p.choose != nil {
			f = p.choose(r)
		}
		if f != faultNone {
			p.faults[f]++
		}
		p.mu.Unlock()
		time.Sleep(p.delay)
		switch f {
		case faultReset:
			abort(w)
		case fault429:
			w.Header().Set("Retry-After", "0")
			http.Error(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`, http.StatusTooManyRequests)
		case fault503:
			http.Error(w, "out of order", http.StatusServiceUnavailable)
		case faultTruncate:
			r.Body = io.NopCloser(io.LimitReader(r.Body, max(1, r.ContentLength/2)))
			rp.ServeHTTP(w, r) // the backend sees a broken upload, and so does the client
		case faultCut:
			rp.ServeHTTP(&cuttingWriter{ResponseWriter: w}, r)
		case faultLost:
			rp.ServeHTTP(discardWriter{http.Header{}}, r)
			abort(w)
		case faultStall:
			select {
			case <-r.Context().Done():
			case <-quit:
			}
			abort(w)
		default:
			rp.ServeHTTP(w, r)
		}
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.host = ln.Addr().String()
	go func() { _ = p.Serve(ln) }()
	t.Cleanup(func() {
		close(quit)
		p.Close()
	})
	return p
}

// abort resets the connection, so that the client sees no orderly end.
func abort(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// cuttingWriter breaks off in the middle of a body.
type cuttingWriter struct {
	http.ResponseWriter
	left int64
	cut  bool
}

func (w *cuttingWriter) WriteHeader(code int) {
	var n int64
	fmt.Sscan(w.Header().Get("Content-Length"), &n)
	w.left = n / 2
	w.ResponseWriter.WriteHeader(code)
}

func (w *cuttingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *cuttingWriter) Write(p []byte) (int, error) {
	if w.cut {
		return 0, net.ErrClosed
	}
	if int64(len(p)) <= w.left {
		w.left -= int64(len(p))
		return w.ResponseWriter.Write(p)
	}
	_, _ = w.ResponseWriter.Write(p[:w.left])
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	w.cut = true
	abort(w.ResponseWriter)
	return 0, net.ErrClosed
}

type discardWriter struct{ h http.Header }

func (w discardWriter) Header() http.Header         { return w.h }
func (w discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w discardWriter) WriteHeader(int)             {}

// count says how many requests the proxy saw whose "METHOD PATH" has all parts.
func (p *proxy) count(parts ...string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
next:
	for _, s := range p.seen {
		for _, part := range parts {
			if !strings.Contains(s, part) {
				continue next
			}
		}
		n++
	}
	return n
}

func (p *proxy) set(choose func(*http.Request) fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.choose = choose
	p.seen = nil
}

// mustPull reads an image back whole, every layer's bytes included.
func mustPull(t testing.TB, host, ref string, want v1.Hash) {
	t.Helper()
	c := newClient(t, Options{})
	img, _, err := c.Fetch(context.Background(), strings.Replace(ref, "HOST", host, 1), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := digestOf(t, img); got != want {
		t.Fatalf("%s has digest %s, want %s", ref, got, want)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil { // verifies the digest
			t.Fatal(err)
		}
		r.Close()
	}
}
