package packages

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Client reads the indexes of repositories. What a server said is kept in
// CacheDir and asked for again only if it changed. Within one Client each
// repository is asked once. It is safe for concurrent use.
//
// Signatures are not checked: a Client finds out whether a repository moved,
// and the package manager that then installs from it checks what it trusts.
type Client struct {
	CacheDir  string
	UserAgent string
	Timeout   time.Duration // without an answer, 0 for a minute
	Retries   int           // after passing faults

	// HTTP is used if it is not nil.
	HTTP *http.Client

	mu      sync.Mutex
	indexes map[string]*indexOnce
}

// RepositoryError is a repository that could not be read.
type RepositoryError struct {
	Repository string // for people
	Err        error
}

func (e *RepositoryError) Error() string {
	return fmt.Sprintf("repository %s cannot be read: %v", e.Repository, e.Err)
}

func (e *RepositoryError) Unwrap() error { return e.Err }

// errAbsent is what a server does not have.
var errAbsent = errors.New("the server does not have it")

// Bounds of what is fetched, in bytes; real ones are a tenth at most.
const (
	maxIndex = 64 << 20  // InRelease, repomd.xml, mirror lists
	maxList  = 512 << 20 // Packages, primary.xml, compressed
	maxPlain = 4 << 30   // the same, decompressed
)

// cached is what is kept of an answer, beside its body.
type cached struct {
	URL          string `json:"url"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	SHA256       string `json:"sha256"`
}

// get returns what is at a URL. If it was fetched before, the server is asked
// whether it changed.
func (c *Client) get(ctx context.Context, at string) ([]byte, error) {
	base := filepath.Join(c.CacheDir, fmt.Sprintf("%x", sha256.Sum256([]byte(at))))
	var have cached
	var body []byte
	if c.CacheDir != "" {
		if data, err := os.ReadFile(base + ".json"); err == nil && json.Unmarshal(data, &have) == nil {
			if body, err = os.ReadFile(base + ".data"); err != nil || hexSum(body) != have.SHA256 {
				have, body = cached{}, nil
			}
		}
	}
	got, next, err := c.retry(ctx, at, have, maxIndex)
	if err != nil {
		return nil, err
	}
	if got == nil { // not modified
		now := time.Now()
		_ = os.Chtimes(base+".data", now, now)
		_ = os.Chtimes(base+".json", now, now)
		return body, nil
	}
	if c.CacheDir != "" {
		next.SHA256 = hexSum(got)
		if data, err := json.Marshal(next); err == nil {
			// A pair that does not match is not used; see above.
			replace(base+".data", got)
			replace(base+".json", data)
		}
	}
	return got, nil
}

// getHashed returns what is at a URL and has a SHA-256 digest. It is not asked
// for if it was fetched before, from wherever.
func (c *Client) getHashed(ctx context.Context, at, sum string) ([]byte, error) {
	file := filepath.Join(c.CacheDir, "sha256-"+sum+".data")
	if c.CacheDir != "" {
		if body, err := os.ReadFile(file); err == nil && hexSum(body) == sum {
			now := time.Now()
			_ = os.Chtimes(file, now, now)
			return body, nil
		}
	}
	body, _, err := c.retry(ctx, at, cached{}, maxList)
	if err != nil {
		return nil, err
	}
	if got := hexSum(body); got != sum {
		return nil, fmt.Errorf("%s has digest %.12s…, and the index says %.12s…: the repository is being changed, or a mirror is behind", withoutUser(at), got, sum)
	}
	if c.CacheDir != "" {
		replace(file, body)
	}
	return body, nil
}

// retry tries a request again after passing faults.
func (c *Client) retry(ctx context.Context, at string, have cached, limit int64) ([]byte, cached, error) {
	for attempt := 0; ; attempt++ {
		body, next, again, err := c.once(ctx, at, have, limit)
		if err == nil || !again || attempt >= c.Retries || ctx.Err() != nil {
			return body, next, err
		}
		select {
		case <-time.After(time.Second << min(attempt, 5) / 2):
		case <-ctx.Done():
			return nil, next, ctx.Err()
		}
	}
}

// once makes one request; again says that another might do better. Its body is
// nil if what is there is what was had.
func (c *Client) once(ctx context.Context, at string, have cached, limit int64) (body []byte, next cached, again bool, err error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, next, false, fmt.Errorf("%s: only http and https are read", withoutUser(at))
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(timeout, func() { cancel(fmt.Errorf("no answer within %v", timeout)) })
	defer idle.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, next, false, err
	}
	if c.UserAgent != "" {
		req.Header.Set("User-Agent", c.UserAgent)
	}
	if have.ETag != "" {
		req.Header.Set("If-None-Match", have.ETag)
	} else if have.LastModified != "" {
		req.Header.Set("If-Modified-Since", have.LastModified)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, next, true, plainError(ctx, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode == http.StatusNotModified && have.SHA256 != "":
		return nil, have, false, nil
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusGone, resp.StatusCode == http.StatusForbidden:
		// Object stores answer 403 for what is not there.
		return nil, next, false, errAbsent
	default:
		return nil, next, resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500, fmt.Errorf("it answers %s", resp.Status)
	}
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(&touching{resp.Body, func() { idle.Reset(timeout) }}, limit+1))
	if err != nil {
		return nil, next, true, plainError(ctx, err)
	}
	if n > limit {
		return nil, next, false, fmt.Errorf("%s is larger than %d bytes", withoutUser(at), limit)
	}
	next = cached{URL: withoutUser(at), ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified")}
	return append([]byte{}, b.Bytes()...), next, false, nil
}

// plainError is what went wrong without the URL, which may hold a password.
func plainError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// touching tells that bytes come.
type touching struct {
	r    io.Reader
	tell func()
}

func (t *touching) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n > 0 {
		t.tell()
	}
	return n, err
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// replace writes a file of a cache whole or not at all. What cannot be written
// is fetched again another time.
func replace(file string, data []byte) {
	if os.MkdirAll(filepath.Dir(file), 0o755) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil && cerr == nil && os.Rename(f.Name(), file) == nil {
		return
	}
	_ = os.Remove(f.Name())
}

// withoutUser takes user and password out of a URL, for people and files.
func withoutUser(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		// What cannot be read may hold a password all the same.
		if i, at := strings.Index(s, "://"), strings.LastIndexByte(s, '@'); i >= 0 && at > i {
			return s[:i+3] + s[at+1:]
		}
		return s
	}
	if u.User == nil {
		return s
	}
	u.User = nil
	return u.String()
}
