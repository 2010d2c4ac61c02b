package buildkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStartedBuilderDoesNotWaitForTheDisk checks that the daemon, and what it
// runs, is under the filter, and that this process is not.
func TestStartedBuilderDoesNotWaitForTheDisk(t *testing.T) {
	state := t.TempDir()
	w := newWorld(t, state)
	seccomp := func(pid int) string {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), "Seccomp:")
		return strings.Fields(rest)[0]
	}
	before := seccomp(os.Getpid())
	if got := seccomp(w.b.daemon.cmd.Process.Pid); got != "2" {
		t.Errorf("the daemon's seccomp mode is %s, want 2 (filtered)", got)
	}
	if before == "2" {
		t.Skip("this process is under a filter itself")
	}
	f, err := os.Create(filepath.Join(state, "synced"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Errorf("this process cannot sync: %v", err)
	}
	// Files that a step writes are in the image although the sync was ignored.
	d, err := w.build(t.Context(), "base",
		"FROM busybox\nRUN echo kept > /kept && dd if=/dev/zero of=/zeros bs=1024 count=8 conv=fsync 2>/dev/null\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := w.content(d.Digest, "kept"); got != "kept\n" {
		t.Errorf("/kept holds %q", got)
	}
}

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
	first, lost, err := noteUnsynced(state)
	if err != nil || lost || !there("cache.db") {
		t.Fatalf("the first run: lost is %v, %v", lost, err)
	}
	second, lost, err := noteUnsynced(state)
	if err != nil || lost || !there("cache.db") || len(second.notes) != 2 {
		t.Fatalf("after a run that was killed: lost is %v, %d notes, %v", lost, len(second.notes), err)
	}
	second.flush()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		leftover, err := os.ReadDir(unsyncedDir(state))
		if err == nil && len(leftover) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d notes are left after the flush", len(leftover))
		}
	}
	_ = first

	add("unsynced/old", "another-boot")
	third, lost, err := noteUnsynced(state)
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
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte("another boot"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweep(state); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(partial); !os.IsNotExist(err) {
		t.Errorf("a partial blob: %v", err)
	}
	if _, lost, err := noteUnsynced(state); err != nil || !lost {
		t.Errorf("a note of another boot: lost %v, %v", lost, err)
	}
}
