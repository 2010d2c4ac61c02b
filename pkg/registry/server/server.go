package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/registry/handlers"

	"github.com/kolla-build/kolla-build/internal/filelock"
)

const (
	defaultPort = "4000"
	// DefaultAddr is where the embedded registry listens: port 4000, which is that of
	// Kolla's local registry, for clients on this host only.
	DefaultAddr = "localhost:" + defaultPort
)

// Options say how the embedded registry runs.
type Options struct {
	Addr string // HOST:PORT to listen on; "" means DefaultAddr, port 0 picks one
	Dir  string // where content and tags are stored; created if missing

	// Htpasswd is a file of USER:BCRYPT lines. If it is set, requests need one of its
	// logins, except as Anonymous allows.
	Htpasswd string
	// Anonymous is what clients may do without a login. "" means everything on this host
	// if there is no Htpasswd, and nothing otherwise. Start refuses to listen on other
	// addresses without a Htpasswd, unless Anonymous or ReadOnly says what is meant.
	Anonymous Access
	ReadOnly  bool // refuse pushes and deletions, from everyone

	// Certificate and Key are files with a certificate (chain) and its key, both PEM: the
	// registry is served with TLS. "" means plain HTTP.
	Certificate, Key string

	Log     io.Writer // a line for each request that changes something or fails; nil means none
	Verbose bool      // a line for each request
	// Drain bounds how long Close waits for running requests. 0 means 10 seconds.
	Drain time.Duration
}

// Server is a running embedded registry: the CNCF distribution on file storage. Content
// and tags stay in its directory when it ends.
type Server struct {
	addr   net.Addr
	dir    string
	drain  time.Duration
	http   *http.Server
	app    *handlers.App
	lock   *filelock.Lock
	unlog  func()
	purger *purger

	done chan struct{} // closed when serving ended
	err  error         // why, nil after Close; valid once done is closed
	once sync.Once
}

// Start starts the embedded registry. It takes requests when Start returns; Close ends
// it. The errors are *AddrError, *AddrInUseError, *OpenError, *DirError and
// *HtpasswdError where they fit.
func Start(opts Options) (*Server, error) {
	if opts.Addr == "" {
		opts.Addr = DefaultAddr
	}
	if opts.Drain <= 0 {
		opts.Drain = 10 * time.Second
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	if _, err := checkDir(dir); err != nil {
		return nil, err
	}
	// The address comes first: if a registry is running already, that is what the user
	// needs to know, rather than that its directory is locked.
	ln, err := net.Listen("tcp", opts.Addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, &AddrInUseError{Addr: opts.Addr, IsRegistry: answersAsRegistry(opts.Addr), Err: err}
		}
		return nil, fmt.Errorf("listening on %s: %w", opts.Addr, err)
	}
	s, err := start(ln, dir, opts)
	if err != nil {
		ln.Close()
		return nil, err
	}
	return s, nil
}

// check finds mistakes in the options that show before anything is touched.
func (o Options) check() error {
	if err := checkAddr(o.Addr); err != nil {
		return err
	}
	switch o.Anonymous {
	case "", AccessNone, AccessPull, AccessPush:
	default:
		return &AccessError{Access: o.Anonymous}
	}
	if o.Htpasswd == "" && o.Anonymous == "" && !o.ReadOnly && !listensOnLoopback(o.Addr) {
		return &OpenError{Addr: o.Addr}
	}
	if o.Dir == "" {
		return &DirError{Dir: "", Err: errors.New("no directory is given")}
	}
	if (o.Certificate == "") != (o.Key == "") {
		return errors.New("TLS needs a certificate and its key, and only one of them is given")
	}
	if o.Htpasswd != "" {
		// The distribution would create a missing file, with a password of its own.
		return checkHtpasswd(o.Htpasswd)
	}
	return nil
}

func start(ln net.Listener, dir string, opts Options) (*Server, error) {
	if opts.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(opts.Certificate, opts.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate %s and its key: %w", opts.Certificate, err)
		}
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}})
	}
	lock, err := lockDir(dir, "listens on "+ln.Addr().String())
	if err != nil {
		return nil, err
	}
	s := &Server{addr: ln.Addr(), dir: dir, drain: opts.Drain, lock: lock, done: make(chan struct{})}
	log := &requestLog{out: opts.Log, all: opts.Verbose}
	if !opts.ReadOnly {
		if err := repair(dir, log.printf); err != nil {
			lock.Close()
			return nil, fmt.Errorf("repairing the registry in %s: %w", dir, err)
		}
	}
	s.unlog = log.takeOver()
	if s.app, err = newApp(distributionConfig(dir, ln.Addr().String(), opts)); err != nil {
		s.unlog()
		lock.Close()
		return nil, fmt.Errorf("starting the registry in %s: %w", dir, err)
	}
	s.purger = &purger{dir: dir, quit: make(chan struct{})}
	handler, err := newHandler(s.app, dir, opts, s.purger, log)
	if err != nil {
		s.unlog()
		lock.Close()
		return nil, err
	}
	if !opts.ReadOnly {
		s.purger.start()
	}
	s.http = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.std(),
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.err = fmt.Errorf("serving on %s: %w", s.addr, err)
		}
	}()
	return s, nil
}

// Addr is the address that it listens on.
func (s *Server) Addr() net.Addr { return s.addr }

// Host is a HOST:PORT by which this machine reaches it, for names of images.
func (s *Server) Host() string {
	a, ok := s.addr.(*net.TCPAddr)
	if !ok || a.IP.IsUnspecified() || a.IP.IsLoopback() {
		_, port, _ := net.SplitHostPort(s.addr.String())
		return "localhost:" + port
	}
	return a.String()
}

// Done is closed when the server no longer serves; Err says why.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is why the server ended by itself, nil while it runs and after Close.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Close ends the server: it accepts no more requests, those that run may finish within
// Options.Drain, then their connections are closed. Uploads that are interrupted leave
// no blob and no tag.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.drain)
		defer cancel()
		if s.http.Shutdown(ctx) != nil {
			// The time is up. A client that stalls is not our failure.
			err = s.http.Close()
		}
		<-s.done
		s.purger.stop()
		err = errors.Join(err, s.app.Shutdown())
		s.unlog()
		s.lock.Close()
	})
	return err
}

// answersAsRegistry reports whether a registry answers on this machine at addr.
func answersAsRegistry(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "localhost"
	}
	resp, err := (&http.Client{Timeout: time.Second}).Get("http://" + net.JoinHostPort(host, port) + "/v2/")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.Header.Get("Docker-Distribution-Api-Version") != ""
}

// lockDir creates the directory if it is missing, makes sure that it can be written, and
// locks it. The kernel releases the lock when the process ends, however it ends. holder
// is shown to those who find it locked.
func lockDir(dir, holder string) (*filelock.Lock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, &DirError{Dir: dir, Err: err}
	}
	lock, err := filelock.Try(filepath.Join(dir, lockFile))
	if err != nil {
		var held *filelock.HeldError
		if errors.As(err, &held) {
			return nil, &DirError{Dir: dir, Locked: true, Holder: held.Holder, Err: err}
		}
		return nil, &DirError{Dir: dir, Err: err}
	}
	if err := lock.SetHolder("process %d, %s", os.Getpid(), holder); err != nil {
		lock.Close()
		return nil, &DirError{Dir: dir, Err: err}
	}
	return lock, nil
}
