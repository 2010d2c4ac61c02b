package buildkit

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/mounts"
	"golang.org/x/sys/unix"
)

// sweepTimeout bounds the wait for processes that have been killed.
const sweepTimeout = 10 * time.Second

// sweep removes what a daemon that was killed has left behind: the containers
// of its RUN steps with their processes and control groups, its mounts, and
// its temporary files. A daemon that ends in order leaves none of these.
//
// The caller holds the lock of the state directory, which every daemon that we
// start inherits: so whatever is found there belongs to nobody who lives.
// Containers are known by their directories there, mounts by their place:
// nothing of another daemon can be met.
func sweep(state string) error {
	ctx, cancel := context.WithTimeout(context.Background(), sweepTimeout)
	defer cancel()
	bundles, err := filepath.Glob(filepath.Join(state, "runc-*", "executor", "*"))
	if err != nil {
		return err
	}
	for _, b := range bundles {
		id := filepath.Base(b)
		if st, err := os.Lstat(b); err != nil || !st.IsDir() || !isContainerID(id) {
			continue
		}
		// What runc knows of it goes in runc's own way; it says no if it knows
		// nothing, and then there is nothing.
		_ = exec.CommandContext(ctx, "runc", "delete", "--force", id).Run()
		if err := killGroup(ctx, id); err != nil {
			return err
		}
	}
	places := []string{state}
	if old, err := os.ReadFile(filepath.Join(state, runNote)); err == nil && strings.HasPrefix(filepath.Base(string(old)), runPrefix) {
		places = append(places, string(old))
	}
	for _, p := range places {
		if err := mounts.UnmountBelow(p); err != nil {
			return err
		}
	}
	for _, b := range bundles {
		if isContainerID(filepath.Base(b)) {
			_ = os.RemoveAll(b)
		}
	}
	// Blobs that had not come whole into its own store: it would continue them,
	// and what came damaged would be damaged for ever.
	partial, err := filepath.Glob(filepath.Join(state, "runc-*", "content", "ingest", "*"))
	if err != nil {
		return err
	}
	for _, p := range partial {
		_ = os.RemoveAll(p)
	}
	_ = os.RemoveAll(filepath.Join(state, "tmp"))
	if len(places) > 1 {
		_ = os.RemoveAll(places[1])
	}
	return os.Mkdir(filepath.Join(state, "tmp"), 0o700)
}

// isContainerID tells BuildKit's random identifiers from other names in the
// executor's directory, such as resolv.conf.
func isContainerID(name string) bool {
	return len(name) == 25 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// killGroup kills the processes whose control group is named after a container
// and waits until they are gone.
func killGroup(ctx context.Context, id string) error {
	for {
		pids := inGroup(id)
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes %v of a step that was killed do not end", pids)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func inGroup(id string) []int {
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil
	}
	var pids []int
	for _, g := range groups {
		data, err := os.ReadFile(g)
		if err != nil || !strings.Contains(string(data), "/"+id) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(g))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
