package builderdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/mounts"
	"golang.org/x/sys/unix"
)

// sweepTimeout is how long to wait for killed processes to end, and for their files.
const sweepTimeout = 10 * time.Second

// Sweep removes what a killed daemon has left: containers of RUN steps with their
// processes and control groups, mounts, and temporary files. A daemon that was
// stopped leaves none of these.
//
// The caller holds the lock of the state directory, which every daemon that is started
// inherits, so no running process uses its content. Containers are found by their
// directories in it, mounts by their path: those of another daemon are not touched.
func Sweep(state string) error {
	found, err := findRemains(state)
	if err != nil {
		return err
	}
	return found.remove()
}

// remove removes what was found. If only files are left then, the error is a *filesError.
func (r remains) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), sweepTimeout)
	defer cancel()
	for _, step := range r.steps {
		id := filepath.Base(step)
		// It fails if runc does not know the container, which needs no handling.
		_ = exec.CommandContext(ctx, "runc", "delete", "--force", id).Run()
		if err := killGroup(ctx, id); err != nil {
			return err
		}
	}
	for _, dir := range r.dirs {
		if err := mounts.UnmountBelow(dir); err != nil {
			return err
		}
	}
	// The daemon would append to partial blobs, and a damaged beginning would stay damaged.
	var errs []error
	for _, path := range slices.Concat(r.partial, r.steps, []string{r.tmp}) {
		errs = append(errs, removeAll(ctx, path))
	}
	for _, dir := range r.dirs[1:] {
		_ = os.RemoveAll(dir) // SweepSocketDirs tries again
	}
	if err := errors.Join(errs...); err != nil {
		return &filesError{err}
	}
	return os.Mkdir(r.tmp, 0o700)
}

// filesError reports files of a killed daemon that could not be removed. Nothing runs or is mounted in the
// directory any more.
type filesError struct{ err error }

func (e *filesError) Error() string { return e.err.Error() }

func (e *filesError) Unwrap() error { return e.err }

// removeAll removes a directory. As long as something in it is busy or is added, it tries
// again until ctx ends: a killed process or its mounts may not have ended completely.
func removeAll(ctx context.Context, path string) error {
	for {
		err := os.RemoveAll(path)
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// globIn returns the paths in a directory that match a pattern. The directory's own path is
// no pattern, whatever characters it has.
func globIn(dir, pattern string) ([]string, error) {
	names, err := fs.Glob(os.DirFS(dir), pattern)
	for i, name := range names {
		names[i] = filepath.Join(dir, name)
	}
	return names, err
}

// isContainerID reports whether a name in the executor's directory is one of
// BuildKit's random identifiers, and not a file such as resolv.conf.
func isContainerID(name string) bool {
	return len(name) == 25 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// killGroup kills the processes whose control group is named after a container,
// and waits until they have ended.
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
			return fmt.Errorf("processes %v of a killed step do not end", pids)
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
