// Package stepproxy is the HTTP and HTTPS proxy that build steps have instead of a
// network: it records what they fetch, or answers from earlier records. It signs
// the certificates for HTTPS servers itself. It must not know builders, images or the format of
// locks.
package stepproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"
)

// Request is a request of a step.
type Request struct {
	Client string // as given to Serve
	Method string
	URL    string // see CleanURL
	Header http.Header
	Body   io.Reader
}

// Response is the answer to a request.
type Response struct {
	Status   int
	Location string    // of a redirect
	Type     string    // media type, "" if the server named none
	Encoding string    // Content-Encoding, "" if the content is sent as it is
	Modified time.Time // zero if the server named none
	Size     int64     // in bytes, -1 if it is not known
	Body     io.ReadCloser
}

// Source answers requests. It is safe for concurrent use.
type Source interface {
	// Answer returns the answer to a request, whose body the caller closes. An error
	// becomes status 502.
	Answer(context.Context, Request) (*Response, error)
	// Refuse records a connection whose content the proxy cannot read, such as one that
	// is not HTTP.
	Refuse(client, request, reason string)
}

// Server is the proxy. Serve may be called several times.
type Server struct {
	ca     *CA
	source Source

	ctx     context.Context //nolint:containedctx // the life of the server
	end     context.CancelFunc
	mu      sync.Mutex
	https   []*http.Server
	reached map[string]bool   // "CLIENT HOST:PORT" of HTTPS servers that a client has sent a request to
	conns   map[net.Conn]bool // hijacked ones, which http.Server does not close
}

// New returns a server. It must be closed.
func New(ca *CA, source Source) *Server {
	ctx, end := context.WithCancel(context.Background())
	return &Server{ca: ca, source: source, ctx: ctx, end: end, conns: map[net.Conn]bool{}, reached: map[string]bool{}}
}

// headerTime is how long a client may take to send a request.
const headerTime = 30 * time.Second

// Serve answers the requests that come in at a listener, which Close closes. client
// is in each Request.
func (s *Server) Serve(l net.Listener, client string) {
	srv := s.server(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			s.connect(w, r, client)
			return
		}
		if !r.URL.IsAbs() {
			http.Error(w, "this is a proxy, which accepts absolute URLs only", http.StatusBadRequest)
			return
		}
		s.answer(w, r, client, r.URL)
	})
	go func() { _ = srv.Serve(l) }()
}

func (s *Server) server(h http.HandlerFunc) *http.Server {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.https = append(s.https, srv)
	return srv
}

// Close ends all connections.
func (s *Server) Close() {
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, srv := range s.https {
		_ = srv.Close()
	}
	for c := range s.conns {
		_ = c.Close()
	}
}

// connect answers for the HTTPS server that a client wants to reach.
func (s *Server) connect(w http.ResponseWriter, r *http.Request, client string) {
	target := r.Host
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		http.Error(w, "not HOST:PORT", http.StatusBadRequest)
		return
	}
	cert, err := s.ca.certificate(host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	s.keep(conn, true)
	defer s.keep(conn, false)
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{})
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	secure := tls.Server(&bufferedConn{conn, buffered}, &tls.Config{
		Certificates: []tls.Certificate{*cert},
		NextProtos:   []string{"http/1.1"},
		MinVersion:   tls.VersionTLS12,
	})
	ctx, cancel := context.WithTimeout(s.ctx, headerTime)
	err = secure.HandshakeContext(ctx)
	cancel()
	if err != nil {
		// A client that does not trust our CA ends the handshake with an alert.
		s.source.Refuse(client, "CONNECT "+target, "no HTTPS with the certificate of the proxy: "+err.Error()+untrusting)
		return
	}
	if port == "443" {
		target = host
		if strings.Contains(host, ":") {
			target = "[" + host + "]"
		}
	}
	ln := &oneConn{conn: secure, done: make(chan struct{})}
	reached := client + " " + r.Host
	srv := &http.Server{ReadHeaderTimeout: headerTime, BaseContext: func(net.Listener) context.Context { return s.ctx },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			if len(s.reached) < maxHosts {
				s.reached[reached] = true
			}
			s.mu.Unlock()
			u := *r.URL
			u.Scheme, u.Host = "https", target
			s.answer(w, r, client, &u)
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed || state == http.StateHijacked {
				ln.end()
			}
		}}
	_ = srv.Serve(ln)
	s.mu.Lock()
	trusted := s.reached[reached] // clients also open connections that they do not need
	s.mu.Unlock()
	if !trusted && s.ctx.Err() == nil {
		// With GnuTLS, curl checks the certificate after the handshake and closes the
		// connection without an alert.
		s.source.Refuse(client, "CONNECT "+r.Host, "closed without a request"+untrusting)
	}
}

