package bootstrap

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/mounts"
)

// workPrefix begins the names of working directories.
const workPrefix = "kolla-bootstrap-"

// makeWorkDir creates a working directory for mmdebstrap, and removes those that
// killed processes left: gigabytes, with /proc, /sys and /dev mounted in them.
//
// Each has a lock file, which mmdebstrap and all its children inherit. When it can be
// locked, all of them have ended.
func makeWorkDir() (dir string, lock *filelock.Lock, err error) {
	removeAbandoned(os.TempDir())
	dir, err = os.MkdirTemp("", workPrefix)
	if err != nil {
		return "", nil, err
	}
	// The user of apt's sandbox must be able to enter it.
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", nil, err
	}
	lock, err = filelock.Try(filepath.Join(dir, "lock"))
	return dir, lock, err
}

// removeAbandoned removes the working directories of this user whose processes have
// ended. A directory with mounts that cannot be removed stays: one of them could be
// the host's own /dev.
func removeAbandoned(tmp string) {
	locks, err := fs.Glob(os.DirFS(tmp), workPrefix+"*/lock")
	if err != nil {
		return
	}
	for _, name := range locks {
		path := filepath.Join(tmp, name)
		dir := filepath.Dir(path)
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		if sys, ok := info.Sys().(*syscall.Stat_t); !ok || int(sys.Uid) != os.Geteuid() {
			continue
		}
		lock, err := filelock.OpenExisting(path)
		if err != nil {
			continue
		}
		if lock.TryLock() == nil {
			_ = removeWorkDir(dir)
		}
		lock.Close()
	}
}

// removeWorkDir removes a working directory, unless something is still mounted in it.
func removeWorkDir(dir string) error {
	if err := mounts.UnmountBelow(dir); err != nil {
		return err
	}
	if mounted, err := mounts.Below(dir); err != nil || len(mounted) > 0 {
		return errors.Join(err, errors.New("something is mounted below "+dir))
	}
	return os.RemoveAll(dir)
}
