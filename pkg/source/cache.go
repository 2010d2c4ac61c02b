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
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/ctxio"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// cache stores content by its digest, and notes on the content of locations.
//
//	blobs/HEX        content, read-only
//	checks/HEX.json  the state of a blob when its digest was last computed
//	notes/HEX.json   the content of a location at the last request
//	partial/HEX      an interrupted download, with its validators beside it
//	lock/HEX         locked while a process works on a location
//	tmp/             files being written; moved to blobs when complete
//
// Any file may be removed between runs; it is then fetched again.
type cache struct {
	dir string
	// scratch returns the directory for what has to be written if dir is only read. It is nil
	// if dir is written.
	scratch func() (string, error)

	mu      sync.Mutex
	written string // the directory that is written, "" before the first write
}

// blob is content in the cache.
type blob struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
}

// note describes the content of a location. The location is not stored, because it
// may contain credentials; the name of the note is its digest.
type note struct {
	Blob     blob      `json:"blob"`
	ETag     string    `json:"etag,omitempty"`
	LastMod  string    `json:"last_modified,omitempty"`
	Commit   string    `json:"commit,omitempty"`
	Modified time.Time `json:"modified,omitzero"`
	Checked  time.Time `json:"checked"`           // time of the last request to the server
	Warning  string    `json:"warning,omitempty"` // of the fetch, for those that use its archive
}

// isRecent reports whether the server was asked within maxAge. A time in the future,
// after the clock was set back, is not recent.
func (n note) isRecent(maxAge time.Duration) bool {
	age := time.Since(n.Checked)
	return age >= 0 && age < maxAge
}

// openCache returns the cache in dir. It makes no directory: the first write does.
func openCache(dir string, scratch func() (string, error)) (*cache, error) {
	dir, err := filepath.Abs(dir)
	return &cache{dir: dir, scratch: scratch}, err
}

// toWrite returns the path of a file that will be written. Its directory exists.
func (c *cache) toWrite(sub, name string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written == "" {
		dir, err := c.dir, error(nil)
		if c.scratch != nil {
			dir, err = c.scratch()
		}
		if err == nil {
			err = makeCache(dir)
		}
		if err == nil {
			dir, err = filepath.EvalSymlinks(dir) // git compares directories by their real paths
		}
		if err != nil {
			return "", fmt.Errorf("opening the cache of sources: %w", err)
		}
		c.written = dir
	}
	return filepath.Join(c.written, sub, name), nil
}

// toRead returns the path of a file: the one that was written if there are two.
func (c *cache) toRead(sub, name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written != "" {
		path := filepath.Join(c.written, sub, name)
		if _, err := os.Lstat(path); err == nil || c.scratch == nil {
			return path
		}
	}
	return filepath.Join(c.dir, sub, name)
}

// makeCache makes the directories of a cache, and removes what killed processes left in them.
func makeCache(dir string) error {
	for _, sub := range []string{"blobs", "checks", "notes", "partial", "lock", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	removeOld(filepath.Join(dir, "tmp"), 24*time.Hour)
	removeOld(filepath.Join(dir, "partial"), partialAge)
	return nil
}

// partialAge is how long an interrupted download can be resumed. Its location may never be
// asked for again.
const partialAge = 7 * 24 * time.Hour

// removeOld removes the checkouts and files of processes that were killed. Those of
// others are younger; what cannot be removed stays.
func removeOld(dir string, age time.Duration) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > age {
			_ = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}

// keyOf returns a file name that is derived from the parts.
func keyOf(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

func (c *cache) path(d digest.Digest) string {
	return c.toRead("blobs", d.Encoded())
}

// has reports whether the cache has an undamaged blob with this digest.
func (c *cache) has(ctx context.Context, b blob) bool {
	found, ok := c.find(ctx, b.Digest)
	return ok && found.Size == b.Size
}

// find returns the blob with a digest. A file whose content does not match its name,
// such as a truncated one, is removed.
func (c *cache) find(ctx context.Context, d digest.Digest) (blob, bool) {
	if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return blob{}, false
	}
	path := c.path(d)
	current, err := checkOf(path)
	if err != nil {
		return blob{}, false
	}
	b := blob{Digest: d, Size: current.Size}
	if data, err := inputfile.ReadRegular(c.toRead("checks", checkFile(d)), inputfile.MaxState); err == nil {
		var known check
		if json.Unmarshal(data, &known) == nil && known == current {
			return b, true
		}
	}
	got, err := digestOf(ctx, path)
	if err != nil {
		return blob{}, false
	}
	if got != d {
		if c.scratch == nil {
			os.Remove(path)
		}
		return blob{}, false
	}
	c.writeCheck(d)
	return b, true
}

// check is the state of a file whose digest was computed. Every change of the
// content changes it, so that an unchanged file is not read again.
type check struct {
	Size     int64  `json:"size"`
	Modified int64  `json:"mtime"` // in nanoseconds
	Changed  int64  `json:"ctime"` // in nanoseconds
	Inode    uint64 `json:"inode"`
}

func checkOf(path string) (check, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return check{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return check{}, inputfile.ErrNotRegular
	}
	return check{info.Size(), st.Mtim.Nano(), st.Ctim.Nano(), st.Ino}, nil
}

func checkFile(d digest.Digest) string { return d.Encoded() + ".json" }

// writeCheck records the state of a blob. Errors are ignored: without the record,
// the blob is read again.
func (c *cache) writeCheck(d digest.Digest) {
	if state, err := checkOf(c.path(d)); err == nil {
		if data, err := json.Marshal(state); err == nil {
			_ = c.writeFile("checks", checkFile(d), data)
		}
	}
}

// writeFile writes a small file atomically.
func (c *cache) writeFile(sub, name string, data []byte) error {
	path, err := c.toWrite(sub, name)
	if err != nil {
		return err
	}
	temp, err := c.toWrite("tmp", "")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, data, atomicfile.Options{TempDir: temp})
}

