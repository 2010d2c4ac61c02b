package registrytest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// Fault is what a Proxy does to one request.
type Fault string

// The faults of a Proxy.
const (
	None      Fault = ""
	Reset     Fault = "connection reset"
	Status429 Fault = "429 with Retry-After"
	Status503 Fault = "503"
	Truncate  Fault = "truncated upload"
	Cut       Fault = "truncated answer"
	Stall     Fault = "stall"
	Lost      Fault = "done, but the answer is lost"
)

// Proxy forwards requests to a registry and injects faults.
type Proxy struct {
	*http.Server
	Host  string
	Delay time.Duration // before each request is passed on; set before the first

	mu     sync.Mutex
	choose func(*http.Request) Fault
	seen   []string // METHOD PATH of each request
	faults map[Fault]int
}

// StartProxy starts a proxy in front of a registry. choose, which may be nil, picks the
// fault of each request; it is called for one request at a time.
func StartProxy(t testing.TB, backend string, choose func(*http.Request) Fault) *Proxy {
	t.Helper()
	target := &url.URL{Scheme: "http", Host: backend}
	p := &Proxy{choose: choose, faults: map[Fault]int{}}
	reverse := &httputil.ReverseProxy{
		// The Host stays, so that upload locations lead through the proxy.
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { testenv.Abort(w) },
	}
	quit := make(chan struct{})
	p.Server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := p.next(r)
		time.Sleep(p.Delay)
		switch f {
		case Reset:
			testenv.Abort(w)
		case Status429:
			w.Header().Set("Retry-After", "0")
			http.Error(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`, http.StatusTooManyRequests)
		case Status503:
			http.Error(w, "out of order", http.StatusServiceUnavailable)
		case Truncate:
			r.Body = io.NopCloser(io.LimitReader(r.Body, max(1, r.ContentLength/2)))
			reverse.ServeHTTP(w, r) // the upload breaks for the registry as well as for the client
		case Cut:
			reverse.ServeHTTP(&cuttingWriter{ResponseWriter: w}, r)
		case Lost:
			reverse.ServeHTTP(discardWriter{http.Header{}}, r)
			testenv.Abort(w)
		case Stall:
			select {
			case <-r.Context().Done():
			case <-quit:
			}
			testenv.Abort(w)
		default:
			reverse.ServeHTTP(w, r)
		}
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.Host = ln.Addr().String()
	go func() { _ = p.Serve(ln) }()
	t.Cleanup(func() {
		close(quit)
		p.Close()
	})
	return p
}

func (p *Proxy) next(r *http.Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, r.Method+" "+r.URL.Path)
	f := None
	if p.choose != nil {
		f = p.choose(r)
	}
	if f != None {
		p.faults[f]++
	}
	return f
}

// Set changes how requests are treated, and forgets the requests so far.
func (p *Proxy) Set(choose func(*http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.choose = choose
	p.seen = nil
}

// Count returns how many requests were seen whose "METHOD PATH" contains all parts.
func (p *Proxy) Count(parts ...string) int {
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

// Faults describes how often each fault was used.
func (p *Proxy) Faults() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprint(p.faults)
}

// cuttingWriter breaks off in the middle of a body.
type cuttingWriter struct {
	http.ResponseWriter
	remaining int64
	cut       bool
}

func (w *cuttingWriter) WriteHeader(code int) {
	var n int64
	fmt.Sscan(w.Header().Get("Content-Length"), &n)
	w.remaining = n / 2
	w.ResponseWriter.WriteHeader(code)
}

func (w *cuttingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *cuttingWriter) Write(p []byte) (int, error) {
	if w.cut {
		return 0, net.ErrClosed
	}
	if int64(len(p)) <= w.remaining {
		w.remaining -= int64(len(p))
		return w.ResponseWriter.Write(p)
	}
	_, _ = w.ResponseWriter.Write(p[:w.remaining])
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	w.cut = true
	testenv.Abort(w.ResponseWriter)
	return 0, net.ErrClosed
}

type discardWriter struct{ h http.Header }

func (w discardWriter) Header() http.Header         { return w.h }
func (w discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w discardWriter) WriteHeader(int)             {}
