package inputs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ctxio"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/stepproxy"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/lock"
)

// dirLockFile is locked by fetch, and shared by builds that use the directory.
const dirLockFile = ".lock"

// Dir is an open directory of inputs. It is safe for concurrent use.
type Dir struct {
	path string
	root *os.Root
	held *os.File // its shared lock; nil if it has none
	lock *lock.Lock

	items   []item
	records map[string]stepproxy.Record // by URL
	paths   map[string]string           // by URL

	mu       sync.Mutex
	verified map[string]bool // by path
}

// Open opens a directory and reads its lock. It must be closed.
func Open(dir string) (*Dir, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, usererr.Errorf("kolla-build fetch --output DIR makes one", "inputs: %w", err)
		}
		if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
			err = &os.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR} // the error of OpenRoot cannot be recognized
		}
		return nil, usererr.Errorf("kolla-build fetch --output DIR makes one", "opening the inputs: %w", err)
	}
	d := &Dir{path: dir, root: root, records: map[string]stepproxy.Record{}, paths: map[string]string{},
		verified: map[string]bool{}}
	if err := d.hold(); err != nil {
		root.Close()
		return nil, err
	}
	if err := d.read(); err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

// hold keeps fetch from changing the directory. One without a lock file, which may be on a
// read-only medium, is used without a lock, and so is one on a file system without locks.
func (d *Dir) hold() error {
	f, err := openIn(d.root, dirLockFile)
	if err != nil {
		return nil //nolint:nilerr // the lock is a precaution
	}
	var held *filelock.HeldError
	if err := filelock.Of(f).TryRLock(); errors.As(err, &held) {
		f.Close()
		return usererr.Errorf("kolla-build fetch is writing to it: repeat the command when it has ended",
			"opening the inputs: %w", err)
	}
	d.held = f
	return nil
}

func (d *Dir) read() error {
	f, err := openIn(d.root, lock.FileName)
	if errors.Is(err, os.ErrNotExist) {
		return usererr.Errorf("kolla-build fetch --output DIR makes one", "%s is not a directory of inputs: it has no %s",
			d.path, lock.FileName)
	}
	if err != nil {
		return fmt.Errorf("opening the inputs: %w", err)
	}
	defer f.Close()
	if d.lock, err = lock.ReadFile(f, filepath.Join(d.path, lock.FileName)); err != nil {
		return err
	}
	d.items = itemsOf(d.lock)
	for i, f := range d.lock.Files { // items begin with them
		d.records[f.URL] = stepproxy.Record{URL: f.URL, Status: 200, Type: f.Type, Encoding: f.Encoding,
			Modified: f.Modified, Digest: f.Digest, Size: f.Size}
		d.paths[f.URL] = d.items[i].path
	}
	for _, r := range d.lock.Redirect {
		d.records[r.URL] = stepproxy.Record{URL: r.URL, Status: r.Status, Location: r.To}
	}
	for _, a := range d.lock.Absent {
		d.records[a.URL] = stepproxy.Record{URL: a.URL, Status: a.Status}
	}
	return nil
}

