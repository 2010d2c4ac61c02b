package bootstrap

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/mounts"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// workPrefix begins the names of working directories.
const workPrefix = "kolla-bootstrap-"

// Space that a bootstrap needs at least: for the unpacked packages and the downloaded ones
// in the temporary directory, and for the layer in the store.
const (
	tempNeed  = 600_000_000
	storeNeed = 100_000_000
)

// checkSpace fails if the disk of the store or of temporary files is too small for a
// bootstrap: otherwise that would be found after minutes of downloads.
func checkSpace(storeDir string) error {
	for _, place := range []struct {
		dir  string
		need int64
		hint string
	}{
		{storeDir, storeNeed, "--data-dir DIR names a directory on another disk; docs/sizing.md lists what builds need"},
		{os.TempDir(), tempNeed, "TMPDIR=DIR names a directory on another disk"},
	} {
		if total, free := disk.Space(place.dir); total > 0 && free < place.need {
			return usererr.WithHint(&store.FullError{Path: place.dir, Need: place.need, Free: uint64(free)}, place.hint)
		}
	}
	return nil
}

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
