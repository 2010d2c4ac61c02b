package server

import (
	"context"
	"encoding/json"
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

	"golang.org/x/sys/unix"
)

// A running registry accepts commands from the owner of its directory through a socket
// in that directory, whose permissions allow only the owner.

// controlSocket is the name of the socket.
const controlSocket = ".kolla-build-registry.sock"

// errCollecting reports that a garbage collection is already running.
var errCollecting = errors.New("a garbage collection is already running")

// CollectRunning makes the registry that runs in a directory collect garbage while it
// serves. The error is *DirError if none runs there, or if it is another user's.
func CollectRunning(ctx context.Context, dir string, opts GCOptions) (GCResult, error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return DialControl(ctx, dir) }
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	defer client.CloseIdleConnections()
	body, writer := io.Pipe()
	go func() { writer.CloseWithError(json.NewEncoder(writer).Encode(opts)) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://registry/gc", body)
	if err != nil {
		return GCResult{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return GCResult{}, &DirError{Dir: dir, Err: fmt.Errorf("asking its registry to collect garbage: %w", op.Err)}
		}
		return GCResult{}, fmt.Errorf("collecting garbage in %s: %w", dir, err)
	}
	defer resp.Body.Close()
	var answer struct {
		GCResult
		Error string
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxHeld)).Decode(&answer); err != nil {
		return GCResult{}, fmt.Errorf("collecting garbage in %s: reading the answer: %w", dir, err)
	}
	if answer.Error != "" {
		return answer.GCResult, fmt.Errorf("collecting garbage in %s: %s", dir, answer.Error)
	}
	return answer.GCResult, nil
}

// DialControl connects to the registry that runs in a directory, through its socket. Its
// API in plain HTTP is served there too, with full access for the directory's owner.
func DialControl(ctx context.Context, dir string) (net.Conn, error) {
	return inDirectory(dir, func(path string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "unix", path)
	})
}

// inDirectory calls request with a short path of the control socket in a directory: paths of
// sockets are limited to about 100 bytes.
func inDirectory[T any](dir string, request func(path string) (T, error)) (T, error) {
	d, err := os.Open(dir)
	if err != nil {
		var zero T
		return zero, err
	}
	defer d.Close()
	return request(fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), controlSocket))
}

// private makes sockets accessible to their owner only from the beginning: bind creates
// the file with the mode of the socket.
var private = net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
	var err error
	if ctl := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); ctl != nil {
		return ctl
	}
	return err
}}

// control serves the control socket of a registry.
type control struct {
	dir  string
	http *http.Server
	done chan struct{}
}

// startControl serves commands until stop is called. The caller holds the directory's lock.
func startControl(dir string, api http.Handler, gc func(context.Context, GCOptions) (GCResult, error)) (
	*control, error) {
	if err := os.Remove(filepath.Join(dir, controlSocket)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	ln, err := inDirectory(dir, func(path string) (net.Listener, error) {
		ln, err := private.Listen(context.Background(), "unix", path)
		if err == nil {
			ln.(*net.UnixListener).SetUnlinkOnClose(false) // the path may already belong to another registry
		}
		return ln, err
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/v2/", api)
	mux.HandleFunc("POST /gc", func(w http.ResponseWriter, r *http.Request) {
		var answer struct {
			GCResult
			Error string
		}
		var opts GCOptions
		err := json.NewDecoder(io.LimitReader(r.Body, maxHeld)).Decode(&opts)
		if err == nil {
			answer.GCResult, err = gc(r.Context(), opts)
		}
		if err != nil {
			answer.Error = err.Error()
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	c := &control{
		dir: dir, done: make(chan struct{}),
		http: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second},
	}
	go func() {
		defer close(c.done)
		_ = c.http.Serve(ln)
	}()
	return c, nil
}

func (c *control) stop() {
	if c == nil {
		return
	}
	_ = c.http.Close()
	<-c.done
	_ = os.Remove(filepath.Join(c.dir, controlSocket)) // the next start removes it
}

// collectHandler runs garbage collections of a running registry, one at a time.
type collectHandler struct {
	mu  sync.Mutex
	run func(context.Context, GCOptions) (GCResult, error)
}

func (c *collectHandler) collect(ctx context.Context, opts GCOptions) (GCResult, error) {
	if opts.Unused < MinUnused {
		return GCResult{}, fmt.Errorf("the registry is running: content that was used in the last %v stays", MinUnused)
	}
	if !c.mu.TryLock() {
		return GCResult{}, errCollecting
	}
	defer c.mu.Unlock()
	return c.run(ctx, opts)
}
