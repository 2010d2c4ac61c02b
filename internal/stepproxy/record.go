package stepproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/redact"
)

// Limits of what the recorder keeps.
const (
	// maxFile is the size of the largest file that is recorded, in bytes.
	maxFile = 16 << 30

	maxFetches = 200_000 // about 1 KiB of memory each
	maxRefused = 10_000
)

// Record is the answer of a URL.
type Record struct {
	URL      string
	Status   int // 200, a redirect, or a status for a file that does not exist
	Location string
	Type     string
	Encoding string // Content-Encoding of a server that sends no other form
	Modified time.Time
	Digest   digest.Digest // of the content, for status 200
	Size     int64
	Clients  []string // sorted
}

// Unrecorded is a request that cannot be repeated from records.
type Unrecorded struct{ Client, Request, Reason string }

// Recorder answers requests from the network and keeps what they return. Each distinct
// request is sent once, so that all steps see the same content.
type Recorder struct {
	ctx     context.Context //nolint:containedctx // a fetch may outlive the request that began it
	dir     string          // of the contents, by digest
	client  *http.Client
	maxFile int64

	running sync.WaitGroup

	mu      sync.Mutex
	fetches map[variant]*fetch
	refused map[Unrecorded]bool
}

// variant is a URL with the request headers that may change the answer.
type variant struct{ url, accept, authorization string }

func variantOf(req Request) variant {
	return variant{req.URL, req.Header.Get("Accept"), req.Header.Get("Authorization")}
}

// NewRecorder returns a recorder that keeps contents in a directory, in files that
// are named after their sha256, until ctx ends. client is used for requests; it must not
// follow redirects.
func NewRecorder(ctx context.Context, dir string, client *http.Client) (*Recorder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("recording what steps fetch: %w", err)
	}
	removeTemporary(dir)
	return &Recorder{
		ctx:     ctx,
		dir:     dir,
		client:  client,
		maxFile: maxFile,
		fetches: map[variant]*fetch{},
		refused: map[Unrecorded]bool{},
	}, nil
}

// removeTemporary removes the files of recorders that were killed. Those of other recorders
// are written to; what cannot be removed stays.
func removeTemporary(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), temporary) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// Answer implements Source.
func (r *Recorder) Answer(ctx context.Context, req Request) (*Response, error) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		r.Refuse(req.Client, req.Method+" "+redact.URL(req.URL), "only GET can be repeated")
		return r.forward(ctx, req)
	}
	f, err := r.fetch(req)
	if err != nil {
		r.Refuse(req.Client, "GET "+redact.URL(req.URL), err.Error())
		return nil, err
	}
	select {
	case <-f.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return f.response()
}

// fetch returns the fetch of a request, and starts it if it is the first of its kind.
func (r *Recorder) fetch(req Request) (*fetch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := variantOf(req)
	f := r.fetches[v]
	if f == nil {
		if len(r.fetches) >= maxFetches {
			return nil, fmt.Errorf("more than %d files were requested", maxFetches)
		}
		f = newFetch(req.URL)
		r.fetches[v] = f
		// It goes on if the step that requested it first ends.
		r.running.Go(func() { r.run(f, req) })
	}
	f.clients[req.Client] = true
	return f, nil
}

// run fetches the file of a request.
func (r *Recorder) run(f *fetch, req Request) {
	err := f.get(r.ctx, r.client, r.dir, r.maxFile, req)
	if err != nil {
		// The next request tries again. Clients see the error after this.
		r.mu.Lock()
		delete(r.fetches, variantOf(req))
		r.mu.Unlock()
		r.Refuse(req.Client, "GET "+redact.URL(req.URL), err.Error())
	}
	f.end(err)
}

// forward passes on a request that cannot be recorded.
func (r *Recorder) forward(ctx context.Context, req Request) (*Response, error) {
	hreq, err := http.NewRequestWithContext(ctx, req.Method, req.URL, req.Body)
	if err != nil {
		return nil, errors.New("not a request that can be passed on")
	}
	for name, values := range req.Header {
		switch name {
		case "Proxy-Authorization", "Proxy-Connection", "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding",
			"Upgrade":
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
	body := struct {
		io.Reader
		io.Closer
	}{&limited{r: resp.Body, limit: r.maxFile}, resp.Body}
	return &Response{Status: resp.StatusCode, Location: resp.Header.Get("Location"), Type: resp.Header.Get("Content-Type"),
		Encoding: resp.Header.Get("Content-Encoding"), Size: resp.ContentLength, Body: body}, nil
}

// Refuse implements Source.
func (r *Recorder) Refuse(client, request, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	note(r.refused, Unrecorded{client, request, reason})
}

// note adds a request to a list whose length is bounded.
func note(list map[Unrecorded]bool, u Unrecorded) {
	if len(list) < maxRefused {
		list[u] = true
	}
}

// Records returns what was recorded, sorted by URL, and the requests that cannot be
// repeated. It must be called when no step runs any more: a client that has all
// announced bytes may have ended before the content is complete here.
func (r *Recorder) Records() ([]Record, []Unrecorded) {
	r.running.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var records []Record
	positions := map[string]int{} // position in records
	for _, v := range slices.SortedFunc(maps.Keys(r.fetches), r.compare) {
		f := r.fetches[v]
		if !f.done || f.err != nil { // they no longer change
			continue
		}
		i, seen := positions[v.url]
		switch {
		case !seen:
			positions[v.url] = len(records)
			rec := f.record
			rec.Clients = slices.Sorted(maps.Keys(f.clients))
			records = append(records, rec)
		case sameContent(records[i], f.record):
			for c := range f.clients {
				records[i].Clients = append(records[i].Clients, c)
			}
			slices.Sort(records[i].Clients)
			records[i].Clients = slices.Compact(records[i].Clients)
		default:
			for c := range f.clients {
				note(r.refused, Unrecorded{c, "GET " + redact.URL(v.url), otherVariant})
			}
		}
	}
	var refused []Unrecorded
	for u := range r.refused {
		// An error is irrelevant if the request succeeded later.
		if _, ok := positions[trimGet(u.Request)]; !ok || u.Reason == otherVariant {
			refused = append(refused, u)
		}
	}
	slices.SortFunc(refused, func(a, b Unrecorded) int {
		return cmp.Or(cmp.Compare(a.Request, b.Request), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Reason, b.Reason))
	})
	return records, refused
}

const otherVariant = "the answer depends on the header Accept or Authorization; the answer to another request is " +
	"recorded"

// compare orders requests for one URL: those that got the file first, then those without
// credentials.
func (r *Recorder) compare(a, b variant) int {
	failed := func(v variant) int {
		if r.fetches[v].record.Status == http.StatusOK {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.url, b.url), cmp.Compare(failed(a), failed(b)),
		cmp.Compare(a.authorization, b.authorization), cmp.Compare(a.accept, b.accept))
}

func sameContent(a, b Record) bool {
	return a.Status == b.Status && a.Location == b.Location && a.Digest == b.Digest && a.Encoding == b.Encoding
}

func trimGet(request string) string {
	if len(request) > 4 && request[:4] == "GET " {
		return request[4:]
	}
	return ""
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
