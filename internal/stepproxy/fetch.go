package stepproxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// fetch is a file that is being fetched or was fetched. Steps read it while it grows.
type fetch struct {
	clients map[string]bool // guarded by Recorder.mu
	ready   chan struct{}   // closed when the status or err is known

	mu     sync.Mutex
	grown  *sync.Cond
	record Record
	path   string // of the content
	size   int64  // so far
	length int64  // as announced, -1 if it is not
	done   bool
	err    error
}

func newFetch(url string) *fetch {
	f := &fetch{record: Record{URL: url}, clients: map[string]bool{}, ready: make(chan struct{}), length: -1}
	f.grown = sync.NewCond(&f.mu)
	return f
}

// response returns the answer to a request, once f is ready.
func (f *fetch) response() (*Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	resp := &Response{
		Status:   f.record.Status,
		Location: f.record.Location,
		Type:     f.record.Type,
		Encoding: f.record.Encoding,
		Modified: f.record.Modified,
		Size:     f.length,
	}
	if f.path == "" {
		return resp, nil
	}
	if f.done {
		resp.Size = f.size
	}
	file, err := os.Open(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("the transfer was interrupted") // and its file is removed
	}
	if err != nil {
		return nil, err
	}
	resp.Body = &follower{f: f, file: file}
	return resp, nil
}

// end marks the content as complete, or as failed.
func (f *fetch) end(err error) {
	f.mu.Lock()
	f.done, f.err = true, err
	path := f.path
	f.grown.Broadcast()
	f.mu.Unlock()
	if err != nil && path != "" {
		os.Remove(path)
	}
	select {
	case <-f.ready:
	default:
		close(f.ready)
	}
}

// errStatus is an answer that does not show whether the file exists.
type errStatus int

func (e errStatus) Error() string {
	return fmt.Sprintf("the server answered %d %s", int(e), http.StatusText(int(e)))
}

// temporary begins the names of files that are being fetched.
const temporary = ".new-"

// stall is how long a server may send nothing.
const stall = 2 * time.Minute

// get fetches a file of at most limit bytes into a directory.
func (f *fetch) get(ctx context.Context, client *http.Client, dir string, limit int64, req Request) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(stall, func() { cancel(fmt.Errorf("no data for %v", stall)) })
	defer timer.Stop()
	hreq, err := http.NewRequestWithContext(ctx, http.MethodGet, req.URL, nil)
	if err != nil {
		return errors.New("not a URL")
	}
	// Conditions and ranges of a request are dropped, because the whole file is
	// recorded. The encoding that it accepts is kept.
	for _, name := range []string{"Accept", "User-Agent", "Authorization"} {
		if v := req.Header.Get(name); v != "" {
			hreq.Header.Set(name, v)
		}
	}
	hreq.Header.Set("Accept-Encoding", "identity")
	resp, err := client.Do(hreq)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer resp.Body.Close()
	if complete, err := f.start(resp); !complete || err != nil {
		return err
	}
	if resp.ContentLength > limit {
		return &tooLargeError{limit}
	}
	file, err := os.CreateTemp(dir, temporary+"*")
	if err != nil {
		return err
	}
	defer file.Close()
	f.mu.Lock()
	f.path, f.length = file.Name(), resp.ContentLength
	f.mu.Unlock()
	close(f.ready)
	sum := sha256.New()
	body := &limited{r: resp.Body, limit: limit}
	if _, err := io.Copy(&growing{f: f, file: file, sum: sum, timer: timer}, body); err != nil {
		return causeOf(ctx, err)
	}
	if err := file.Close(); err != nil {
		return err
	}
	d := digest.NewDigest(digest.SHA256, sum)
	path := filepath.Join(dir, d.Encoded())
	f.mu.Lock() // so that no reader opens the old name after the rename
	defer f.mu.Unlock()
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	f.path, f.record.Digest, f.record.Size = path, d, f.size
	return nil
}

// start notes the status of an answer. complete reports whether a file follows.
func (f *fetch) start(resp *http.Response) (complete bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.record.Status, f.record.Type = resp.StatusCode, resp.Header.Get("Content-Type")
	if t, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		f.record.Modified = t.UTC()
	}
	switch code := resp.StatusCode; code {
	case http.StatusOK:
		if e := resp.Header.Get("Content-Encoding"); e != "identity" {
			f.record.Encoding = e
		}
		return true, nil
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect,
		http.StatusPermanentRedirect:
		to, err := resp.Location()
		if err != nil {
			return false, err
		}
		f.record.Location = CleanURL(to)
		return false, nil
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden:
		return false, nil
	default:
		return false, errStatus(code)
	}
}

func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err // without the URL, which may have credentials
	}
	return err
}

// tooLargeError reports that a file is not recorded.
type tooLargeError struct{ limit int64 }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the file has more than %d bytes", e.limit)
}

// limited fails after a number of bytes.
type limited struct {
	r           io.Reader
	limit, read int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.read += int64(n); l.read > l.limit {
		return 0, &tooLargeError{l.limit}
	}
	return n, err
}

// growing writes the content of a fetch.
type growing struct {
	f     *fetch
	file  *os.File
	sum   hash.Hash
	timer *time.Timer
}

func (g *growing) Write(p []byte) (int, error) {
	g.timer.Reset(stall)
	n, err := g.file.Write(p)
	g.sum.Write(p[:n])
	g.f.mu.Lock()
	g.f.size += int64(n)
	g.f.grown.Broadcast()
	g.f.mu.Unlock()
	return n, err
}

// follower reads the content of a fetch while it grows.
type follower struct {
	f      *fetch
	file   *os.File
	offset int64
}

func (r *follower) Read(p []byte) (int, error) {
	r.f.mu.Lock()
	for r.f.size == r.offset && !r.f.done {
		r.f.grown.Wait()
	}
	size, err := r.f.size, r.f.err
	r.f.mu.Unlock()
	switch {
	case err != nil:
		return 0, err
	case size == r.offset:
		return 0, io.EOF
	}
	n, err := r.file.ReadAt(p[:min(int64(len(p)), size-r.offset)], r.offset)
	r.offset += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (r *follower) Close() error { return r.file.Close() }
