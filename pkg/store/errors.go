package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/units"
)

// ErrNotFound is wrapped by errors for a name, a digest or a key that is not in the
// store.
var ErrNotFound = errors.New("not in the store")

// Problem is the reason why a directory cannot be opened as a store.
type Problem string

// The problems of a store.
const (
	ProblemMissing      Problem = "no store"
	ProblemNotDirectory Problem = "not a directory"
	ProblemNotWritable  Problem = "not writable"
	ProblemForeign      Problem = "not a store"
	ProblemNewer        Problem = "a newer layout"
	ProblemCorrupt      Problem = "corrupt"
	ProblemInPlace      Problem = "a directory in the place of a blob"
)

// OpenError is the error of Open, and of later calls that find the index corrupt or the place of a
// blob taken.
type OpenError struct {
	Path    string // the directory or file that is wrong
	Problem Problem
	Detail  string // description of its content
	Advice  string // what the user can do, "" for nothing
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
	return s
}

// Hint returns a hint for the user.
func (e *OpenError) Hint() string { return e.Advice }

// Unwrap returns the cause.
func (e *OpenError) Unwrap() error { return e.Err }

// FullError reports that the file system of the store has no space left. The incomplete
// file was removed.
type FullError struct {
	Path string // the directory that was written to
	Need int64  // bytes of the blob or file that did not fit, 0 if unknown
	Free uint64 // bytes free when that was noticed
	Err  error  // the system's error, nil if it was predicted
}

func (e *FullError) Error() string {
	required := ""
	switch {
	case e.Need > 0 && uint64(e.Need) <= e.Free: // another file, removed since, took the space
		return "no space left in " + e.Path
	case e.Need > 0:
		required = fmt.Sprintf("%s needed, ", units.Bytes(e.Need))
	}
	return fmt.Sprintf("no space left in %s: %s%s free", e.Path, required, units.Bytes(int64(e.Free)))
}

// Hint returns a hint for the user.
func (e *FullError) Hint() string { return "free some space there, or use a directory on another disk" }

// Unwrap returns the cause.
func (e *FullError) Unwrap() error { return e.Err }

// BlobError reports which blob is missing or damaged.
type BlobError struct {
	Digest  digest.Digest
	Of      string // its role in the image: "manifest", "config", "layer 3 of 7"
	Path    string // the file, where there is or should be one
	Missing bool
	Detail  string
	Err     error
}

func (e *BlobError) Error() string {
	kind := "blob"
	if e.Of != "" {
		kind = e.Of
	}
	s := fmt.Sprintf("%s %s", kind, e.Digest)
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

// Unwrap returns the cause.
func (e *BlobError) Unwrap() error { return e.Err }

// Is makes a missing blob match ErrNotFound.
func (e *BlobError) Is(target error) bool { return target == ErrNotFound && e.Missing }

// BusyError reports that another process uses the store, so that nothing can be
// removed from it.
type BusyError struct{ Dir string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("store %s is in use by another process", e.Dir)
}

// Hint returns a hint for the user.
func (e *BusyError) Hint() string { return "run the command again when that process has ended" }

// NamesTakenError reports that names in the store belong to other images.
type NamesTakenError struct {
	Names []string // sorted
}

// maxNamesShown bounds the names in a NamesTakenError's text.
const maxNamesShown = 5

func (e *NamesTakenError) Error() string {
	return "the store has other images named " + units.List(e.Names, maxNamesShown)
}

// DamagedError reports that a named image's manifest is unreadable, so that the blobs
// of the image are unknown.
type DamagedError struct {
	Name string
	Err  error // a *BlobError
}

func (e *DamagedError) Error() string { return fmt.Sprintf("image %s: %v", e.Name, e.Err) }

// Hint returns a hint for the user.
func (e *DamagedError) Hint() string {
	return "build, pull or load the image again, or remove its name: kolla-build remove"
}

// Unwrap returns the cause.
func (e *DamagedError) Unwrap() error { return e.Err }

// noSpace turns a write error for lack of space into a *FullError, and returns
// other errors unchanged.
func noSpace(dir string, required int64, err error) error {
	if err == nil {
		return nil
	}
	var full *FullError
	if errors.As(err, &full) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &FullError{Path: dir, Need: required, Free: freeSpace(dir), Err: err}
	}
	return err
}

func isDenied(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
