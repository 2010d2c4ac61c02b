package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Lock files. The kernel drops a flock when its holder dies, however it dies.
const (
	lockUsers = "users" // shared by all who have the store open; exclusive to remove things
	lockGC    = "gc"    // held while trying for lockUsers exclusively, so that one tries at a time
	lockIndex = "index" // exclusive while index.json is read, changed and replaced
	lockTimes = "history"
)

// lock takes the named lock exclusively and returns what gives it back. Each
// call opens the file anew: flock belongs to the open file, so goroutines
// exclude each other as processes do.
func (s *Store) lock(name string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock", name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := flock(f, syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			if err != nil {
				return fmt.Errorf("locking %s: %w", f.Name(), err)
			}
			return nil
		}
	}
}

// enter registers this process as a user of the store. The first one in cleans
// up after those that died.
func (s *Store) enter() error {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock", lockUsers), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	s.users = f
	if err := s.alone(s.sweep); err != nil {
		var busy *BusyError
		if !errors.As(err, &busy) {
			f.Close()
			s.users = nil
			return err
		}
	}
	return nil
}

// alone runs fn while no other process has the store open, or returns a
// *BusyError. Processes that open the store meanwhile wait. Afterwards the
// process is a user of the store as before.
func (s *Store) alone(fn func() error) error {
	// Changing a shared flock into an exclusive one drops it first, and on
	// failure it is lost. The gc lock sees to it that nobody else can take
	// the exclusive one in that gap.
	done, err := s.lock(lockGC)
	if err != nil {
		return err
	}
	defer done()
	err = flock(s.users, syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		err = fn()
	} else if errors.Is(err, syscall.EWOULDBLOCK) {
		err = &BusyError{Dir: s.dir}
	}
	if serr := flock(s.users, syscall.LOCK_SH); err == nil {
		err = serr
	}
	return err
}

// sweep removes what dead processes had begun. The caller is alone.
func (s *Store) sweep() error {
	for _, d := range []string{"ingest", "tmp"} {
		names, err := os.ReadDir(filepath.Join(s.dir, d))
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := os.RemoveAll(filepath.Join(s.dir, d, n.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
