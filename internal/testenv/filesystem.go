package testenv

import (
	"errors"
	"os"
	"testing"

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
