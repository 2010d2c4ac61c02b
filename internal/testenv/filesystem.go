package testenv

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// OtherFileSystem returns a new directory in memory, on another file system than TempDir. It
// skips the test if there is none, such as where temporary files are in memory too.
func OtherFileSystem(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "kolla-build-*")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var here, other unix.Stat_t
	if err := errors.Join(unix.Stat(t.TempDir(), &here), unix.Stat(dir, &other)); err != nil {
		t.Fatal(err)
	}
	if here.Dev == other.Dev {
		t.Skip("temporary files are on the same file system")
	}
	return dir
}

// WritePipe writes to a named pipe, and returns when a reader has read all of it. A writer that
// opens, writes and closes can lose the content: if a signal interrupts open(2) of the reader in
// that time, the pipe is discarded, and the reader opens a new one and waits. Therefore the pipe
// stays open for reading and writing, which does not wait, until it is empty.
func WritePipe(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	raw, connErr := f.SyscallConn()
	err = errors.Join(err, connErr)
	for left := 1; err == nil && left > 0; time.Sleep(time.Millisecond) {
		var countErr error
		err = raw.Control(func(fd uintptr) { left, countErr = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		err = errors.Join(err, countErr)
	}
	return errors.Join(err, f.Close())
}
