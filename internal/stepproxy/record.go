package stepproxy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/redact"
)

// Record is what a URL answered.
type Record struct {
	URL      string
	Status   int // 200, a redirect, or one that says that there is no such file
	Location string
	Type     string
	Modified time.Time
	Digest   digest.Digest // of the content, for status 200
	Size     int64
	Clients  []string // sorted
}

// Unrecorded is a request that cannot be repeated from records.
type Unrecorded struct{ Client, Request, Reason string }

// Recorder answers requests from the network and keeps what they return. Each URL is
// fetched once, so that all steps see the same content.
type Recorder struct {
	dir    string // of the contents, by digest
	client *http.Client

	running sync.WaitGroup

	mu      sync.Mutex
	fetches map[string]*fetch // by URL
	refused map[Unrecorded]bool
}

// NewRecorder returns a recorder that keeps contents in a directory, in files that
// are named after their sha256. client is used for requests; it must not follow
// redirects.
func NewRecorder(dir string, client *http.Client) (*Recorder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("recording what steps fetch: %w", err)
	}
	return &Recorder{dir: dir, client: client, fetches: map[string]*fetch{}, refused: map[Unrecorded]bool{}}, nil
}

// fetch is a URL that is being fetched or was fetched.
type fetch struct {
	record  Record
	clients map[string]bool
	ready   chan struct{} // closed when the status is known, or err

	mu     sync.Mutex
	grown  *sync.Cond
	path   string // of the content
	size   int64  // so far
	length int64  // as announced, -1 if it is not
	done   bool
	err    error
}

// Answer implements Source.
func (r *Recorder) Answer(ctx context.Context, req Request) (*Response, error) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		r.Refuse(req.Client, req.Method+" "+redact.URL(req.URL), "only GET can be repeated")
		return r.forward(ctx, req)
	}
	f := r.fetch(req)
	select {
	case <-f.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	resp := &Response{Status: f.record.Status, Location: f.record.Location, Type: f.record.Type, Modified: f.record.Modified, Size: f.length}
	if f.path == "" {
		return resp, nil
	}
	if f.done {
		resp.Size = f.size
	}
	file, err := os.Open(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("the transfer broke off") // and its file is removed
	}
	if err != nil {
		return nil, err
	}
	resp.Body = &follower{f: f, file: file}
	return resp, nil
}

// fetch returns the fetch of a URL, and starts it if there is none.
func (r *Recorder) fetch(req Request) *fetch {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.fetches[req.URL]
	if f == nil {
		f = &fetch{record: Record{URL: req.URL}, clients: map[string]bool{}, ready: make(chan struct{}), length: -1}
		f.grown = sync.NewCond(&f.mu)
		r.fetches[req.URL] = f
		// It goes on if the step that asked first ends.
		r.running.Go(func() { r.run(f, req) })
	}
	f.clients[req.Client] = true
	return f
}

// errStatus is an answer that says nothing about the file.
type errStatus int

func (e errStatus) Error() string {
	return fmt.Sprintf("the server answered %d %s", int(e), http.StatusText(int(e)))
}

