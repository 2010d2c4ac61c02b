package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/registry/handlers"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/filelock"
)

// Limits of connections, which bound the memory and the open files of clients that send and
// read slowly. More connections wait until others end; those of an address that has too many
// are closed.
const (
	maxConnections = 4096
	maxOfAddress   = maxConnections * 3 / 4 // so that one client does not shut out the others
	maxHeader      = 16 << 10               // bytes
)

const (
	defaultPort = "4000"
	// DefaultAddr is the default address of the embedded registry: port 4000, as for
	// Kolla's local registry, for clients on this host only.
	DefaultAddr = "localhost:" + defaultPort
)

// Options are the settings of the embedded registry.
type Options struct {
	Addr string // HOST:PORT to listen on; "" means DefaultAddr, port 0 picks one
	Dir  string // where content and tags are stored; created if missing

	// Htpasswd is a file of USER:BCRYPT lines. If it is set, requests need one of its
	// logins, except as Anonymous allows.
	Htpasswd string
	// Anonymous is the access of clients without a login. "" means everything on this
	// host if there is no Htpasswd, and nothing otherwise. Without Htpasswd, Start
	// refuses to listen on other addresses unless Anonymous or ReadOnly is set.
	Anonymous Access
	ReadOnly  bool // refuse pushes and deletions, from everyone

	// Certificate and Key are files with a certificate (chain) and its key, both PEM: the
	// registry is served with TLS. "" means plain HTTP.
	Certificate, Key string
	// GenerateTLS serves TLS with a certificate of an authority that is generated in Dir,
	// for the names and addresses of this host and TLSNames. It is renewed in time.
	GenerateTLS bool
	TLSNames    []string

	// ReadOnlyUsers are logins of Htpasswd that may only pull.
	ReadOnlyUsers []string

	// GCEvery is how often garbage is collected, with GC; 0 means never.
	GCEvery time.Duration
	GC      GCOptions

	Log     io.Writer // a line for each request that changes something or fails; nil means none
	Verbose bool      // a line for each request
	// Drain limits how long Close waits for running requests. 0 means 10 seconds.
	Drain time.Duration
}

// Server is a running embedded registry: the CNCF distribution on file storage. Content
// and tags stay in its directory when it ends.
type Server struct {
	addr    net.Addr
	dir     string
	drain   time.Duration
	http    *httpServer
	app     *handlers.App
	lock    *filelock.Lock
	unlog   func()
	purger  *purger
	use     *contentUse
	gc      *collectHandler
	control *control
	cancel  context.CancelFunc // of garbage collection
	jobs    sync.WaitGroup

	done chan struct{} // closed when serving ended
	err  error         // reason of the end, nil after Close; valid once done is closed
	once sync.Once
}

// Start starts the embedded registry, which accepts requests when Start returns. Close
// ends it. The errors are *AddrError, *AddrInUseError, *OpenError, *DirError and
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
	// The address is checked first: if a registry is already running, this error is
	// more useful than that of the locked directory.
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

// check finds mistakes in the options before anything is changed.
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
	if o.GenerateTLS && o.Certificate != "" {
		return errors.New("a certificate file and a generated certificate exclude each other")
	}
	if o.GCEvery > 0 && o.GC.Unused < MinUnused {
		return fmt.Errorf("collecting garbage while clients push: content that was used in the last %v must stay", MinUnused)
	}
	if o.Htpasswd == "" {
		if len(o.ReadOnlyUsers) > 0 {
			return errors.New("read-only users need a password file")
		}
		return nil
	}
	// The distribution would create a missing file, with its own password.
	users, err := checkHtpasswd(o.Htpasswd)
	for _, name := range o.ReadOnlyUsers {
		if err == nil && !slices.Contains(users, name) {
			err = &HtpasswdError{Path: o.Htpasswd, Problem: fmt.Sprintf("it does not contain the read-only user %q", name)}
		}
	}
	return err
}

