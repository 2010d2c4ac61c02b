package source

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What a killed process was checking out does not stay for ever, and what another one checks
// out now does.
func TestKilledCheckoutsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-25 * time.Hour)
	killed, running := filepath.Join(dir, "tmp", "git-1"), filepath.Join(dir, "tmp", "git-2")
	for _, checkout := range []string{killed, running} {
		if err := errors.Join(os.MkdirAll(filepath.Join(checkout, ".git"), 0o700), os.WriteFile(filepath.Join(checkout, "f"), []byte("x"), 0o400)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(killed, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{CacheDir: dir}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(killed); !os.IsNotExist(err) {
		t.Errorf("a killed checkout: %v", err)
	}
	if _, err := os.Stat(filepath.Join(running, "f")); err != nil {
		t.Errorf("a running one: %v", err)
	}
}
