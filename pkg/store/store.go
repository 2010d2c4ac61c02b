package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Store is an open store. Its methods may be called by several goroutines, and
// several processes may have the same directory open.
type Store struct {
	dir     string
	users   *os.File // holds a shared lock for as long as the store is open
	content content.Store

	mu   sync.Mutex // guards snap and serialises index writers of this process
	snap *snapshot

	// touched holds the digests that this process has written, or has found
	// here and leans on. GC keeps them whether an image refers to them yet
	// or not.
	touchMu sync.Mutex
	touched map[digest.Digest]bool
}

// files that may lie in a store's directory beside those of the layout.
var ours = map[string]bool{
	ocispec.ImageLayoutFile: true, ocispec.ImageIndexFile: true, ocispec.ImageBlobsDir: true,
	"ingest": true, "tmp": true, "lock": true, historyFile: true, "lost+found": true,
}

// Open opens the store in dir, and makes it first if dir is absent or empty.
// Its errors are *OpenError where the directory is at fault. Remains of
// processes that died are removed if no other process has the store open.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	if err := prepare(dir); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, touched: map[digest.Digest]bool{}}
	if err := s.enter(); err != nil {
		return nil, openError(dir, err)
	}
	if err := s.init(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// OpenReadOnly opens a store that this user may not write to, or shall not:
// nothing in its directory is made, removed or changed. Calls that would write
// fail. Where even the lock file cannot be opened, GC by another process is not
// kept from removing what is read here; readers then see a *BlobError.
func OpenReadOnly(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	layout := filepath.Join(dir, ocispec.ImageLayoutFile)
	if _, err := os.Stat(layout); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &OpenError{Path: dir, Problem: ProblemForeign, Detail: "it holds no " + ocispec.ImageLayoutFile, Hint: "nothing has been built into it yet; --data-dir names another data directory"}
		}
		return nil, openError(dir, err)
	}
	s := &Store{dir: dir, touched: map[digest.Digest]bool{}}
	if f, err := os.Open(filepath.Join(dir, "lock", lockUsers)); err == nil {
		if err := flock(f, syscall.LOCK_SH); err != nil {
			f.Close()
			return nil, openError(dir, err)
		}
		s.users = f
	}
	if err := s.initLayout(); err != nil {
		s.Close()
		return nil, err
	}
	if _, err := s.snapshot(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// prepare makes the directories, or says why dir cannot become a store.
func prepare(dir string) error {
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return openError(dir, err)
	case !st.IsDir():
		return &OpenError{Path: dir, Problem: ProblemNotDirectory, Hint: "choose a directory, or remove the file"}
	default:
		if err := checkForeign(dir); err != nil {
			return err
		}
	}
	for _, d := range []string{"blobs/sha256", "ingest", "tmp", "lock"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return openError(dir, err)
		}
	}
	return nil
}

// checkForeign refuses a directory that holds other things, so that a mistyped
// path does not fill somebody's home directory with blobs.
func checkForeign(dir string) error {
	if exists(filepath.Join(dir, ocispec.ImageLayoutFile)) {
		return nil
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return openError(dir, err)
	}
	for _, n := range names {
		if !ours[n.Name()] && !strings.HasPrefix(n.Name(), "."+ocispec.ImageLayoutFile) {
			return &OpenError{
				Path: dir, Problem: ProblemForeign,
				Detail: fmt.Sprintf("it holds %q and no %s", n.Name(), ocispec.ImageLayoutFile),
				Hint:   "choose an empty directory, or one that was made by this tool or is an OCI layout",
			}
		}
	}
	return nil
}

func openError(dir string, err error) error {
	var already *OpenError
	if errors.As(err, &already) {
		return err
	}
	switch {
	case isDenied(err):
		return &OpenError{Path: dir, Problem: ProblemNotWritable, Err: err, Hint: "run as its owner, or choose another data directory with --data-dir"}
	case errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EEXIST):
		return &OpenError{Path: dir, Problem: ProblemNotDirectory, Err: err, Hint: "a part of the path is a file; choose another data directory with --data-dir"}
	}
	return fmt.Errorf("opening store %s: %w", dir, full(dir, 0, err))
}

// init reads the layout's files, and writes them where they are missing.
func (s *Store) init() error {
	unlock, err := s.lock(lockIndex)
	if err != nil {
		return openError(s.dir, err)
	}
	defer unlock()
	if err := s.initLayout(); err != nil {
		return err
	}
	index := filepath.Join(s.dir, ocispec.ImageIndexFile)
	if !exists(index) {
		if err := s.replace(index, []byte(emptyIndex)); err != nil {
			return openError(s.dir, err)
		}
	}
	if _, err := s.snapshot(); err != nil {
		return err
	}
	if s.content, err = newContent(s); err != nil {
		return openError(s.dir, err)
	}
	return nil
}

func (s *Store) initLayout() error {
	path := filepath.Join(s.dir, ocispec.ImageLayoutFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
		if err == nil {
			err = s.replace(path, b)
		}
	}
	if err != nil {
		return openError(s.dir, err)
	}
	var l ocispec.ImageLayout
	if err := json.Unmarshal(b, &l); err != nil {
		return &OpenError{Path: path, Problem: ProblemCorrupt, Err: err,
			Hint: fmt.Sprintf(`it should read {"imageLayoutVersion":"%s"}`, ocispec.ImageLayoutVersion)}
	}
	if major, _, _ := strings.Cut(l.Version, "."); major != "1" {
		return &OpenError{Path: path, Problem: ProblemNewer,
			Detail: fmt.Sprintf("layout version %q, this tool knows %s", l.Version, ocispec.ImageLayoutVersion),
			Hint:   "use the tool that made it, or another directory"}
	}
	return nil
}

// Close gives the store back. Blobs and entries written before are durable
// already; Close lets other processes clean up.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.snap != nil {
		s.snap.file.Close()
		s.snap = nil
	}
	s.mu.Unlock()
	if s.users == nil {
		return nil
	}
	err := s.users.Close()
	s.users = nil
	return err
}

// Dir returns the store's directory as an absolute path.
func (s *Store) Dir() string { return s.dir }

// Free returns the bytes that can still be written to the store's file system.
func (s *Store) Free() uint64 { return free(s.dir) }

// Content returns the blobs as containerd's content store, for a BuildKit
// session: base images are read from it and built ones written to it. Several
// sessions and processes may use it at once. It does not delete. A store that
// was opened to be read has none.
func (s *Store) Content() content.Store { return s.content }

func (s *Store) blobPath(d digest.Digest) string {
	return filepath.Join(s.dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// replace writes a small file so that it is either the old or the new one,
// whatever happens.
func (s *Store) replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Join(s.dir, "tmp"), filepath.Base(path)+".")
	if err != nil {
		return full(s.dir, int64(len(b)), err)
	}
	tmp := f.Name()
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return full(s.dir, int64(len(b)), err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some file systems cannot sync directories and need not.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

var quiet sync.Mutex

// newLocal opens containerd's content store. It warns on its global log if the
// file system has no fs-verity, which few have and nobody here asked for.
func newLocal(dir string) (content.Store, error) {
	quiet.Lock()
	defer quiet.Unlock()
	if level := log.GetLevel(); level >= log.WarnLevel {
		if err := log.SetLevel(log.ErrorLevel.String()); err == nil {
			defer func() { _ = log.SetLevel(level.String()) }()
		}
	}
	return local.NewStore(dir)
}
