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
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/usererr"
)

// Store is an open store. It is safe for concurrent use, and several processes
// may have the same directory open.
type Store struct {
	dir      string
	readOnly bool
	users    *filelock.Lock // shared for as long as the store is open
	content  content.Store
	swept    Temporary // when the store was opened

	mu   sync.Mutex // guards snap and serialises index writers of this process
	snap *snapshot

	// touched holds the digests that this process has written or found. GC
	// keeps them whether or not an image refers to them yet.
	touchMu sync.Mutex
	touched map[digest.Digest]bool

	formsMu      sync.Mutex
	forms        compressedForms // nil before the first look
	formsChanged bool

	verifiedMu    sync.Mutex
	verified      map[digest.Digest]stamp // on the disk; nil before the first look
	newlyVerified map[digest.Digest]stamp // by this process
	settled       time.Duration           // the constant, except in tests
}

// ownNames are the names that a store's directory may contain.
var ownNames = map[string]bool{
	ocispec.ImageLayoutFile: true, ocispec.ImageIndexFile: true, ocispec.ImageBlobsDir: true,
	"ingest": true, "tmp": true, "lock": true, historyFile: true, compressedFile: true, verifiedFile: true,
	exportedDir: true, "lost+found": true,
}

// Open opens the store in dir, and creates it if dir does not exist or is empty.
// If the directory is at fault, the error is an *OpenError. Temporary files of
// processes that were killed are removed if no other process has the store open.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	if err := prepare(dir); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, touched: map[digest.Digest]bool{}, settled: settled}
	if err := s.enter(); err != nil {
		return nil, openError(dir, err)
	}
	if err := s.init(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// OpenReadOnly opens an existing store without changing its directory, for users
// without write permission. Methods that write return errors. If the lock file cannot
// be opened, another process's GC may remove blobs that are being read; the reader then
// gets a *BlobError.
func OpenReadOnly(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	layout := filepath.Join(dir, ocispec.ImageLayoutFile)
	if _, err := os.Stat(layout); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &OpenError{Path: dir, Problem: ProblemMissing,
				Advice: "build, load or bootstrap images first, or name another data directory with --data-dir"}
		}
		return nil, openError(dir, err)
	}
	s := &Store{dir: dir, readOnly: true, touched: map[digest.Digest]bool{}, settled: settled}
	if l, err := filelock.OpenExisting(filepath.Join(dir, "lock", lockUsers)); err == nil {
		if err := l.RLock(); err != nil {
			l.Close()
			return nil, openError(dir, err)
		}
		s.users = l
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

// Exists reports whether dir contains a store.
func Exists(dir string) bool { return exists(filepath.Join(dir, ocispec.ImageLayoutFile)) }

// errReadOnly is the error of methods that write to a store that was opened by
// OpenReadOnly.
var errReadOnly = errors.New("the store is open for reading only")

// prepare creates the directories, or returns why dir cannot be a store.
func prepare(dir string) error {
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return openError(dir, err)
	case !st.IsDir():
		return &OpenError{Path: dir, Problem: ProblemNotDirectory, Advice: "choose a directory, or remove the file"}
	default:
		if err := checkForeign(dir); err != nil {
			return err
		}
	}
	for _, d := range []string{"blobs/sha256", "ingest", "tmp", "lock"} {
		if err := atomicfile.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return openError(dir, err)
		}
	}
	return nil
}

// checkForeign rejects a directory with other content, so that a mistyped path does not
// fill a home directory with blobs.
func checkForeign(dir string) error {
	if exists(filepath.Join(dir, ocispec.ImageLayoutFile)) {
		return nil
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return openError(dir, err)
	}
	for _, n := range names {
		if !ownNames[n.Name()] && !strings.HasPrefix(n.Name(), "."+ocispec.ImageLayoutFile) {
			return &OpenError{
				Path: dir, Problem: ProblemForeign,
				Detail: fmt.Sprintf("it contains %q and no %s", n.Name(), ocispec.ImageLayoutFile),
				Advice: "choose an empty directory, a store or an OCI layout",
			}
		}
	}
	return nil
}

