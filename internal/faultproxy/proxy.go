package faultproxy

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Fault is a kind of failure.
type Fault string

// The faults.
const (
	Refuse   Fault = "refused"   // the connection is reset before the answer
	Reset    Fault = "reset"     // the connection is reset in the middle of a body
	Stall    Fault = "stalled"   // part of the answer is sent, and then nothing
	Truncate Fault = "truncated" // the body ends before its length, without an error
	TooMany  Fault = "429"       // with Retry-After
	Internal Fault = "500"
	Gateway  Fault = "502"
	Busy     Fault = "503"
	Corrupt  Fault = "corrupted" // one byte of the body is changed
)

// All lists the faults.
func All() []Fault {
	return []Fault{Refuse, Reset, Stall, Truncate, TooMany, Internal, Gateway, Busy, Corrupt}
}

// Options are the settings of a proxy.
type Options struct {
	Target string // host:port that requests are sent to; "" makes a forward proxy
	Seed   uint64
	Faults []Fault       // nil for all
	Rate   float64       // the share of requests that fail, 0 to 1
	Max    int           // the maximum number of faults, 0 for no limit
	Stall  time.Duration // how long an answer stalls, 0 for 5 seconds
	// Match returns which requests may fail; nil for all.
	Match func(*http.Request) bool
}

// Proxy is a running proxy.
type Proxy struct {
	server *http.Server
	ln     net.Listener

	mu       sync.Mutex
	opts     Options
	rng      *rand.Rand
	off      bool
	injected map[Fault]int
	ended    chan struct{}
}

// Start starts a proxy on a free port of 127.0.0.1.
func Start(opts Options) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the fault proxy: %w", err)
	}
	p := &Proxy{ln: ln, ended: make(chan struct{})}
	p.Set(opts)
	p.server = &http.Server{Handler: p}
	go func() { _ = p.server.Serve(ln) }() // ends with Close
	return p, nil
}

// Addr returns the host:port of the proxy.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// Close stops the proxy and its stalled answers.
func (p *Proxy) Close() error {
	close(p.ended)
	return p.server.Close()
}

// Set replaces the options, and resets the counters and the random numbers.
func (p *Proxy) Set(opts Options) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if opts.Faults == nil {
		opts.Faults = All()
	}
	if opts.Stall == 0 {
		opts.Stall = 5 * time.Second
	}
	p.opts, p.off, p.injected = opts, false, map[Fault]int{}
	p.rng = rand.New(rand.NewPCG(opts.Seed, 0x6b6f6c6c61))
}

// Quiet ends the faults: all later requests pass.
func (p *Proxy) Quiet() {
	p.mu.Lock()
	p.off = true
	p.mu.Unlock()
}

// Injected returns the number of faults since Set.
func (p *Proxy) Injected() map[Fault]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[Fault]int{}
	for f, n := range p.injected {
		out[f] = n
	}
	return out
}