// untrusting is the hint for clients that do not trust the proxy.
const untrusting = " (dnf and GnuTLS ignore variables that name an authority: " +
	"use the http:// address of the repository, whose packages are signed, or of a mirror)"

func (s *Server) keep(c net.Conn, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if open {
		s.conns[c] = true
	} else {
		delete(s.conns, c)
	}
}

// answer writes the answer to a request for a URL.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, client string, u *url.URL) {
	resp, err := s.source.Answer(r.Context(), Request{
		Client: client,
		Method: r.Method,
		URL:    CleanURL(u),
		Header: r.Header,
		Body:   r.Body,
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	if resp.Body != nil {
		defer resp.Body.Close()
	}
	h := w.Header()
	h["Date"] = nil // as if the file had always been there
	if resp.Location != "" {
		h.Set("Location", resp.Location)
	}
	if resp.Type != "" {
		h.Set("Content-Type", resp.Type)
	} else {
		h["Content-Type"] = nil // otherwise it is guessed from the content
	}
	if resp.Encoding != "" {
		h.Set("Content-Encoding", resp.Encoding)
	}
	if !resp.Modified.IsZero() {
		h.Set("Last-Modified", resp.Modified.UTC().Format(http.TimeFormat))
	}
	if resp.Body != nil && resp.Size >= 0 {
		h.Set("Content-Length", itoa(resp.Size))
	}
	w.WriteHeader(resp.Status)
	if r.Method == http.MethodHead || resp.Body == nil {
		return
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler) // the client must not treat it as the whole file
	}
}

// CleanURL returns a URL in the form of records: without credentials, fragment and
// default port, with the host in lower case.
func CleanURL(u *url.URL) string {
	c := *u
	c.User, c.Fragment, c.RawFragment = nil, "", ""
	c.Scheme, c.Host = strings.ToLower(c.Scheme), strings.ToLower(c.Host)
	if c.Scheme == "http" {
		c.Host = strings.TrimSuffix(c.Host, ":80")
	} else {
		c.Host = strings.TrimSuffix(c.Host, ":443")
	}
	if c.Path == "" {
		c.Path = "/"
	}
	// Servers resolve dots in paths. A slash at the end is kept.
	if clean := path.Clean(c.Path); strings.Contains(c.Path, "/.") && clean != c.Path {
		if strings.HasSuffix(c.Path, "/") && clean != "/" {
			clean += "/"
		}
		c.Path, c.RawPath = clean, ""
	}
	return c.String()
}

// bufferedConn is a connection of which some bytes have been read.
type bufferedConn struct {
	net.Conn
	r io.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// oneConn is a listener with one connection.
type oneConn struct {
	mu   sync.Mutex
	conn net.Conn
	done chan struct{}
	once sync.Once
}

func (l *oneConn) Accept() (net.Conn, error) {
	l.mu.Lock()
	c := l.conn
	l.conn = nil
	l.mu.Unlock()
	if c != nil {
		return c, nil
	}
	<-l.done
	return nil, errors.New("the only connection has ended")
}

func (l *oneConn) end() { l.once.Do(func() { close(l.done) }) }

func (l *oneConn) Close() error { l.end(); return nil }

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
