package builderdir

import (
	"errors"
	"fmt"
	"os"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/usererr"
)

// RemoveRemains removes what a killed builder has left outside and inside of its directory:
// mounts, processes and the directory of its socket. It returns what it found, and does
// nothing if a builder uses the directory.
func RemoveRemains(state string) (Remains, error) {
	if _, err := os.Stat(lockPath(state)); err != nil {
		return Remains{}, nil // no builder was started
	}
	lock, err := filelock.Try(lockPath(state))
	if err != nil {
		return Remains{}, nil // it is in use, or another user's
	}
	defer lock.Close()
	found, err := findRemains(state)
	var n Remains
	if err == nil {
		n = found.count()
		err = found.remove()
	}
	if err != nil {
		return Remains{}, fmt.Errorf("removing the remains of a killed builder: %w", err)
	}
	return n, nil
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
	lock, err := filelock.Try(lockPath(state))
	var held *filelock.HeldError
	if errors.As(err, &held) {
		return 0, usererr.Errorf("run the command again when that process has ended",
			"removing the builder's cache: a builder uses %s%s", state, held.By())
	}
	if err != nil {
		return 0, fmt.Errorf("removing the builder's cache: %w", err)
	}
	defer lock.Close()
	// Mounts of a killed builder show files outside of the directory.
	var files *filesError
	if err := Sweep(state); err != nil && !errors.As(err, &files) {
		return 0, fmt.Errorf("removing the builder's cache: %w", err)
	}
	used := disk.Usage(state)
	if err := empty(state); err != nil {
		return 0, fmt.Errorf("removing the builder's cache: %w", err)
	}
	return used, nil
}
