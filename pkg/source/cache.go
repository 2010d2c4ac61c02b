package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cache keeps content by its digest, and notes on what names which content.
//
//	blobs/HEX        content, read-only
//	notes/HEX.json   what a location named when it was last asked
//	partial/HEX      a download that broke off, with its note beside it
//	lock/HEX         locked while one process works on a location
//	tmp/             files being written; moved to blobs when whole
//
// Nothing in it is needed: any file may be removed at any time between runs.
type cache struct{ dir string }

// blob is a piece of content in the cache.
type blob struct {
	Digest string `json:"digest"` // "sha256:HEX"
	Size   int64  `json:"size"`
}

func (b blob) hex() string { return strings.TrimPrefix(b.Digest, "sha256:") }

// note says what a location named. Locations are not stored: they may hold
// credentials, and the note's name is their digest.
type note struct {
	Blob     blob      `json:"blob"`
	ETag     string    `json:"etag,omitempty"`
	LastMod  string    `json:"last_modified,omitempty"`
	Commit   string    `json:"commit,omitempty"`
	Modified time.Time `json:"modified,omitzero"`
	Checked  time.Time `json:"checked"` // when its source was last asked
}

func openCache(dir string) (*cache, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{"blobs", "notes", "partial", "lock", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	// git compares directories by their real names.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	return &cache{dir: dir}, nil
}

// keyOf makes a file name of what identifies something.
func keyOf(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

func (c *cache) path(digest string) string {
	return filepath.Join(c.dir, "blobs", strings.TrimPrefix(digest, "sha256:"))
}

// has reports whether a blob is there, whole by its size.
func (c *cache) has(b blob) bool {
	info, err := os.Stat(c.path(b.Digest))
	return b.Digest != "" && err == nil && info.Mode().IsRegular() && info.Size() == b.Size
}

// find looks a blob up by its digest alone.
func (c *cache) find(hexDigest string) (blob, bool) {
	b := blob{Digest: "sha256:" + strings.ToLower(hexDigest)}
	info, err := os.Stat(c.path(b.Digest))
	if err != nil || !info.Mode().IsRegular() {
		return blob{}, false
	}
	b.Size = info.Size()
	return b, true
}

// readNote reads a note. A damaged one counts as none.
func (c *cache) readNote(key string) (note, bool) {
	data, err := os.ReadFile(filepath.Join(c.dir, "notes", key+".json"))
	if err != nil {
		return note{}, false
	}
	var n note
	if json.Unmarshal(data, &n) != nil {
		return note{}, false
	}
	return n, true
}

func (c *cache) writeNote(key string, n note) error {
	n.Checked = time.Now().UTC().Truncate(time.Second)
	data, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	f, err := c.temp()
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(append(data, '\n')); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(c.dir, "notes", key+".json"))
}

func (c *cache) temp() (*os.File, error) { return os.CreateTemp(filepath.Join(c.dir, "tmp"), "new-*") }

// adopt makes a written file a blob. The file is gone from its place after it.
func (c *cache) adopt(path string, b blob) error {
	if c.has(b) {
		return os.Remove(path)
	}
	if err := os.Chmod(path, 0o444); err != nil {
		return err
	}
	return os.Rename(path, c.path(b.Digest))
}

// addFile copies a file into the cache.
func (c *cache) addFile(ctx context.Context, path string) (blob, error) {
	in, err := os.Open(path)
	if err != nil {
		return blob{}, err
	}
	defer in.Close()
	return c.add(ctx, func(w io.Writer) error {
		_, err := io.Copy(w, &ctxReader{ctx, in})
		return err
	})
}

// add writes a blob. What write leaves unfinished leaves nothing.
func (c *cache) add(ctx context.Context, write func(io.Writer) error) (blob, error) {
	f, err := c.temp()
	if err != nil {
		return blob{}, err
	}
	defer os.Remove(f.Name()) // does nothing once it is adopted
	defer f.Close()
	sum := sha256.New()
	n := &counter{}
	if err := write(io.MultiWriter(f, sum, n)); err != nil {
		return blob{}, err
	}
	if err := ctx.Err(); err != nil {
		return blob{}, context.Cause(ctx)
	}
	if err := f.Close(); err != nil {
		return blob{}, err
	}
	b := blob{Digest: fmt.Sprintf("sha256:%x", sum.Sum(nil)), Size: n.n}
	return b, c.adopt(f.Name(), b)
}

// fresh reports whether a note is young enough to be taken as it is. One from the
// future (the clock was set back) is not.
func (n note) fresh(maxAge time.Duration) bool {
	age := time.Since(n.Checked)
	return age >= 0 && age < maxAge
}

// lock keeps other processes, and other goroutines, from working on the same
// location. The system releases it when the process ends.
func (c *cache) lock(ctx context.Context, key string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(c.dir, "lock", key), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// ctxReader ends a copy with its context.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

func sameDigest(hexDigest, digest string) bool {
	return strings.EqualFold(strings.TrimPrefix(hexDigest, "sha256:"), strings.TrimPrefix(digest, "sha256:"))
}
