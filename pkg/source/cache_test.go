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
		if err := errors.Join(os.MkdirAll(filepath.Join(checkout, ".git"), 0o700),
			os.WriteFile(filepath.Join(checkout, "f"), []byte("x"), 0o400)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(killed, old, old); err != nil {
		t.Fatal(err)
	}
	resolveLocal(t, Options{CacheDir: dir})
	if _, err := os.Stat(killed); !os.IsNotExist(err) {
		t.Errorf("a killed checkout: %v", err)
	}
	if _, err := os.Stat(filepath.Join(running, "f")); err != nil {
		t.Errorf("a running one: %v", err)
	}
}

// TestOldPartialDownloadsAreRemoved checks that an interrupted download does not stay for
// ever, and that one of yesterday can be resumed.
func TestOldPartialDownloadsAreRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "partial")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"old": 8, "old.json": 8, "recent": 1, "recent.json": 1} {
		path, at := filepath.Join(dir, name), time.Now().Add(-age*24*time.Hour)
		if err := errors.Join(os.WriteFile(path, []byte("x"), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	resolveLocal(t, Options{CacheDir: filepath.Dir(dir)})
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != "recent" || entries[1].Name() != "recent.json" {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// resolveLocal archives a local source, which writes to the cache.
func resolveLocal(t *testing.T, opts Options) {
	t.Helper()
	f, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Resolve(t.Context(), Spec{Name: "x", Type: TypeLocal, Location: "cache_test.go",
		Enabled: true}); err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsCreated checks that a Fetcher without a source makes no directories, and that one with
// a scratch directory leaves its cache unchanged.
func TestNothingIsCreated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := New(Options{CacheDir: dir}); err != nil {
		t.Fatal(err)
	}
	resolveLocal(t, Options{CacheDir: dir, Scratch: func() (string, error) { return t.TempDir(), nil }})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the cache was created: %v", err)
	}
}
