package workspace

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/store"
	"golang.org/x/sys/unix"
)

// TestReadOnlyStore opens a store on a file system that is mounted read-only.
func TestReadOnlyStore(t *testing.T) {
	testenv.Root(t)
	dir := t.TempDir()
	cfg := &config.Config{DataDir: filepath.Join(dir, "data")}
	s, err := OpenStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(StoreDir(cfg)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		testenv.Missing(t, "mounting is not permitted: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	var unusable *store.OpenError
	if _, err := OpenStore(cfg); !errors.As(err, &unusable) || unusable.Problem != store.ProblemNotWritable {
		t.Errorf("opened for writing: %v", err)
	}
	s, err = OpenStoreForReading(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}
