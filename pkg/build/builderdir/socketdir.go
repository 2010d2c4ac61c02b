package builderdir

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

const (
	dirPrefix  = "kolla-buildkit-" // of the name of a daemon's socket directory
	pathNote   = "run"             // the file in the state directory with its path
	useLock    = "lock"            // the file in it that is locked as long as it is used
	socketName = "buildkitd.sock"
)

// Paths of sockets have at most 107 bytes. The path of an SSH agent's socket is 47
// bytes longer than the daemon's TMPDIR, which may be in the directory of the daemon's
// socket.
const (
	maxDaemonTemp = 60 // the longest TMPDIR of the daemon
	maxTempDir    = 28 // the longest parent of a socket directory
)

// socketDirParents returns the directories in which the directory of a socket may be: TMPDIR and, if
// that cannot be used, /tmp.
func socketDirParents() []string {
	parents := slices.Compact([]string{filepath.Clean(os.TempDir()), "/tmp"})
	return slices.DeleteFunc(parents, func(dir string) bool { return len(dir) > maxTempDir })
}

// SocketDir is the directory of a daemon's socket. It is locked as long as the daemon or
// this process uses it.
type SocketDir struct {
	Path string
	lock *filelock.Lock
}

// MakeSocketDir creates the directory of a daemon's socket and locks it. Its path is recorded
// in the state directory first, so that Sweep finds it if this process is killed.
func MakeSocketDir(state string) (*SocketDir, error) {
	var errs []error
	for _, parent := range socketDirParents() {
		dir := filepath.Join(parent, dirPrefix+strings.ToLower(rand.Text()[:12]))
		if err := os.WriteFile(filepath.Join(state, pathNote), []byte(dir), 0o644); err != nil {
			return nil, err
		}
		err := os.Mkdir(dir, 0o700)
		if err == nil {
			lock, err := filelock.Try(filepath.Join(dir, useLock))
			if err != nil {
				return nil, errors.Join(err, os.RemoveAll(dir))
			}
			return &SocketDir{dir, lock}, nil
		}
		errs = append(errs, err, os.Remove(filepath.Join(state, pathNote)))
	}
	return nil, errors.Join(errs...)
}

// Socket returns the path of the daemon's socket.
func (d *SocketDir) Socket() string { return filepath.Join(d.Path, socketName) }

// LockFile returns the file that the daemon inherits, so that the directory is locked as long
// as the daemon runs.
func (d *SocketDir) LockFile() *os.File { return d.lock.File() }

// TempDir returns the daemon's directory for temporary files, in the state directory. If its
// path is too long for the sockets of SSH agents, which are created in it, a link to it in the
// directory of the daemon's socket is returned.
func (d *SocketDir) TempDir(state string) (string, error) {
	tmp, err := filepath.Abs(filepath.Join(state, "tmp"))
	if err != nil || len(tmp) <= maxDaemonTemp {
		return tmp, err
	}
	link := filepath.Join(d.Path, "tmp")
	return link, os.Symlink(tmp, link)
}

// Remove removes the directory and unlocks it.
func (d *SocketDir) Remove() {
	_ = os.RemoveAll(d.Path)
	_ = d.lock.Close()
}

// recordedSocketDir returns the directory of an earlier daemon's socket, "" if it does
// not exist any more.
func recordedSocketDir(state string) string {
	dir, err := inputfile.ReadRegular(filepath.Join(state, pathNote), inputfile.MaxState)
	if err != nil || !strings.HasPrefix(filepath.Base(string(dir)), dirPrefix) {
		return ""
	}
	if st, err := os.Lstat(string(dir)); err != nil || !st.IsDir() {
		return ""
	}
	return string(dir)
}

const (
	// newAge is the age below which a directory may not be locked yet.
	newAge = time.Minute
	// unlockedAge is the age below which a directory of a version without locks may be that of
	// a daemon that does not listen yet.
	unlockedAge = time.Hour
)

// SweepSocketDirs removes the directories of sockets that killed runs with other state
// directories have left, which may not exist any more. Errors are ignored: they are
// small, and another user may have made them.
func SweepSocketDirs() {
	for _, parent := range socketDirParents() {
		found, err := globIn(parent, dirPrefix+"*")
		if err != nil {
			continue
		}
		for _, dir := range found {
			st, err := os.Lstat(dir)
			if err != nil || !st.IsDir() || !ownFile(st) || !socketDirUnused(dir, time.Since(st.ModTime())) {
				continue
			}
			if mounts.UnmountBelow(dir) == nil {
				_ = os.RemoveAll(dir)
			}
		}
	}
}

func ownFile(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Geteuid()
}

// socketDirUnused reports whether no process uses the directory of a socket, which was last
// changed some time ago.
func socketDirUnused(dir string, age time.Duration) bool {
	if age < newAge {
		return false
	}
	lock, err := filelock.OpenExisting(filepath.Join(dir, useLock))
	if err == nil {
		defer lock.Close()
		return lock.TryLock() == nil
	}
	if !errors.Is(err, fs.ErrNotExist) || age < unlockedAge {
		return false
	}
	conn, err := net.Dial("unix", filepath.Join(dir, socketName))
	if err == nil {
		conn.Close()
	}
	return err != nil
}
