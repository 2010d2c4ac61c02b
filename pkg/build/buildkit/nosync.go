package buildkit

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// A builder syncs its databases some three hundred times for an image of three steps,
// and dpkg syncs each file that it unpacks in a RUN step. This protects only a cache:
// the images are in the store, which this process writes and syncs. So a system call
// filter turns fsync and similar calls of a started daemon and its processes into
// no-ops, like --suppress-sync of systemd-nspawn. A killed process loses nothing by
// that. A machine that stops may lose data; then the cache is discarded (see unsynced).

// syncCalls are the system calls without effect.
var syncCalls = []uint32{unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC, unix.SYS_SYNCFS, unix.SYS_SYNC_FILE_RANGE, unix.SYS_MSYNC}

// suppressSync filters the system calls of the calling thread and of all processes
// that it starts. The thread must be locked, and end with its goroutine. If the
// kernel does not allow it, nothing changes.
func suppressSync() bool {
	var arch uint32
	switch runtime.GOARCH {
	case "amd64":
		arch = unix.AUDIT_ARCH_X86_64
	case "arm64":
		arch = unix.AUDIT_ARCH_AARCH64
	default:
		return false
	}
	const ok = unix.SECCOMP_RET_ERRNO // with error 0
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	ret := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	equal := func(k uint32, onMatch, otherwise uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: onMatch, Jf: otherwise}
	}
	// struct seccomp_data: the number of the call, then its architecture.
	filter := []unix.SockFilter{load(4), equal(arch, 1, 0), ret(unix.SECCOMP_RET_ALLOW), load(0)}
	for i, call := range syncCalls {
		filter = append(filter, equal(call, uint8(len(syncCalls)-i), 0))
	}
	filter = append(filter, ret(unix.SECCOMP_RET_ALLOW), ret(ok))
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	return errno == 0
}

// unsynced notes that the content of a state directory may not be on disk yet. A
// note has the ID of the boot; one of an earlier boot means that the machine stopped
// before it was.
type unsynced struct {
	state string
	notes []string // of this run, and of killed ones before it
}

func unsyncedDir(state string) string { return filepath.Join(state, "unsynced") }

func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// noteUnsynced writes a note for this run. If it finds a note of an earlier boot, the
// content of the directory cannot be trusted and is removed, and lost is true.
func noteUnsynced(state string) (u *unsynced, lost bool, err error) {
	u = &unsynced{state: state}
	old, _ := globIn(unsyncedDir(state), "*")
	boot := bootID()
	for _, note := range old {
		if id, err := inputfile.ReadRegular(note, inputfile.MaxState); err == nil && string(id) != boot {
			lost = true
		}
	}
	if lost {
		if err := wipe(state); err != nil {
			return nil, true, err
		}
		old = nil
	}
	if err := os.MkdirAll(unsyncedDir(state), 0o700); err != nil {
		return nil, lost, err
	}
	note := filepath.Join(unsyncedDir(state), rand.Text())
	u.notes = append(old, note)
	f, err := os.Create(note)
	if err != nil {
		return nil, lost, err
	}
	_, err = f.WriteString(boot)
	if serr := f.Sync(); err == nil {
		err = serr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return u, lost, err
}

// wipe removes a daemon's state except for the lock, which is held.
func wipe(state string) error {
	names, err := os.ReadDir(state)
	if err != nil {
		return err
	}
	for _, n := range names {
		if n.Name() == lockName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(state, n.Name())); err != nil {
			return err
		}
	}
	return nil
}

// flush starts a process that syncs what the daemon wrote and then removes the
// notes. It does not wait for it.
func (u *unsynced) flush() {
	cmd := exec.Command("/bin/sh", append([]string{"-c", `sync -f "$1" && shift && rm -f "$@"`, "sync", u.state}, u.notes...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if cmd.Start() == nil {
		_ = cmd.Process.Release()
	}
}
