package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// The files of an earlier run are removed; a link to one and a pipe are the user's.
func TestOldReportsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	file, link, pipe := filepath.Join(dir, "junit.xml"), filepath.Join(dir, "link.xml"), filepath.Join(dir, "pipe")
	old := filepath.Join(dir, "summary.json")
	if err := errors.Join(os.WriteFile(file, []byte("old"), 0o644), os.WriteFile(old, []byte("old"), 0o644),
		os.Symlink("junit.xml", link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	cfg := &config.Config{DataDir: dir, JUnitFile: link, ReportHTML: pipe, SummaryJSONFile: old}
	if _, err := Open(cfg, time.Now()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{link: fs.ModeSymlink, pipe: fs.ModeNamedPipe} {
		if fi, err := os.Lstat(path); err != nil || fi.Mode().Type() != want {
			t.Errorf("%s is no longer what it was: %v", path, err)
		}
	}
	for _, path := range []string{file, old} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}
