package builderdir

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/kolla-build/kolla-build/internal/filelock"
)

// lockName is the lock file of a state directory. A builder inherits the lock, so that it is
// held as long as the builder runs, even if the process that started it is killed.
const lockName = "kolla-build.lock"

func lockPath(state string) string { return filepath.Join(state, lockName) }

// Lock locks a state directory, and waits until another holder releases it or ctx ends.
// waiting is called once before the first wait.
func Lock(ctx context.Context, state string, waiting func(*filelock.HeldError)) (*filelock.Lock, error) {
	lock, err := filelock.AcquireContext(ctx, lockPath(state), waiting)
	if err != nil {
		return nil, err
	}
	_ = lock.SetProcess() // for the notice of the next process
	return lock, nil
}

// empty removes the content of a state directory except for the lock file, which the
// caller has locked. What cannot be removed is in the error, and the rest is removed.
func empty(state string) error {
	entries, err := os.ReadDir(state)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Name() != lockName {
			errs = append(errs, os.RemoveAll(filepath.Join(state, e.Name())))
		}
	}
	return errors.Join(errs...)
}