func digestOf(ctx context.Context, path string) (digest.Digest, error) {
	f, err := inputfile.OpenRegular(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return digest.SHA256.FromReader(ctxio.NewReader(ctx, f))
}

// readNote reads a note. A damaged note counts as missing.
func (c *cache) readNote(key string) (note, bool) {
	data, err := inputfile.ReadRegular(c.toRead("notes", key+".json"), inputfile.MaxState)
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
	return c.writeFile("notes", key+".json", append(data, '\n'))
}

// temp makes a temporary file. Its name begins with the prefix.
func (c *cache) temp(prefix string) (*os.File, error) {
	dir, err := c.toWrite("tmp", "")
	if err != nil {
		return nil, err
	}
	return os.CreateTemp(dir, prefix+"-*")
}

// adopt moves a complete file into the cache.
func (c *cache) adopt(ctx context.Context, path string, b blob) error {
	if c.has(ctx, b) {
		return os.Remove(path)
	}
	if err := os.Chmod(path, 0o444); err != nil {
		return err
	}
	final, err := c.toWrite("blobs", b.Digest.Encoded())
	if err == nil {
		err = os.Rename(path, final)
	}
	if err != nil {
		return err
	}
	c.writeCheck(b.Digest)
	return nil
}

// addFile copies a regular file into the cache.
func (c *cache) addFile(ctx context.Context, path string) (blob, error) {
	in, err := inputfile.OpenRegular(path)
	if err != nil {
		return blob{}, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return blob{}, err
	}
	return c.add(ctx, func(w io.Writer) error {
		return copyExactly(w, ctxio.NewReader(ctx, in), info.Size())
	})
}

// add stores the output of write. If write fails, nothing is stored.
func (c *cache) add(ctx context.Context, write func(io.Writer) error) (blob, error) {
	f, err := c.temp("new")
	if err != nil {
		return blob{}, err
	}
	defer os.Remove(f.Name()) // has no effect after adopt
	defer f.Close()
	sum := digest.SHA256.Digester()
	if err := write(io.MultiWriter(f, sum.Hash())); err != nil {
		return blob{}, err
	}
	if err := ctx.Err(); err != nil {
		return blob{}, context.Cause(ctx)
	}
	info, err := f.Stat()
	if err != nil {
		return blob{}, err
	}
	if err := f.Close(); err != nil {
		return blob{}, err
	}
	b := blob{Digest: sum.Digest(), Size: info.Size()}
	return b, c.adopt(ctx, f.Name(), b)
}

// lock keeps other processes and goroutines from working on the same location.
func (c *cache) lock(ctx context.Context, key string) (unlock func(), err error) {
	path, err := c.toWrite("lock", key)
	if err != nil {
		return nil, err
	}
	l, err := filelock.AcquireContext(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	return func() { l.Close() }, nil
}

// copyExactly copies the first size bytes of a file. Bytes that are appended during the
// copy are ignored.
func copyExactly(w io.Writer, r io.Reader, size int64) error {
	n, err := io.Copy(w, io.LimitReader(r, size))
	if err == nil && n != size {
		err = fmt.Errorf("the file became shorter while it was read: %d bytes instead of %d", n, size)
	}
	return err
}