func start(ln net.Listener, dir string, opts Options) (_ *Server, err error) {
	lock, err := lockDir(dir, "listens on "+ln.Addr().String())
	if err != nil {
		return nil, err
	}
	undo := []func(){func() { lock.Close() }}
	defer func() {
		for i := len(undo) - 1; err != nil && i >= 0; i-- {
			undo[i]()
		}
	}()
	log := &requestLog{out: opts.Log, all: opts.Verbose, metrics: newMetrics()}
	certificates, err := openCertificates(dir, opts, log.printf)
	if err != nil {
		return nil, err
	}
	if opts.GenerateTLS {
		if err := recordAddr(dir, ln.Addr().String()); err != nil {
			log.printf("warning: recording the address: %v", err)
		}
	}
	if !opts.ReadOnly {
		if err := repair(dir, log.printf); err != nil {
			return nil, fmt.Errorf("repairing the registry in %s: %w", dir, err)
		}
	}
	s := &Server{addr: ln.Addr(), dir: dir, drain: opts.Drain, lock: lock, use: newUsage(dir), done: make(chan struct{})}
	s.unlog = log.captureWarnings()
	undo = append(undo, s.unlog)
	if s.app, err = newApp(distributionConfig(dir, ln.Addr().String(), opts)); err != nil {
		return nil, fmt.Errorf("starting the registry in %s: %w", dir, err)
	}
	s.purger = &purger{dir: dir, quit: make(chan struct{})}
	handler, err := newHandler(s, opts, log, certificates)
	if err != nil {
		return nil, err
	}
	s.gc = &collectHandler{run: func(ctx context.Context, o GCOptions) (GCResult, error) {
		started := time.Now()
		result, err := collect(ctx, s.use, o)
		if !o.DryRun {
			log.metrics.collected(result, err)
			log.printf("garbage collection: freed %d bytes, %d blobs, %d manifests in %v",
				result.Freed, result.Blobs, result.Manifests, time.Since(started).Round(time.Millisecond))
		}
		return result, err
	}}
	s.http = newHTTPServer(log.wrap(handler), certificates, log.std())
	if !opts.ReadOnly {
		if err := s.startJobs(opts, log.wrap(handler.trusted()), log); err != nil {
			return nil, err
		}
	}
	ln = limitConnections(ln, maxConnections, maxOfAddress, log.printf)
	go func() {
		defer close(s.done)
		if err := s.http.serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.err = fmt.Errorf("serving on %s: %w", s.addr, err)
		}
	}()
	return s, nil
}

// startJobs starts the background jobs that change the directory.
func (s *Server) startJobs(opts Options, api http.Handler, log *requestLog) (err error) {
	if s.control, err = startControl(s.dir, api, s.gc.collect); err != nil {
		return fmt.Errorf("starting the registry in %s: %w", s.dir, err)
	}
	s.purger.start()
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	s.jobs.Go(func() {
		interval := opts.GCEvery
		if interval <= 0 {
			interval = 24 * time.Hour
		}
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if opts.GCEvery > 0 {
				if _, err := s.gc.collect(ctx, opts.GC); err != nil && ctx.Err() == nil {
					log.printf("garbage collection: %v", err)
				}
			}
			s.use.forget(max(opts.GC.Unused, 24*time.Hour))
		}
	})
	return nil
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

// Done is closed when the server no longer serves; Err then returns the cause.
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
		err = s.http.close(ctx)
		<-s.done
		s.control.stop()
		if s.cancel != nil {
			s.cancel()
			s.purger.stop()
		}
		s.jobs.Wait()
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
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // nothing is sent, and the answer is not believed
	}}
	for _, scheme := range []string{"http", "https"} {
		resp, err := client.Get(scheme + "://" + net.JoinHostPort(host, port) + "/v2/")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.Header.Get("Docker-Distribution-Api-Version") != "" {
			return true
		}
	}
	return false
}

// lockDir creates the directory if it is missing, makes sure that it can be written, and
// locks it. The kernel releases the lock when the process ends, however it ends. holder
// is shown to other processes that find it locked.
func lockDir(dir, holder string) (*filelock.Lock, error) {
	if err := atomicfile.MkdirAll(dir, 0o755); err != nil {
		return nil, &DirError{Dir: dir, Err: err}
	}
	lock, err := filelock.Try(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, lockError(dir, err)
	}
	if err := lock.SetHolder("process %d, %s", os.Getpid(), holder); err != nil {
		lock.Close()
		return nil, &DirError{Dir: dir, Err: err}
	}
	return lock, nil
}

// checkUnlocked is lockDir for a reader, which changes nothing and does not keep the lock: a
// registry may start at any time.
func checkUnlocked(dir string) error {
	lock, err := filelock.OpenExisting(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no registry was started in it
	}
	if err != nil {
		return &DirError{Dir: dir, Err: err}
	}
	defer lock.Close()
	// A shared lock is no obstacle for other readers.
	if err := lock.TryRLock(); err != nil {
		return lockError(dir, err)
	}
	return nil
}

func lockError(dir string, err error) error {
	var held *filelock.HeldError
	if errors.As(err, &held) {
		return &DirError{Dir: dir, Locked: true, Holder: held.Holder, Err: err}
	}
	return &DirError{Dir: dir, Err: err}
}
