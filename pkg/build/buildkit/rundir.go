package buildkit

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/mounts"
)

// runPrefix begins the name of the directory of a daemon's socket. runNote is the
// file in the state directory with its path. runLock is the file in it that is locked as
// long as it is used, and socketName the socket.
const runPrefix, runNote, runLock, socketName = "kolla-buildkit-", "run", "lock", "buildkitd.sock"

// Paths of sockets have at most 107 bytes. The path of an SSH agent's socket is 47
// bytes longer than the daemon's TMPDIR, which may be in the directory of the daemon's
// socket.
const (
	maxDaemonTemp = 60 // the longest TMPDIR of the daemon
	maxTempDir    = 28 // the longest directory for the one of the daemon's socket
)

// runParents returns the directories in which the directory of a socket may be: TMPDIR and, if
// that cannot be used, /tmp.
func runParents() []string {
	parents := slices.Compact([]string{filepath.Clean(os.TempDir()), "/tmp"})
	return slices.DeleteFunc(parents, func(dir string) bool { return len(dir) > maxTempDir })
}

// makeRunDir creates the directory of the daemon's socket and locks it. Its path is
// recorded in the state directory first, so that sweep finds it if this process is killed.
func makeRunDir(state string) (string, *filelock.Lock, error) {
	var errs []error
	for _, parent := range runParents() {
		run := filepath.Join(parent, runPrefix+strings.ToLower(rand.Text()[:12]))
		if err := os.WriteFile(filepath.Join(state, runNote), []byte(run), 0o644); err != nil {
			return "", nil, err
		}
		err := os.Mkdir(run, 0o700)
		if err == nil {
			lock, err := filelock.Try(filepath.Join(run, runLock))
			if err != nil {
				return "", nil, errors.Join(err, os.RemoveAll(run))
			}
			return run, lock, nil
		}
		errs = append(errs, err, os.Remove(filepath.Join(state, runNote)))
	}
	return "", nil, errors.Join(errs...)
}

// recordedRunDir returns the directory of an earlier daemon's socket, "" if it does
// not exist any more.
func recordedRunDir(state string) string {
	run, err := inputfile.ReadRegular(filepath.Join(state, runNote), inputfile.MaxState)
	if err != nil || !strings.HasPrefix(filepath.Base(string(run)), runPrefix) {
		return ""
	}
	if st, err := os.Lstat(string(run)); err != nil || !st.IsDir() {
		return ""
	}
	return string(run)
}

const (
	// newRunDir is the age below which a directory may not be locked yet.
	newRunDir = time.Minute
	// unlockedRunDir is the age below which a directory of a version without locks may be that of
	// a daemon that does not listen yet.
	unlockedRunDir = time.Hour
)

// sweepRunDirs removes the directories of sockets that killed runs with other state
// directories have left, which may not exist any more. Errors are ignored: they are
// small, and another user may have made them.
func sweepRunDirs() {
	for _, parent := range runParents() {
		found, err := globIn(parent, runPrefix+"*")
		if err != nil {
			continue
		}
		for _, dir := range found {
			if st, err := os.Lstat(dir); err == nil && st.IsDir() && ownFile(st) && runDirUnused(dir, time.Since(st.ModTime())) &&
				mounts.UnmountBelow(dir) == nil {
				_ = os.RemoveAll(dir)
			}
		}
	}
}

func ownFile(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Geteuid()
}

// runDirUnused reports whether no process uses the directory of a socket, which was last
// changed some time ago.
func runDirUnused(dir string, age time.Duration) bool {
	if age < newRunDir {
		return false
	}
	lock, err := filelock.OpenExisting(filepath.Join(dir, runLock))
	if err == nil {
		defer lock.Close()
		return lock.TryLock() == nil
	}
	if !errors.Is(err, fs.ErrNotExist) || age < unlockedRunDir {
		return false
	}
	conn, err := net.Dial("unix", filepath.Join(dir, socketName))
	if err == nil {
		conn.Close()
	}
	return err != nil
}
