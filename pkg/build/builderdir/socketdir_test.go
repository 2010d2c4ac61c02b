package builderdir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A TMPDIR that cannot be used affects neither this run nor a later one.
func TestUnusableTempDir(t *testing.T) {
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for _, tmp := range []string{"/etc/passwd", "/nonexistent", "/proc", loop, "/dev/null/x", strings.Repeat("/x", 500)} {
		state := t.TempDir()
		t.Setenv("TMPDIR", tmp)
		dir, err := MakeSocketDir(state)
		if err != nil || filepath.Dir(dir.Path) != "/tmp" {
			t.Fatalf("TMPDIR=%s: %+v, %v", tmp, dir, err)
		}
		dir.lock.Close()
		if err := Sweep(state); err != nil {
			t.Errorf("TMPDIR=%s: the next run: %v", tmp, err)
		}
		if _, err := os.Lstat(dir.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("TMPDIR=%s: %s was not removed (%v)", tmp, dir.Path, err)
		}
	}
	// The record of an earlier version is not an error either.
	for _, note := range []string{"/etc/passwd/kolla-buildkit-x", "kolla-buildkit-x", loop + "/kolla-buildkit-x", "",
		"/\x00kolla-buildkit-", strings.Repeat("x", 5000)} {
		state := t.TempDir()
		if err := os.WriteFile(filepath.Join(state, pathNote), []byte(note), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Sweep(state); err != nil {
			t.Errorf("note %.40q: %v", note, err)
		}
	}
}

// The directory of a socket is removed by the next builder of any state directory, unless it is used
// or could be.
func TestSweepSocketDirs(t *testing.T) {
	tmp, err := os.MkdirTemp("/tmp", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	t.Setenv("TMPDIR", tmp)
	dirs := map[string]string{}
	for _, name := range []string{"used", "killed", "new"} {
		dir, err := MakeSocketDir(t.TempDir())
		if err != nil || filepath.Dir(dir.Path) != tmp {
			t.Fatal(dir, err)
		}
		if name == "used" {
			defer dir.lock.Close()
		} else {
			dir.lock.Close()
		}
		dirs[name] = dir.Path
	}
	for _, name := range []string{"unlocked", "young", "other"} {
		dirs[name] = filepath.Join(tmp, dirPrefix+name)
		if err := os.Mkdir(dirs[name], 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dirs["other"], 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	for name, age := range map[string]time.Duration{"used": 120, "killed": 120, "unlocked": 120,
		"young": 10, "other": 120} {
		at := time.Now().Add(-age * time.Minute)
		if err := os.Chtimes(dirs[name], at, at); err != nil {
			t.Fatal(err)
		}
	}
	SweepSocketDirs()
	root := os.Geteuid() == 0
	for name, want := range map[string]bool{"used": true, "killed": false, "new": true, "unlocked": false,
		"young": true, "other": root} {
		if _, err := os.Stat(dirs[name]); (err == nil) != want {
			t.Errorf("%s: present is %v, want %v", name, err == nil, want)
		}
	}
}
