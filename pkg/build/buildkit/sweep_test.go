package buildkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	done := make(chan error, 1)
	go func() {
		_, err := w.build(t.Context(), "long", "FROM busybox\nRUN echo sleeping-now; sleep 300\n")
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
	bundles, err := filepath.Glob(filepath.Join(state, "runc-*", "executor", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var id string
	for _, b := range bundles {
		if isContainerID(filepath.Base(b)) {
			id = filepath.Base(b)
		}
	}
	if id == "" || len(inGroup(id)) == 0 {
		t.Fatalf("the running step's container is not found in %v: BuildKit keeps it elsewhere", bundles)
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
	if w.b, err = Open(t.Context(), w.b.opts); err != nil {
		t.Fatal(err)
	}
	if pids := inGroup(id); len(pids) > 0 {
		t.Errorf("processes %v of the killed builder's step live", pids)
	}
	if points, err := mounts.Below(state); err != nil || len(points) > 0 {
		t.Errorf("still mounted: %v (%v)", points, err)
	}
	if _, err := os.Stat(filepath.Join(state, "runc-overlayfs", "executor", id)); !os.IsNotExist(err) {
		t.Errorf("the container's directory is there: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(strings.TrimPrefix(addr, "unix://"))); !os.IsNotExist(err) {
		t.Errorf("the directory of the socket still exists: %v", err)
	}
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
	if f.Line != 3 || len(f.Source) != 2 || !slices.Contains(f.Tail, "before-it-hangs") || !strings.Contains(f.Err.Error(), "longer than 5s") {
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

// A TMPDIR that cannot be used affects neither this run nor a later one.
func TestUnusableTempDir(t *testing.T) {
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for _, tmp := range []string{"/etc/passwd", "/nonexistent", "/proc", loop, "/dev/null/x", strings.Repeat("/x", 500)} {
		state := t.TempDir()
		t.Setenv("TMPDIR", tmp)
		run, lock, err := makeRunDir(state)
		if err != nil || filepath.Dir(run) != "/tmp" {
			t.Fatalf("TMPDIR=%s: %s, %v", tmp, run, err)
		}
		lock.Close()
		if err := sweep(state); err != nil {
			t.Errorf("TMPDIR=%s: the next run: %v", tmp, err)
		}
		if _, err := os.Lstat(run); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("TMPDIR=%s: %s was not removed (%v)", tmp, run, err)
		}
	}
	// The record of an earlier version is not an error either.
	for _, note := range []string{"/etc/passwd/kolla-buildkit-x", "kolla-buildkit-x", loop + "/kolla-buildkit-x", "",
		"/\x00kolla-buildkit-", strings.Repeat("x", 5000)} {
		state := t.TempDir()
		if err := os.WriteFile(filepath.Join(state, runNote), []byte(note), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := sweep(state); err != nil {
			t.Errorf("note %.40q: %v", note, err)
		}
	}
}

// The directory of a socket is removed by the next builder of any state directory, unless it is used
// or could be.
func TestSweepRunDirs(t *testing.T) {
	tmp, err := os.MkdirTemp("/tmp", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	t.Setenv("TMPDIR", tmp)
	dirs := map[string]string{}
	for _, name := range []string{"used", "killed", "new"} {
		run, lock, err := makeRunDir(t.TempDir())
		if err != nil || filepath.Dir(run) != tmp {
			t.Fatal(run, err)
		}
		if name == "used" {
			defer lock.Close()
		} else {
			lock.Close()
		}
		dirs[name] = run
	}
	for _, name := range []string{"unlocked", "young", "other"} {
		dirs[name] = filepath.Join(tmp, runPrefix+name)
		if err := os.Mkdir(dirs[name], 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dirs["other"], 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	for name, age := range map[string]time.Duration{"used": 120, "killed": 120, "unlocked": 120, "young": 10, "other": 120} {
		at := time.Now().Add(-age * time.Minute)
		if err := os.Chtimes(dirs[name], at, at); err != nil {
			t.Fatal(err)
		}
	}
	sweepRunDirs()
	root := os.Geteuid() == 0
	for name, want := range map[string]bool{"used": true, "killed": false, "new": true, "unlocked": false, "young": true, "other": root} {
		if _, err := os.Stat(dirs[name]); (err == nil) != want {
			t.Errorf("%s: present is %v, want %v", name, err == nil, want)
		}
	}
}
