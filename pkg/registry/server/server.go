package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"

	// The driver and the login scheme register themselves; the embedded registry
	// has one storage and at most one login.
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

const (
	defaultPort = "4000"
	// DefaultAddr is where the embedded registry listens: port 4000 (Kolla's
	// local registry's) on all interfaces.
	DefaultAddr = ":" + defaultPort
)

// Options say how the embedded registry runs.
type Options struct {
	Addr     string    // HOST:PORT to listen on; "" means DefaultAddr, port 0 picks one
	Dir      string    // where content and tags lie; made when it is missing
	Log      io.Writer // a line per request that changes something or fails; nil means none
	Verbose  bool      // a line for each request
	ReadOnly bool      // refuse pushes and deletions
	// Htpasswd is a file of user:bcrypt lines; when it is set, each request must
	// be logged in (Basic). "" means that everybody may pull and push.
	Htpasswd string
	// Drain bounds how long Close waits for requests that run. 0 means 10 s.
	Drain time.Duration
}

// Server is a running embedded registry: the CNCF distribution on file storage.
// Content and tags outlive it in its directory.
type Server struct {
	addr  net.Addr
	dir   string
	drain time.Duration
	http  *http.Server
	app   *handlers.App
	lock  *os.File
	unlog func()

	done chan struct{} // closed when serving ended
	err  error         // why, nil after Close; valid once done is closed
	once sync.Once
}

// AddrInUseError says that another process listens on the address.
type AddrInUseError struct {
	Addr       string
	IsRegistry bool // what listens there is a registry
	Err        error
}

// Error implements error.
func (e *AddrInUseError) Error() string {
	if e.IsRegistry {
		return fmt.Sprintf("listening on %s: a registry answers there already", e.Addr)
	}
	return fmt.Sprintf("listening on %s: the address is in use", e.Addr)
}

// Unwrap gives the system's error.
func (e *AddrInUseError) Unwrap() error { return e.Err }

// Hint says what the user can do.
func (e *AddrInUseError) Hint() string {
	_, port, _ := net.SplitHostPort(e.Addr)
	if e.IsRegistry {
		return fmt.Sprintf("use it as it is with --registry localhost:%s, or choose another port with --addr :PORT", port)
	}
	return fmt.Sprintf("`ss -ltnp 'sport = :%s'` shows who listens there; choose another port with --addr :PORT", port)
}

// DirError says that the registry's directory cannot be used.
type DirError struct {
	Dir     string
	Locked  bool // another registry uses it
	Holder  string
	Foreign string // it is no registry's: it holds this
	Err     error
}

// Error implements error.
func (e *DirError) Error() string {
	if e.Locked {
		s := fmt.Sprintf("registry directory %s: another registry uses it", e.Dir)
		if e.Holder != "" {
			s += " (" + e.Holder + ")"
		}
		return s
	}
	if e.Foreign != "" {
		return fmt.Sprintf("registry directory %s: it is not a registry's, it holds %s", e.Dir, e.Foreign)
	}
	return fmt.Sprintf("registry directory %s: %s", e.Dir, pathCause(e.Err))
}

// Unwrap gives the system's error.
func (e *DirError) Unwrap() error { return e.Err }

// Hint says what the user can do.
func (e *DirError) Hint() string {
	if e.Locked {
		return "use the registry that runs, or stop it first, or choose another directory with --dir"
	}
	if e.Foreign != "" {
		return "name the registry's own directory, or an empty one, with --dir"
	}
	return "choose a directory that this user may write to with --dir"
}

