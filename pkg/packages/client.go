package packages

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/httpget"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/retry"
)

// Client reads the indexes of repositories and caches them in CacheDir: a server sends
// a file again only if it changed. A Client queries each repository once. It is safe
// for concurrent use.
//
// Signatures are not verified: a Client only finds out whether a repository changed.
// The package manager verifies signatures when it installs packages.
type Client struct {
	CacheDir  string // "" disables the cache
	UserAgent string
	Timeout   time.Duration // longest time without a byte; 0 means one minute
	Retries   int           // after transient faults

	// HTTP replaces the default HTTP client if it is not nil.
	HTTP *http.Client

	mu      sync.Mutex
	indexes map[string]*shared[*Index]
}

// RepositoryError is the error of a repository that cannot be read.
type RepositoryError struct {
	Repository string // without credentials
	Err        error
}

// Error implements error.
func (e *RepositoryError) Error() string {
	return fmt.Sprintf("reading repository %s: %v", e.Repository, e.Err)
}

// Unwrap returns the cause.
func (e *RepositoryError) Unwrap() error { return e.Err }

// Limits for downloads, in bytes. Real files have a tenth at most.
const (
	maxIndex    = 64 << 20  // InRelease, repomd.xml, mirror lists
	maxList     = 512 << 20 // Packages or primary.xml, compressed
	maxExpanded = 4 << 30   // the same, decompressed
)

// maxElapsed limits the time for a file, retries included.
const maxElapsed = 10 * time.Minute

// cacheEntry describes a cached file.
type cacheEntry struct {
	URL string `json:"url"` // without credentials
	httpget.Validators
	SHA256 string `json:"sha256"`
}

func (c *Client) http() *httpget.Client {
	return &httpget.Client{HTTP: c.HTTP, UserAgent: c.UserAgent, Stall: c.Timeout,
		Retry: retry.Policy{Retries: c.Retries, MaxElapsed: maxElapsed, BaseDelay: time.Second}}
}

// get returns the file at a URL. If it is cached, the server is asked whether it
// changed.
func (c *Client) get(ctx context.Context, location string) ([]byte, error) {
	base := filepath.Join(c.CacheDir, fmt.Sprintf("%x", sha256.Sum256([]byte(location))))
	var entry cacheEntry
	var body []byte
	if c.CacheDir != "" {
		data, err := inputfile.ReadRegular(base+".json", inputfile.MaxState)
		if err == nil && json.Unmarshal(data, &entry) == nil {
			if body, err = inputfile.ReadRegular(base+".data", maxIndex); err != nil || hexSum(body) != entry.SHA256 {
				entry, body = cacheEntry{}, nil
			}
		}
	}
	resp, err := c.http().Get(ctx, location, entry.Validators, maxIndex)
	if err != nil {
		return nil, err
	}
	if resp.NotModified {
		touch(base + ".data")
		touch(base + ".json")
		return body, nil
	}
	if c.CacheDir != "" {
		entry = cacheEntry{URL: redact.URL(location), Validators: resp.Validators, SHA256: hexSum(resp.Body)}
		if data, err := json.Marshal(entry); err == nil {
			// A pair that does not match is ignored; see above.
			writeCacheFile(base+".data", resp.Body)
			writeCacheFile(base+".json", data)
		}
	}
	return resp.Body, nil
}

// getHashed returns the file at a URL, which must have a SHA-256 digest. A cached file
// with that digest is used, even if it came from another URL.
func (c *Client) getHashed(ctx context.Context, location, sum string) ([]byte, error) {
	file := filepath.Join(c.CacheDir, "sha256-"+sum+".data")
	if c.CacheDir != "" {
		if body, err := inputfile.ReadRegular(file, maxList); err == nil && hexSum(body) == sum {
			touch(file)
			return body, nil
		}
	}
	resp, err := c.http().Get(ctx, location, httpget.Validators{}, maxList)
	if err != nil {
		return nil, err
	}
	if got := hexSum(resp.Body); got != sum {
		return nil, fmt.Errorf(
			"%s has digest %.12s…, its index has %.12s…: the repository is being updated, or a mirror is out of date",
			redact.URL(location), got, sum)
	}
	if c.CacheDir != "" {
		writeCacheFile(file, resp.Body)
	}
	return resp.Body, nil
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// touch marks a cache entry as used, for Prune.
func touch(file string) {
	now := time.Now()
	_ = os.Chtimes(file, now, now)
}

// writeCacheFile writes to the cache. Errors are ignored: a file that is not cached is
// downloaded again.
func writeCacheFile(file string, data []byte) {
	if os.MkdirAll(filepath.Dir(file), 0o755) == nil {
		_ = atomicfile.WriteFile(file, data, atomicfile.Options{})
	}
}

// isNotFound reports whether a server answered that it does not have a file.
func isNotFound(err error) bool { return errors.Is(err, httpget.ErrNotFound) }
