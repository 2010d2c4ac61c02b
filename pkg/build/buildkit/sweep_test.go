package buildkit

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/mounts"
)

// A builder that is killed during a step leaves the step's process and mounts, which
// the next builder with the same directory removes.
func TestKilledBuilderLeavesNothing(t *testing.T) {
	state := t.TempDir()
	w := newWorld(t, state)
	marker := rand.Text()
	done := make(chan error, 1)
	go func() {
		_, err := w.build(t.Context(), "long", "FROM busybox\nRUN echo sleeping-now; sleep 300; : "+marker+"\n")
		done <- err
	}()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		w.mu.Lock()
		present := strings.Contains(w.log.String(), "sleeping-now")
		w.mu.Unlock()
		if present {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the step does not start")
		}
	}
	if len(processesWith(t, marker)) == 0 {
		t.Fatal("the processes of the running step are not found")
	}
	// BuildKit deletes what a step's root file system contains if it cannot be unmounted, so
	// no other process may see it: du or a backup would keep it busy.
	if seen, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", w.b.daemon.cmd.Process.Pid)); err != nil ||
		!strings.Contains(string(seen), state) {
		t.Fatalf("the root of the running step is not mounted in %s: %v", state, err)
	}
	if points, err := mounts.Below(state); err != nil || len(points) > 0 {
		t.Errorf("mounts of the builder are visible outside of it: %v (%v)", points, err)
	}
	if err := w.b.daemon.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Fatal("the build succeeds without a builder")
	}
	addr := w.b.daemon.addr
	if err := w.b.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.b, err = Open(t.Context(), w.b.opts); err != nil {
		t.Fatal(err)
	}
	if pids := processesWith(t, marker); len(pids) > 0 {
		t.Errorf("processes %v of the killed builder's step live", pids)
	}
	if points, err := mounts.Below(state); err != nil || len(points) > 0 {
		t.Errorf("still mounted: %v (%v)", points, err)
	}
	if left, err := filepath.Glob(filepath.Join(state, "runc-*/executor/*/rootfs")); err != nil || len(left) > 0 {
		t.Errorf("the step's container is still there: %v (%v)", left, err)
	}
	if _, err := os.Stat(filepath.Dir(strings.TrimPrefix(addr, "unix://"))); !os.IsNotExist(err) {
		t.Errorf("the directory of the socket still exists: %v", err)
	}
}

// A builder that is killed while it creates snapshots leaves directories that the next one
// wants to create. Each fails one attempt, which may be repeated.
func TestLeftSnapshotsAreTemporary(t *testing.T) {
	w := newWorld(t, t.TempDir())
	if _, err := w.build(t.Context(), "first", "FROM busybox\nRUN true\n"); err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Glob(filepath.Join(w.b.opts.StateDir, "runc-*/snapshots/snapshots"))
	if err != nil || len(dir) != 1 {
		t.Fatalf("directories of snapshots: %q, %v", dir, err)
	}
	entries, err := os.ReadDir(dir[0])
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err == nil {
			last = max(last, n)
		}
	}
	const left = 10 // some numbers after the last directory may be used up
	for n := last + 1; n <= last+left; n++ {
		if err := os.MkdirAll(filepath.Join(dir[0], strconv.Itoa(n), "fs/old"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for failed := 0; ; failed++ {
		_, err := w.build(t.Context(), "second", "FROM busybox\nRUN echo\n")
		if err == nil {
			if failed == 0 {
				t.Error("no attempt finds a directory")
			}
			return
		}
		var be *BuildError
		if !errors.As(err, &be) || !be.Temporary() {
			t.Fatalf("attempt %d: the error is not temporary: %v", failed+1, err)
		}
		if failed == left {
			t.Fatalf("still fails after %d attempts: %v", failed+1, err)
		}
	}
}

// processesWith returns the processes whose command line has a text.
func processesWith(t *testing.T, text string) (pids []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), text) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// The last lines of a long output are needed most: they have the error.
func TestLongOutputIsWhole(t *testing.T) {
	w := newWorld(t, t.TempDir())
	// 6 MB: three times what BuildKit keeps of a step, in less than the second
	// for which it lets 200 kB through.
	_, err := w.build(t.Context(), "loud", "FROM busybox\nRUN seq 1 800000 && echo the-very-last && false\n")
	if err == nil || !strings.Contains(err.Error(), "the-very-last") {
		t.Errorf("the error is %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := strings.Count(w.log.String(), "\n"); n < 800001 || strings.Contains(w.log.String(), "clipped") {
		t.Errorf("%d lines of 800001 arrived", n)
	}
}

// A step that hangs is ended, and reported with its location and its last output.
func TestStepTimeout(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.b.opts.StepTimeout = 5 * time.Second
	_, err := w.build(t.Context(), "slow", "FROM busybox\nRUN echo quick\nRUN echo before-it-hangs && \\\n    sleep 300\n")
	var be *BuildError
	if !errors.As(err, &be) {
		t.Fatalf("the error is %v", err)
	}
	f := be.Failure
	if f.Line != 3 || len(f.Source) != 2 || !slices.Contains(f.Tail, "before-it-hangs") ||
		!strings.Contains(f.Err.Error(), "longer than 5s") {
		t.Errorf("the failure is %+v", f)
	}
	if be.Temporary() || be.Signature() == "" {
		t.Error("a step that hangs is retried once, not as often as a network fault")
	}
	w.b.opts.StepTimeout = time.Hour
	if _, err := w.build(t.Context(), "slow", "FROM busybox\nRUN echo quick\n"); err != nil {
		t.Errorf("the builder is of no use after a step's time-out: %v", err)
	}
}
