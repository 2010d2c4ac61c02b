package builderdir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// One entry that cannot be removed keeps no other.
func TestEmptyRemovesTheRest(t *testing.T) {
	testenv.Root(t)
	mounted := testenv.Tmpfs(t, "1m")
	state := filepath.Dir(mounted)
	rest := filepath.Join(state, "zzz")
	if err := os.Mkdir(rest, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := empty(state); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), mounted) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(rest); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", rest, err)
	}
}

// What a killed step has left and cannot be removed is an error that names it.
func TestSweepReportsWhatIsLeft(t *testing.T) {
	testenv.Root(t)
	state := testenv.Tmpfs(t, "1m") // not a mount in the state directory
	step := filepath.Join(state, "runc-overlayfs/executor", strings.Repeat("a", 25))
	blob := filepath.Join(state, "runc-overlayfs/content/ingest/x")
	for _, dir := range []string{step, blob} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("", state, "", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	err := Sweep(state)
	if files := (*filesError)(nil); !errors.As(err, &files) {
		t.Errorf("gc does not go on after %v", err)
	}
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), step) || !strings.Contains(err.Error(), blob) {
		t.Errorf("read-only: %v", err)
	}
	remount(0)
	if err := Sweep(state); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{step, blob} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// A directory with something busy is removed when that has ended.
func TestRemoveAllWaits(t *testing.T) {
	testenv.Root(t)
	dir := t.TempDir()
	busy := filepath.Join(dir, "rootfs")
	if err := errors.Join(os.Mkdir(busy, 0o700), syscall.Mount("tmpfs", busy, "tmpfs", 0, "size=1m")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(busy, syscall.MNT_DETACH) }) // it fails if the test has done it
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := removeAll(ctx, dir); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("busy: %v", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = syscall.Unmount(busy, syscall.MNT_DETACH) })
	if err := removeAll(t.Context(), dir); err != nil {
		t.Error(err)
	}
}
