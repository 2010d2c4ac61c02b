package testenv

import (
	"syscall"
	"testing"
)

// Tmpfs mounts its own file system, of a size such as "4m", for the time of the test,
// and returns its directory.
func Tmpfs(t testing.TB, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		Missing(t, "no tmpfs can be mounted here: "+err.Error())
	}
	t.Cleanup(func() {
		// containerd's library keeps a file open in each store until the next garbage collection.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}