// openIn opens a regular file below a root.
func openIn(root *os.Root, path string) (*os.File, error) {
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close closes the directory.
func (d *Dir) Close() error {
	if d.held != nil {
		d.held.Close()
	}
	return d.root.Close()
}

// Lock returns the lock of the directory.
func (d *Dir) Lock() *lock.Lock { return d.lock }

// MissingError lists inputs that images need and the directory does not have.
type MissingError struct {
	Dir   string
	Files []string // each with the images that need it
}

// Error implements error.
func (e *MissingError) Error() string {
	const shown = 10
	files := e.Files
	suffix := ""
	if len(files) > shown {
		files, suffix = files[:shown], fmt.Sprintf("\n  and %d more", len(files)-shown)
	}
	return fmt.Sprintf("%s of %s cannot be used:\n  %s%s", units.Count(len(e.Files), "input"), e.Dir,
		strings.Join(files, "\n  "), suffix)
}

// adviceIncomplete is the hint for a directory that lacks inputs.
const adviceIncomplete = "repeat kolla-build fetch, which fetches missing files, or copy the directory again"

// Hint returns a hint for the user.
func (e *MissingError) Hint() string { return adviceIncomplete }

// Check returns a *MissingError if inputs of the images are missing or have another
// size. Contents are verified when they are used.
func (d *Dir) Check(images []string) error {
	var files []string
	for _, it := range d.items {
		if !neededBy(it.images, images) {
			continue
		}
		problem := ""
		info, err := d.root.Stat(it.path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			problem = "missing"
		case err != nil:
			problem = usererr.FirstLine(err)
		case !info.Mode().IsRegular():
			problem = "not a regular file"
		case info.Size() != it.size:
			problem = fmt.Sprintf("%d bytes instead of %d", info.Size(), it.size)
		default:
			continue
		}
		neededFor := ""
		if len(it.images) > 0 {
			neededFor = ", for " + strings.Join(it.images, ", ")
		}
		files = append(files, fmt.Sprintf("%s: %s (%s%s)", it.description, problem, it.path, neededFor))
	}
	if len(files) > 0 {
		return &MissingError{Dir: d.path, Files: files}
	}
	return nil
}

func neededBy(users, images []string) bool {
	return len(users) == 0 || slices.ContainsFunc(users, func(im string) bool { return slices.Contains(images, im) })
}

// LookUp returns the record of a URL in the lock.
func (d *Dir) LookUp(url string) (stepproxy.Record, bool) {
	rec, ok := d.records[url]
	return rec, ok
}

// OpenRecord opens the content of a record, which is verified.
func (d *Dir) OpenRecord(rec stepproxy.Record) (io.ReadCloser, error) {
	return d.open(d.paths[rec.URL], rec.Digest, rec.Size)
}

// Source returns the path of the archive of a source, which is verified.
func (d *Dir) Source(section, kind, location, reference string) (string, lock.Source, bool, error) {
	s, ok := d.lock.FindSource(section, kind, location, reference)
	if !ok {
		return "", s, false, nil
	}
	for i, locked := range d.lock.Sources {
		if locked.Section == section && locked.Type == kind && locked.Location == location && locked.Reference == reference {
			it := d.items[len(d.lock.Files)+i]
			f, err := d.open(it.path, it.digest, it.size)
			if err != nil {
				return "", s, true, err
			}
			defer f.Close()
			return f.Name(), s, true, nil
		}
	}
	return "", s, false, nil
}

// open opens a file and verifies its digest once during the life of d.
func (d *Dir) open(path string, want digest.Digest, size int64) (*os.File, error) {
	f, err := openIn(d.root, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(d.path, path), inputfile.WithoutPath(err))
	}
	d.mu.Lock()
	done := d.verified[path]
	d.mu.Unlock()
	if done {
		return f, nil
	}
	if err := verify(context.Background(), f, want, size); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", filepath.Join(d.path, path), err)
	}
	d.mu.Lock()
	d.verified[path] = true
	d.mu.Unlock()
	return f, nil
}

// verify compares the content of an open file with a digest, and seeks to its
// beginning.
func verify(ctx context.Context, f *os.File, want digest.Digest, size int64) error {
	sum := digest.SHA256.Digester()
	n, err := io.Copy(sum.Hash(), io.LimitReader(ctxio.NewReader(ctx, f), size+1))
	switch {
	case err != nil:
		return inputfile.WithoutPath(err)
	case n > size:
		return fmt.Errorf("longer than the %d bytes of the lock", size)
	case n < size:
		return fmt.Errorf("%d bytes instead of the %d of the lock", n, size)
	case sum.Digest() != want:
		return fmt.Errorf("its digest is %s, the lock has %s", sum.Digest(), want)
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