func openError(dir string, err error) error {
	var opened *OpenError
	if errors.As(err, &opened) {
		return err
	}
	switch {
	case isDenied(err):
		return &OpenError{Path: dir, Problem: ProblemNotWritable, Err: err,
			Advice: "run as its owner, or choose another data directory with --data-dir"}
	case errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EEXIST):
		return &OpenError{Path: dir, Problem: ProblemNotDirectory, Err: err,
			Advice: "a part of the path is a file; choose another data directory with --data-dir"}
	}
	return withDirHint(fmt.Errorf("opening store %s: %w", dir, noSpace(dir, 0, err)))
}

// withDirHint adds a hint to the error of a store's directory that cannot be made, unless it has
// one.
func withDirHint(err error) error {
	if usererr.Hint(err) != "" {
		return err
	}
	return usererr.WithHint(err, "choose a data directory that can be created with --data-dir")
}

// init reads the layout's files, and writes those that do not exist.
func (s *Store) init() error {
	lock, err := s.lock(lockIndex)
	if err != nil {
		return openError(s.dir, err)
	}
	defer lock.Close()
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
	b, err := inputfile.ReadRegular(path, inputfile.MaxState)
	if errors.Is(err, fs.ErrNotExist) && !s.readOnly {
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
			Advice: fmt.Sprintf(`it should contain {"imageLayoutVersion":"%s"}`, ocispec.ImageLayoutVersion)}
	}
	if major, _, _ := strings.Cut(l.Version, "."); major != "1" {
		return &OpenError{Path: path, Problem: ProblemNewer,
			Detail: fmt.Sprintf("layout version %q, this tool knows %s", l.Version, ocispec.ImageLayoutVersion),
			Advice: "use the tool that wrote it, or another directory"}
	}
	return nil
}

// Close closes the store. Blobs and entries are durable when the method that
// wrote them returns; Close lets other processes remove garbage.
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

// ReadOnly reports whether the store was opened by OpenReadOnly.
func (s *Store) ReadOnly() bool { return s.readOnly }

// Dir returns the store's directory as an absolute path.
func (s *Store) Dir() string { return s.dir }

// TempDir returns the directory for temporary files that are too large for the system's,
// "" if the store is open for reading only. Files of a killed process are removed when a
// process next opens the store while no other has it open.
func (s *Store) TempDir() string {
	if s.readOnly {
		return ""
	}
	return filepath.Join(s.dir, "tmp")
}

// Content returns the blobs as containerd's content store, for a BuildKit
// session: base images are read from it and built images written to it. Several
// sessions and processes may use it concurrently. It does not delete. It is nil
// if the store is read-only.
func (s *Store) Content() content.Store { return s.content }

func (s *Store) blobPath(d digest.Digest) string {
	return filepath.Join(s.dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// replace writes a small file atomically and durably.
func (s *Store) replace(path string, b []byte) error {
	err := atomicfile.WriteFile(path, b, atomicfile.Options{Durable: true, TempDir: filepath.Join(s.dir, "tmp")})
	return noSpace(s.dir, int64(len(b)), err)
}

func freeSpace(dir string) uint64 {
	_, free := disk.Space(dir)
	return uint64(max(0, free))
}

var logLevel sync.Mutex // guards the level of containerd's global log

// newLocal opens containerd's content store, without its warning about file systems
// that lack fs-verity.
func newLocal(dir string) (content.Store, error) {
	logLevel.Lock()
	defer logLevel.Unlock()
	if level := log.GetLevel(); level >= log.WarnLevel {
		if err := log.SetLevel(log.ErrorLevel.String()); err == nil {
			defer func() { _ = log.SetLevel(level.String()) }()
		}
	}
	return local.NewStore(dir)
}
