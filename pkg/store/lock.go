package store

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/filelock"
)

// Lock files.
const (
	lockUsers    = "users"      // shared by all who have the store open, exclusive to remove blobs
	lockGC       = "gc"         // held while lockUsers is made exclusive
	lockIndex    = "index"      // held while index.json is read, changed and replaced
	lockHistory  = "history"    // the same for history.json
	lockForms    = "compressed" // the same for compressed.json
	lockVerified = "verified"   // the same for verified.json
)

// lock takes a lock exclusively. It excludes goroutines as well as processes.
func (s *Store) lock(name string) (*filelock.Lock, error) {
	if s.readOnly {
		return nil, errReadOnly
	}
	return filelock.Acquire(filepath.Join(s.dir, "lock", name))
}

// enter registers this process as a user of the store. The first user removes
// what processes that were killed left behind.
func (s *Store) enter() error {
	l, err := filelock.Open(filepath.Join(s.dir, "lock", lockUsers))
	if err != nil {
		return err
	}
	s.users = l
	if err := s.alone(s.sweep); err != nil {
		var busy *BusyError
		if !errors.As(err, &busy) {
			l.Close()
			s.users = nil
			return err
		}
	}
	return nil
}

// alone runs fn while no other process has the store open, or returns a
// *BusyError. Processes that open the store meanwhile wait. Afterwards this
// process is a user of the store as before.
func (s *Store) alone(fn func() error) error {
	if s.readOnly {
		return errReadOnly
	}
	// Making a shared lock exclusive releases it for a moment. The gc lock keeps
	// others from taking the exclusive lock in that moment.
	gc, err := s.lock(lockGC)
	if err != nil {
		return err
	}
	defer gc.Close()
	var held *filelock.HeldError
	err = s.users.TryLock()
	if err == nil {
		err = fn()
	} else if errors.As(err, &held) {
		err = &BusyError{Dir: s.dir}
	}
	if serr := s.users.RLock(); err == nil {
		err = serr
	}
	return err
}

// Temporary counts the temporary files of killed processes.
type Temporary struct {
	Files int   // and directories
	Bytes int64 // that they use
}

// Temporary returns the temporary files of killed processes that were removed when the store was
// opened or, if it is open for reading only, would be.
func (s *Store) Temporary() (Temporary, error) {
	if !s.readOnly {
		return s.swept, nil
	}
	if s.users != nil {
		err := s.users.TryLock()
		if rerr := s.users.RLock(); rerr != nil {
			return Temporary{}, rerr
		}
		var held *filelock.HeldError
		if errors.As(err, &held) {
			return Temporary{}, nil // they may be those of another process
		}
		if err != nil {
			return Temporary{}, err
		}
	}
	var found Temporary
	return found, s.eachTemporary(func(path string) error {
		found.Files++
		found.Bytes += disk.Usage(path)
		return nil
	})
}

// sweep removes the temporary files of killed processes. No other process may have the
// store open.
func (s *Store) sweep() error {
	return s.eachTemporary(func(path string) error {
		size := disk.Usage(path)
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		s.swept.Files++
		s.swept.Bytes += size
		return nil
	})
}

func (s *Store) eachTemporary(fn func(path string) error) error {
	for _, d := range []string{"ingest", "tmp"} {
		names, err := os.ReadDir(filepath.Join(s.dir, d))
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		for _, n := range names {
			if err := fn(filepath.Join(s.dir, d, n.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
