package buildkit

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A builder syncs its databases some three hundred times for an image of three steps,
// and dpkg syncs each file that it unpacks in a RUN step. This protects only a cache:
// the images are in the store, which this process writes and syncs. So a system call
// filter turns fsync and similar calls of a started daemon and its processes into
// no-ops, like --suppress-sync of systemd-nspawn. A killed process loses nothing by
// that. A machine that stops may lose data; then the cache is discarded (see builderdir.Unsynced).

// syncCalls are the system calls that the filter turns into no-ops.
var syncCalls = []uint32{
	unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC, unix.SYS_SYNCFS, unix.SYS_SYNC_FILE_RANGE, unix.SYS_MSYNC,
}

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
