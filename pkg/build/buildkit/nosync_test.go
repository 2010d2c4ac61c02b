package buildkit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
