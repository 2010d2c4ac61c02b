package workspace

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
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

// TestCheckDataDir checks the message for default directories that cannot be used.
func TestCheckDataDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{"": "no home directory", file: file + ": not a directory",
		file + "/x": file + "/x: not a directory"} {
		for name, open := range map[string]func(*config.Config) (*store.Store, error){
			"OpenStore": OpenStore, "OpenExistingStore": OpenExistingStore, "OpenStoreForReading": OpenStoreForReading,
			"OpenStoreForCopying": OpenStoreForCopying} {
			_, err := open(&config.Config{DataDir: dir})
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(usererr.Hint(err), "--data-dir") {
				t.Errorf("%s(%q): %v (%s)", name, dir, err, usererr.Hint(err))
			}
		}
	}
	if err := CheckDataDir(&config.Config{DataDir: filepath.Join(filepath.Dir(file), "new")}); err != nil {
		t.Error(err)
	}
}