func pathCause(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// Start starts the embedded registry. It listens, and takes requests, when Start
// returns; Close ends it.
func Start(opts Options) (*Server, error) {
	if opts.Addr == "" {
		opts.Addr = DefaultAddr
	}
	if opts.Drain <= 0 {
		opts.Drain = 10 * time.Second
	}
	if opts.Dir == "" {
		return nil, &DirError{Dir: "", Err: errors.New("no directory is given")}
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	if err := checkAddr(opts.Addr); err != nil {
		return nil, err
	}
	if opts.Htpasswd != "" {
		// The distribution would make the file, with a password of its own.
		if err := checkHtpasswd(opts.Htpasswd); err != nil {
			return nil, err
		}
	}
	if _, err := checkForeign(dir); err != nil {
		return nil, err
	}
	// The address first: when a registry runs already, "it is there, use it" is
	// what the user needs to hear, rather than that its directory is locked.
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

func start(ln net.Listener, dir string, opts Options) (*Server, error) {
	lock, err := lockDir(dir, "listens on "+ln.Addr().String())
	if err != nil {
		return nil, err
	}
	s := &Server{addr: ln.Addr(), dir: dir, drain: opts.Drain, lock: lock, done: make(chan struct{})}
	log := &requestLog{out: opts.Log, all: opts.Verbose}
	s.unlog = log.takeOver()
	if s.app, err = newApp(configFor(dir, ln.Addr().String(), opts)); err != nil {
		s.unlog()
		lock.Close()
		return nil, fmt.Errorf("starting the registry in %s: %w", dir, err)
	}
	s.http = &http.Server{
		Handler:           log.wrap(s.app),
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       2 * time.Minute,
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

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.addr }

// Host is a HOST:PORT by which this machine reaches it, for image names.
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

// Close ends the server: no new requests, those that run may finish within
// Options.Drain, then their connections are closed. Uploads that are cut
// off leave no blob and no tag.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.drain)
		defer cancel()
		if e := s.http.Shutdown(ctx); e != nil {
			// The time is up. A client that stalls is not our failure.
			err = s.http.Close()
		}
		<-s.done
		err = errors.Join(err, s.app.Shutdown())
		s.unlog()
		s.lock.Close()
	})
	return err
}

// configFor is the distribution's configuration: files in dir, deletions on, and
// none of what reaches out of the machine.
func configFor(dir, addr string, opts Options) *configuration.Configuration {
	c := &configuration.Configuration{
		Version: "0.1",
		Storage: configuration.Storage{
			"filesystem": configuration.Parameters{"rootdirectory": dir},
			"delete":     configuration.Parameters{"enabled": true},
			"cache":      configuration.Parameters{"blobdescriptor": "inmemory"},
			"maintenance": configuration.Parameters{
				"readonly": map[any]any{"enabled": opts.ReadOnly},
				// Uploads that were cut off are swept away after a week.
				"uploadpurging": map[any]any{
					"enabled": !opts.ReadOnly, "age": "168h", "interval": "24h", "dryrun": false,
				},
			},
		},
	}
	c.Catalog.MaxEntries = 1000
	c.HTTP.Addr = addr
	// Signs the state that clients carry during an upload. It need not outlive
	// the process: clients begin an upload again that a restart has cut off.
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails, says its documentation
	c.HTTP.Secret = hex.EncodeToString(secret)
	if opts.Htpasswd != "" {
		c.Auth = configuration.Auth{"htpasswd": configuration.Parameters{"realm": "kolla-build registry", "path": opts.Htpasswd}}
	}
	return c
}

// newApp makes the distribution's application, which panics where others return
// an error.
func newApp(c *configuration.Configuration) (app *handlers.App, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return handlers.NewApp(context.Background(), c), nil
}

// lockFile lies in the registry's directory beside the distribution's own tree.
const lockFile = ".kolla-build-registry.lock"

// lockDir makes the directory when it is missing, makes sure that it can be
// written, and locks it. The system releases the lock when the process ends,
// however it ends. who is told to the one who finds it locked.
func lockDir(dir, who string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, &DirError{Dir: dir, Err: err}
	}
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, &DirError{Dir: dir, Err: err}
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			b, _ := io.ReadAll(io.LimitReader(f, 200))
			return nil, &DirError{Dir: dir, Locked: true, Holder: strings.TrimSpace(string(b)), Err: err}
		}
		return nil, &DirError{Dir: dir, Err: err}
	}
	_ = f.Truncate(0)
	if _, err := fmt.Fprintf(f, "process %d, %s\n", os.Getpid(), who); err != nil {
		f.Close()
		return nil, &DirError{Dir: dir, Err: err}
	}
	return f, nil
}

// answersAsRegistry asks whether a registry answers on this machine at addr.
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
