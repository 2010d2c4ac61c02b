package buildkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/usererr"
)

// RemoveRemains removes what a killed builder has left outside and inside of its directory:
// mounts, processes and the directory of its socket. It does nothing if a builder uses the
// directory.
func RemoveRemains(state string) error {
	if _, err := os.Stat(filepath.Join(state, lockName)); err != nil {
		return nil // no builder was started
	}
	lock, err := filelock.Try(filepath.Join(state, lockName))
	if err != nil {
		return nil // it is in use, or another user's
	}
	defer lock.Close()
	if err := sweep(state); err != nil {
		return fmt.Errorf("removing the remains of a killed builder: %w", err)
	}
	return nil
}

// RemoveCache removes the cache of the builder that is started with its state in a
// directory, and returns the bytes that it used. If a builder uses the directory,
// nothing is removed and the error names the process.
func RemoveCache(state string) (int64, error) {
	if _, err := os.Stat(state); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return 0, nil
		}
		return 0, fmt.Errorf("removing the builder's cache: %w", err)
	}
	lock, err := filelock.Try(filepath.Join(state, lockName))
	var held *filelock.HeldError
	if errors.As(err, &held) {
		return 0, usererr.Errorf("run the command again when that process has ended",
			"removing the builder's cache: a builder uses %s%s", state, held.By())
	}
	if err != nil {
		return 0, fmt.Errorf("removing the builder's cache: %w", err)
	}
	defer lock.Close()
	if err := sweep(state); err != nil { // mounts of a killed builder show files outside of the directory
		return 0, fmt.Errorf("removing the builder's cache: %w", err)
	}
	used := disk.Usage(state)
	entries, err := os.ReadDir(state)
	for _, e := range entries {
		if e.Name() != lockName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(state, e.Name())))
		}
	}
	if err != nil {
		return 0, fmt.Errorf("removing the builder's cache: %w", err)
	}
	return used, nil
}
