package builderdir

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestCacheOfAnEarlierBootIsDropped(t *testing.T) {
	state := t.TempDir()
	add := func(name, text string) {
		t.Helper()
		path := filepath.Join(state, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	there := func(name string) bool {
		_, err := os.Stat(filepath.Join(state, name))
		return err == nil
	}
	add(lockName, "")
	add("cache.db", "x")

	// A killed run of this boot loses nothing, and its note is kept.
	first, lost, err := NoteUnsynced(state)
	if err != nil || lost || !there("cache.db") {
		t.Fatalf("the first run: lost is %v, %v", lost, err)
	}
	second, lost, err := NoteUnsynced(state)
	if err != nil || lost || !there("cache.db") || len(second.notes) != 2 {
		t.Fatalf("after a run that was killed: lost is %v, %d notes, %v", lost, len(second.notes), err)
	}
	second.Flush()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		notes, err := os.ReadDir(unsyncedDir(state))
		if err == nil && len(notes) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d notes are left after the flush", len(notes))
		}
	}
	_ = first

	add("unsynced/old", "another-boot")
	third, lost, err := NoteUnsynced(state)
	if err != nil || !lost {
		t.Fatalf("after the machine went down: lost is %v, %v", lost, err)
	}
	if there("cache.db") || !there(lockName) || len(third.notes) != 1 {
		t.Errorf("cache there: %v, lock there: %v, %d notes", there("cache.db"), there(lockName), len(third.notes))
	}
}

// The path of a state directory can have characters that are special in patterns.
func TestStateDirIsNoPattern(t *testing.T) {
	state := filepath.Join(t.TempDir(), "build[1]*?")
	partial := filepath.Join(state, "runc-overlayfs", "content", "ingest", "x", "data")
	note := filepath.Join(unsyncedDir(state), "note")
	for _, file := range []string{partial, note} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700),
			os.WriteFile(file, []byte("another boot"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(state); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(partial); !os.IsNotExist(err) {
		t.Errorf("a partial blob: %v", err)
	}
	if _, lost, err := NoteUnsynced(state); err != nil || !lost {
		t.Errorf("a note of another boot: lost %v, %v", lost, err)
	}
}
