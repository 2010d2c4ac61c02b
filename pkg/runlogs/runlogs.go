// Package runlogs owns the logs of images in the data directory, with a directory for
// each run: their retention, and finding and printing them. It must not know how logs
// are written.
package runlogs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/rundir"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// Limits of the kept logs. Older runs are removed when a run starts.
const (
	maxRuns  = 30       // runs
	maxTotal = 1 << 30  // bytes of all runs
	MaxLog   = 64 << 20 // bytes of one image's log
)

// Dir returns the directory of logs in a data directory.
func Dir(dataDir string) string { return filepath.Join(dataDir, "logs") }

// Start makes the directory for the logs of a run that starts now, and removes those of
// runs beyond the limits. The directory is unique even if another run starts in the same
// second. If elsewhere is not "", the run writes its logs there, and a link leads to it.
func Start(dataDir string, now time.Time, elsewhere string) (string, error) {
	dir := Dir(dataDir)
	runs, err := list(dir)
	if err != nil {
		return "", err
	}
	if elsewhere != "" {
		if elsewhere, err = filepath.Abs(elsewhere); err != nil {
			return "", fmt.Errorf("linking to the logs: %w", err)
		}
		// The directory is used again, so its earlier runs have no logs any more.
		runs = slices.DeleteFunc(runs, func(r run) bool {
			target, err := os.Readlink(r.path)
			return err == nil && target == elsewhere && r.remove() == nil
		})
	}
	if err := removeOld(runs, maxRuns-1, maxTotal); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("keeping logs: %w", err)
	}
	var r run
	err = rundir.Create(rundir.NameUTC(now), func(name string) error {
		r = run{name, filepath.Join(dir, name)}
		if elsewhere == "" {
			return os.Mkdir(r.path, 0o755)
		}
		return os.Symlink(elsewhere, r.path)
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("keeping logs: %w", err)
	case elsewhere != "":
		return elsewhere, r.writeEarlier()
	}
	return r.path, nil
}

// End removes the directory of a run that wrote no logs.
func End(dir string) {
	_ = os.Remove(dir) // fails if the directory has logs
}

// run is the directory of a run.
type run struct {
	name, path string
}

// list returns the runs of a directory, the newest first.
func list(dir string) ([]run, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading logs: %w", err)
	}
	var runs []run
	for _, e := range entries {
		if rundir.IsNameUTC(e.Name()) {
			runs = append(runs, run{e.Name(), filepath.Join(dir, e.Name())})
		}
	}
	slices.SortFunc(runs, func(a, b run) int { return rundir.Compare(b.name, a.name) })
	return runs, nil
}

// removeOld removes the oldest runs until at most count of them with at most total bytes are left.
// The newest one always stays. Logs that a link leads to belong to the user and are kept.
func removeOld(runs []run, count int, total int64) error {
	var errs []error
	for i, r := range runs {
		total -= r.size()
		if i > 0 && (i >= count || total < 0) {
			errs = append(errs, r.remove())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing old logs: %w", err)
	}
	return nil
}

// size returns the bytes of a run's logs, 0 if a link leads to them.
func (r run) size() int64 {
	var total int64
	entries, _ := os.ReadDir(r.path)
	if st, err := os.Lstat(r.path); err != nil || !st.IsDir() {
		return 0
	}
	for _, e := range entries {
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() {
			total += st.Size()
		}
	}
	return total
}

// Log is the log of an image in a run.
type Log struct {
	Image  string // as in its file name
	Path   string
	Size   int64
	Failed bool
}

// logs returns the logs of a run, sorted by image.
func (r run) logs() []Log {
	entries, _ := os.ReadDir(r.path) // the target of a link may have been removed
	earlier := r.readEarlier()
	failed := map[string]bool{}
	var logs []Log
	for _, e := range entries {
		name, isLog := strings.CutSuffix(e.Name(), ".log")
		if st, err := e.Info(); !isLog || err != nil || earlier.unchanged(st) {
			continue
		}
		if image, isFailed := strings.CutPrefix(name, report.FailedPrefix); isFailed {
			failed[image] = true
			continue
		}
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() {
			logs = append(logs, Log{Image: name, Path: filepath.Join(r.path, e.Name()), Size: st.Size()})
		}
	}
	for i := range logs {
		logs[i].Failed = failed[logs[i].Image]
	}
	slices.SortFunc(logs, func(a, b Log) int { return strings.Compare(a.Image, b.Image) })
	return logs
}
