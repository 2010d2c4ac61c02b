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
	if lock.TryRLock() != nil {
		lock.Close()
		return Remains{}, nil // it is in use
	}
	found, err := findRemains(state)
	lock.Close() // counting can take long, and a builder must be able to start
	if err != nil {
		return Remains{}, err
	}
	return found.count(), nil
}

// remains are the paths of what a killed daemon has left.
type remains struct {
	steps   []string // directories of containers
	partial []string // partial blobs in the daemon's store
	tmp     string   // the directory of the daemon's temporary files
	dirs    []string // those with mounts: the state directory and, if it exists, that of the socket
}

// findRemains finds what a killed daemon has left.
func findRemains(state string) (remains, error) {
	r := remains{tmp: filepath.Join(state, "tmp"), dirs: []string{state}}
	found, err := globIn(state, "runc-*/executor/*")
	if err != nil {
		return r, err
	}
	for _, path := range found {
		if st, err := os.Lstat(path); err == nil && st.IsDir() && isContainerID(filepath.Base(path)) {
			r.steps = append(r.steps, path)
		}
	}
	if dir := recordedSocketDir(state); dir != "" {
		r.dirs = append(r.dirs, dir)
	}
	r.partial, err = globIn(state, "runc-*/content/ingest/*")
	return r, err
}

// count returns how much there is to remove. What cannot be read does not count.
func (r remains) count() Remains {
	n := Remains{Steps: len(r.steps)}
	for _, dir := range r.dirs {
		points, _ := mounts.Below(dir)
		n.Mounts += len(points)
	}
	for _, path := range r.partial {
		n.Bytes += disk.Usage(path)
	}
	entries, _ := os.ReadDir(r.tmp)
	for _, e := range entries {
		n.Bytes += disk.Usage(filepath.Join(r.tmp, e.Name()))
	}
	return n
}
