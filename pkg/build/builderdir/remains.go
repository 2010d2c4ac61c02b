package builderdir

import (
	"os"
	"path/filepath"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/mounts"
)

// Remains counts what a killed builder has left.
type Remains struct {
	Steps  int   // containers of RUN steps
	Mounts int   // that are still mounted
	Bytes  int64 // of temporary files and partial blobs
}

// FindRemains returns what RemoveRemains would remove. It changes nothing.
func FindRemains(state string) (Remains, error) {
	lock, err := filelock.OpenExisting(lockPath(state))
	if err != nil {
		return Remains{}, nil // no builder was started, or the directory is another user's
	}
	defer lock.Close()
	if lock.TryLock() != nil {
		return Remains{}, nil // it is in use
	}
	return countRemains(state)
}

func countRemains(state string) (Remains, error) {
	l, err := findLeftovers(state)
	if err != nil {
		return Remains{}, err
	}
	r := Remains{Steps: len(l.steps)}
	for _, dir := range l.dirs {
		points, err := mounts.Below(dir)
		if err != nil {
			return r, err
		}
		r.Mounts += len(points)
	}
	for _, path := range l.partial {
		r.Bytes += disk.Usage(path)
	}
	entries, err := os.ReadDir(l.tmp)
	if err != nil && !os.IsNotExist(err) {
		return r, err
	}
	for _, e := range entries {
		r.Bytes += disk.Usage(filepath.Join(l.tmp, e.Name()))
	}
	return r, nil
}

// leftovers are the paths of what a killed daemon has left.
type leftovers struct {
	steps   []string // directories of containers
	partial []string // partial blobs in the daemon's store
	tmp     string   // the directory of the daemon's temporary files
	dirs    []string // those with mounts: the state directory and, if it exists, that of the socket
}

func findLeftovers(state string) (leftovers, error) {
	l := leftovers{tmp: filepath.Join(state, "tmp"), dirs: []string{state}}
	found, err := globIn(state, "runc-*/executor/*")
	if err != nil {
		return l, err
	}
	for _, path := range found {
		if st, err := os.Lstat(path); err == nil && st.IsDir() && isContainerID(filepath.Base(path)) {
			l.steps = append(l.steps, path)
		}
	}
	if dir := recordedSocketDir(state); dir != "" {
		l.dirs = append(l.dirs, dir)
	}
	l.partial, err = globIn(state, "runc-*/content/ingest/*")
	return l, err
}
