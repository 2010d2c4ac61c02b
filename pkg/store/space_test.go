package store

import (
	"errors"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// A read-only file system is enough if nothing is written to it.
func TestCheckFree(t *testing.T) {
	testenv.Root(t)
	dir := testenv.Tmpfs(t, "1m")
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := CheckFree(dir, 1); !errors.Is(err, syscall.EROFS) {
		t.Errorf("one byte: %v", err)
	}
	if err := CheckFree(dir, 0); err != nil {
		t.Error(err)
	}
}
