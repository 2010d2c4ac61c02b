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

// WritePipe writes to a named pipe when it has a reader. os.WriteFile can lose the content: if
// a signal interrupts open(2), it opens the pipe again, and in between a reader can find a pipe
// without writers, which is one that has ended.
func WritePipe(path string, content []byte) error {
	for {
		f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			_, err = f.Write(content)
			return errors.Join(err, f.Close())
		}
		if !errors.Is(err, unix.ENXIO) { // no reader
			return err
		}
		time.Sleep(time.Millisecond)
	}
}
