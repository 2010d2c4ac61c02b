package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/opencontainers/go-digest"
)

// ErrNotFound is what errors.Is finds in the error for a name, a digest or a
// key that the store does not hold.
var ErrNotFound = errors.New("not in the store")

// Problem says why a directory cannot be opened as a store.
type Problem string

// The problems that Open tells apart.
const (
	ProblemNotDirectory Problem = "not a directory"
	ProblemNotWritable  Problem = "not writable"
	ProblemForeign      Problem = "not a store"
	ProblemNewer        Problem = "a newer layout"
	ProblemCorrupt      Problem = "corrupt"
)

// OpenError is the error of Open, and of later calls that find the index
// broken. Its text names the path and what to do.
type OpenError struct {
	Path    string // the directory or file that is wrong
	Problem Problem
	Detail  string // what was found there
	Hint    string // what to do about it
	Err     error  // the cause, may be nil
}

func (e *OpenError) Error() string {
	s := fmt.Sprintf("store %s: %s", e.Path, e.Problem)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *OpenError) Unwrap() error { return e.Err }

// FullError says that the file system of the store has no room. What was being
// written is gone; what was in the store before is whole.
type FullError struct {
	Path string // the directory that was written to
	Need int64  // bytes of the blob or file that did not fit, 0 if unknown
	Free uint64 // bytes free when it was noticed
	Err  error  // the system's error, nil if it was foreseen
}

func (e *FullError) Error() string {
	need := ""
	if e.Need > 0 {
		need = fmt.Sprintf("%s needed, ", Bytes(e.Need))
	}
	return fmt.Sprintf("no space left in %s: %s%s free (free some space there, or use a store on another disk)",
		e.Path, need, Bytes(int64(e.Free)))
}

func (e *FullError) Unwrap() error { return e.Err }

// BlobError says which blob is missing or wrong.
type BlobError struct {
	Digest  digest.Digest
	Of      string // what it is to the image: "manifest", "config", "layer 3 of 7"
	Path    string // the file, where there is or should be one
	Missing bool
	Detail  string
	Err     error
}

func (e *BlobError) Error() string {
	what := "blob"
	if e.Of != "" {
		what = e.Of
	}
	s := fmt.Sprintf("%s %s", what, e.Digest)
	switch {
	case e.Missing:
		s += " is missing"
	case e.Detail != "":
		s += ": " + e.Detail
	}
	if e.Path != "" {
		s += " (" + e.Path + ")"
	}
	if e.Err != nil && !e.Missing {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *BlobError) Unwrap() error { return e.Err }

// Is makes a missing blob match ErrNotFound.
func (e *BlobError) Is(target error) bool { return target == ErrNotFound && e.Missing }

// BusyError says that another process uses the store, so that nothing can be
// removed from it now.
type BusyError struct{ Dir string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("store %s is in use by another process (run again when it has ended)", e.Dir)
}

// full turns a write error that means "no room" into a *FullError, and leaves
// others as they are.
func full(dir string, need int64, err error) error {
	if err == nil {
		return nil
	}
	var already *FullError
	if errors.As(err, &already) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &FullError{Path: dir, Need: need, Free: free(dir), Err: err}
	}
	return err
}

// free returns the bytes that this user may still write in dir's file system,
// 0 if that cannot be told.
func free(dir string) uint64 {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0
	}
	return st.Bavail * uint64(st.Bsize)
}

// Bytes formats a count of bytes for people: "512 B", "3.1 MB", in powers of
// 1000 as registries and disks count.
func Bytes(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/unit, 0
	for v >= unit && i < 4 {
		v /= unit
		i++
	}
	return fmt.Sprintf("%.1f %cB", v, "kMGTP"[i])
}

func isDenied(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
