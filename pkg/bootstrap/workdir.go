package bootstrap

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/mounts"
)

// workPrefix begins the names of the directories that mmdebstrap works in.
const workPrefix = "kolla-bootstrap-"

// workDir makes a directory for mmdebstrap to work in, and clears away those of
// runs that were killed: gigabytes, with /proc, /sys and /dev mounted into them.
//
// Each holds a lock file that mmdebstrap and all that it starts inherit. Whoever
// can lock it knows that they are all gone.
func workDir() (dir string, lock *os.File, err error) {
	clearDead(os.TempDir())
	dir, err = os.MkdirTemp("", workPrefix)
	if err != nil {
		return "", nil, err
	}
	// apt's own user has to get through.
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", nil, err
	}
	lock, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	return dir, lock, err
}

// clearDead removes the directories of this user that nobody works in any more.
// What cannot be unmounted stays: it could be the host's own /dev.
func clearDead(tmp string) {
	locks, err := filepath.Glob(filepath.Join(tmp, workPrefix+"*", "lock"))
	if err != nil {
		return
	}
	for _, path := range locks {
		dir := filepath.Dir(path)
		st, err := os.Lstat(dir)
		if err != nil || !st.IsDir() {
			continue
		}
		if sys, ok := st.Sys().(*syscall.Stat_t); !ok || int(sys.Uid) != os.Geteuid() {
			continue
		}
		lock, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = removeWork(dir)
		}
		lock.Close()
	}
}

// removeWork removes such a directory, if nothing is mounted in it any more.
func removeWork(dir string) error {
	if err := mounts.UnmountBelow(dir); err != nil {
		return err
	}
	if below, err := mounts.Below(dir); err != nil || len(below) > 0 {
		return errors.Join(err, errors.New("something is mounted below "+dir))
	}
	return os.RemoveAll(dir)
}