// draw selects the fault of a request, "" for none. position is the share of the body
// after which it occurs.
func (p *Proxy) draw(r *http.Request) (f Fault, position float64, opts Options) {
	p.mu.Lock()
	defer p.mu.Unlock()
	total := 0
	for _, n := range p.injected {
		total += n
	}
	if p.off || p.opts.Max > 0 && total >= p.opts.Max || p.opts.Match != nil && !p.opts.Match(r) {
		return "", 0, p.opts
	}
	if p.rng.Float64() >= p.opts.Rate {
		return "", 0, p.opts
	}
	f = p.opts.Faults[p.rng.IntN(len(p.opts.Faults))]
	p.injected[f]++
	return f, p.rng.Float64(), p.opts
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault, position, opts := p.draw(r)
	if slices.Contains([]Fault{TooMany, Internal, Gateway, Busy}, fault) {
		// A client that is still sending could lose the answer with the connection.
		_, _ = io.Copy(io.Discard, r.Body)
	}
	switch fault {
	case Refuse:
		reset(w)
		return
	case TooMany:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many requests", http.StatusTooManyRequests)
		return
	case Internal, Gateway, Busy:
		code, _ := strconv.Atoi(string(fault))
		http.Error(w, http.StatusText(code), code)
		return
	}
	upload := r.Method == http.MethodPut || r.Method == http.MethodPatch || r.Method == http.MethodPost
	if fault != "" && upload && r.ContentLength > 0 {
		// Faults occur in requests as well as in answers.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			reset(w)
			return
		}
		cut := int(position * float64(len(body)))
		switch fault {
		case Corrupt:
			body[min(cut, len(body)-1)] ^= 0x20
			fault = ""
		case Reset, Truncate:
			// The server receives a part, and the client loses the connection.
			r.Body, r.ContentLength = io.NopCloser(io.MultiReader(bytes.NewReader(body[:cut]), brokenReader{})), int64(len(body))
			p.pass(discardResponse{http.Header{}}, r, opts.Target)
			reset(w)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if fault == "" {
		p.pass(w, r, opts.Target)
		return
	}
	// For HEAD requests and empty answers, which have no body, the connection
	// breaks.
	got := &recorded{header: http.Header{}}
	p.pass(got, r, opts.Target)
	if r.Method == http.MethodHead || got.body.Len() == 0 {
		if fault == Stall {
			p.stall(r, opts.Stall)
		}
		reset(w)
		return
	}
	p.disturb(w, r, got, fault, position, opts)
}

// disturb writes an answer with a fault.
func (p *Proxy) disturb(w http.ResponseWriter, r *http.Request, got *recorded, f Fault, position float64,
	opts Options) {
	body := got.body.Bytes()
	cut := int(position * float64(len(body)))
	for k, v := range got.header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if f == Corrupt {
		body[min(cut, len(body)-1)] ^= 0x20
		cut = len(body)
	}
	w.WriteHeader(got.code)
	_, _ = w.Write(body[:cut])
	if fl, ok := w.(http.Flusher); ok {
		fl.Flush()
	}
	switch f {
	case Reset:
		reset(w)
	case Truncate:
		if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
			c.Close()
		}
	case Stall:
		p.stall(r, opts.Stall)
		reset(w)
	}
}

// stall waits, but no longer than the client.
func (p *Proxy) stall(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	case <-p.ended:
	}
}

// pass forwards a request and its answer.
func (p *Proxy) pass(w http.ResponseWriter, r *http.Request, target string) {
	rp := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			if target != "" {
				pr.SetURL(&url.URL{Scheme: "http", Host: target})
			}
			pr.Out.Host = pr.In.Host // Location headers must point to this proxy
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { reset(w) },
		Transport:    transport,
	}
	defer func() {
		// ReverseProxy panics with this error if an answer ends early.
		if e := recover(); e != nil && e != http.ErrAbortHandler {
			panic(e)
		} else if e != nil {
			reset(w)
		}
	}()
	rp.ServeHTTP(w, r)
}

// Connections are not reused, because Set may change the target.
var transport = &http.Transport{DisableKeepAlives: true, DisableCompression: true}

// reset closes a connection so that the other side gets an error.
func reset(w http.ResponseWriter) {
	h, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	c, _, err := h.Hijack()
	if err != nil {
		return // it is already closed
	}
	if tc, ok := c.(*net.TCPConn); ok {
		_ = tc.SetLinger(0)
	}
	c.Close()
}

// recorded stores an answer.
type recorded struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *recorded) Header() http.Header { return r.header }
func (r *recorded) WriteHeader(code int) {
	if code >= 200 {
		r.code = code
	}
}
func (r *recorded) Write(b []byte) (int, error) { return r.body.Write(b) }

// discardResponse discards an answer.
type discardResponse struct{ header http.Header }

func (d discardResponse) Header() http.Header         { return d.header }
func (d discardResponse) WriteHeader(int)             {}
func (d discardResponse) Write(b []byte) (int, error) { return len(b), nil }

// brokenReader is a body that ends with an error.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