func (r *Recorder) run(f *fetch, req Request) {
	err := r.get(f, req)
	if err != nil {
		// The next request tries again. Clients learn of the fault after this.
		r.mu.Lock()
		delete(r.fetches, req.URL)
		r.refused[Unrecorded{req.Client, "GET " + redact.URL(req.URL), err.Error()}] = true
		r.mu.Unlock()
	}
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

// stall is how long a server may send nothing.
const stall = 2 * time.Minute

func (r *Recorder) get(f *fetch, req Request) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	timer := time.AfterFunc(stall, func() { cancel(fmt.Errorf("no data for %v", stall)) })
	defer timer.Stop()
	hreq, err := http.NewRequestWithContext(ctx, http.MethodGet, req.URL, nil)
	if err != nil {
		return errors.New("not a URL")
	}
	// What a client has already, or wants in part, does not matter: the whole file is
	// recorded. The form that it accepts does.
	for _, name := range []string{"Accept", "User-Agent", "Authorization"} {
		if v := req.Header.Get(name); v != "" {
			hreq.Header.Set(name, v)
		}
	}
	hreq.Header.Set("Accept-Encoding", "identity")
	resp, err := r.client.Do(hreq)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer resp.Body.Close()
	f.mu.Lock()
	f.record.Status, f.record.Type = resp.StatusCode, resp.Header.Get("Content-Type")
	if t, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		f.record.Modified = t.UTC()
	}
	f.mu.Unlock()
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusMovedPermanently, code == http.StatusFound, code == http.StatusSeeOther, code == http.StatusTemporaryRedirect, code == http.StatusPermanentRedirect:
		to, err := resp.Location()
		if err != nil {
			return err
		}
		f.record.Location = CleanURL(to)
		return nil
	case code == http.StatusNotFound, code == http.StatusGone, code == http.StatusForbidden:
		return nil
	default:
		return errStatus(code)
	}
	file, err := os.CreateTemp(r.dir, ".new-*")
	if err != nil {
		return err
	}
	defer file.Close()
	f.mu.Lock()
	f.path, f.length = file.Name(), resp.ContentLength
	f.mu.Unlock()
	close(f.ready)
	sum := sha256.New()
	if _, err := io.Copy(&growing{f: f, file: file, sum: sum, timer: timer}, resp.Body); err != nil {
		return causeOf(ctx, err)
	}
	if err := file.Close(); err != nil {
		return err
	}
	d := digest.NewDigest(digest.SHA256, sum)
	path := filepath.Join(r.dir, d.Encoded())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.record.Digest, f.record.Size = d, f.size
	f.path = path
	return os.Rename(file.Name(), path)
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

// forward passes a request on that cannot be recorded.
func (r *Recorder) forward(ctx context.Context, req Request) (*Response, error) {
	hreq, err := http.NewRequestWithContext(ctx, req.Method, req.URL, req.Body)
	if err != nil {
		return nil, errors.New("not a request that can be passed on")
	}
	for name, values := range req.Header {
		switch name {
		case "Proxy-Authorization", "Proxy-Connection", "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		default:
			hreq.Header[name] = values
		}
	}
	if n, err := strconv.ParseInt(req.Header.Get("Content-Length"), 10, 64); err == nil {
		hreq.ContentLength = n
	}
	resp, err := r.client.Do(hreq)
	if err != nil {
		return nil, causeOf(ctx, err)
	}
	return &Response{Status: resp.StatusCode, Location: resp.Header.Get("Location"), Type: resp.Header.Get("Content-Type"), Size: resp.ContentLength, Body: resp.Body}, nil
}

// Refuse implements Source.
func (r *Recorder) Refuse(client, what, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused[Unrecorded{client, what, reason}] = true
}

// Records returns what was recorded, sorted by URL, and the requests that cannot be
// repeated. It must be called when no step runs any more: a client that has all
// announced bytes may have ended before the content is complete here.
func (r *Recorder) Records() ([]Record, []Unrecorded) {
	r.running.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var records []Record
	for _, f := range r.fetches {
		f.mu.Lock()
		if f.done && f.err == nil {
			rec := f.record
			rec.Clients = slices.Sorted(maps.Keys(f.clients))
			records = append(records, rec)
		}
		f.mu.Unlock()
	}
	slices.SortFunc(records, func(a, b Record) int { return cmp.Compare(a.URL, b.URL) })
	var refused []Unrecorded
	for u := range r.refused {
		// A fault that another attempt got over is none.
		if f := r.fetches[trimGet(u.Request)]; f == nil || f.err != nil {
			refused = append(refused, u)
		}
	}
	slices.SortFunc(refused, func(a, b Unrecorded) int {
		return cmp.Or(cmp.Compare(a.Request, b.Request), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Reason, b.Reason))
	})
	return records, refused
}

func trimGet(request string) string {
	if len(request) > 4 && request[:4] == "GET " {
		return request[4:]
	}
	return ""
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
