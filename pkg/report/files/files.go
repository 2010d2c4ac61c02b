// Package files owns the paths of a run's reports and logs: it writes the reports and keeps
// the directories of the last runs. It must not know the content of reports.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/rundir"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/report/page"
	"github.com/kolla-build/kolla-build/pkg/runlogs"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// Files are the paths of the files that a run writes, "" for none.
type Files struct {
	SummaryJSON, HTML, JUnit, Metrics string

	logsDir string // directory that the user named
	parent  string // --report-dir
	dir     string // this run's directory in it
}

// Logs is the location of the logs of a run's images.
type Logs struct {
	Dir string // "" for nowhere
	// Kept reports that Dir is in the data directory. It is removed if it stays empty, and the
	// sizes of logs are limited.
	Kept bool
}

// keepReports is how many runs' directories --report-dir has.
const keepReports = 30

// Open determines the paths of a run's files, and removes the files of an earlier run, so
// that they are not mistaken for those of a run that ends before its reports.
func Open(cfg *config.Config, started time.Time) (Files, error) {
	f := Files{SummaryJSON: cfg.SummaryJSONFile, HTML: cfg.ReportHTML, JUnit: cfg.JUnitFile, Metrics: cfg.MetricsFile,
		logsDir: cfg.LogsDir, parent: cfg.ReportDir}
	if cfg.LogsDir != "" {
		if err := workspace.CheckWritable(cfg.LogsDir); err != nil {
			return f, cfg.UsageIfUnreadable("logs-dir", fmt.Errorf("--logs-dir %s: %w", cfg.LogsDir, err))
		}
	}
	if f.parent != "" {
		if err := f.makeDir(started); err != nil {
			return f, cfg.UsageIfUnreadable("report-dir", err)
		}
	}
	for _, file := range []struct{ option, path string }{
		{"summary-json-file", f.SummaryJSON}, {"report-html", f.HTML}, {"junit-file", f.JUnit}, {"metrics-file", f.Metrics}} {
		if file.path == "" {
			continue
		}
		if st, err := os.Stat(filepath.Dir(file.path)); err != nil || !st.IsDir() {
			return f, cfg.UsageIfTyped(file.option,
				usererr.Errorf("create it first", "--%s %s: no directory %s", file.option, file.path, filepath.Dir(file.path)))
		}
		if st, err := os.Stat(file.path); err == nil && st.IsDir() {
			return f, cfg.UsageIfTyped(file.option, fmt.Errorf("--%s %s: it is a directory", file.option, file.path))
		}
		// Metrics stay until new ones replace them, because a series that disappears
		// during every run raises alarms. They contain the time of the run.
		if file.option == "metrics-file" {
			continue
		}
		if err := removeReport(file.path); err != nil {
			return f, fmt.Errorf("removing the last run's --%s: %w", file.option, err)
		}
	}
	return f, nil
}

// removeReport removes a regular file, or the target of a symbolic link. Devices and
// pipes stay.
func removeReport(path string) error {
	if atomicfile.InDev(path) {
		return nil
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil // there is no file
	}
	if st, err := os.Stat(target); err == nil && !st.Mode().IsRegular() {
		return nil
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// makeDir makes this run's directory, for the files that no option puts elsewhere.
func (f *Files) makeDir(started time.Time) error {
	err := os.MkdirAll(f.parent, 0o755)
	if err == nil {
		err = rundir.Create(rundir.Name(started), func(name string) error {
			f.dir = filepath.Join(f.parent, name)
			return os.Mkdir(f.dir, 0o755)
		})
	}
	if err != nil {
		return usererr.Errorf("name a directory that this user may write to", "--report-dir: %w", err)
	}
	for path, name := range map[*string]string{&f.HTML: "index.html", &f.JUnit: "junit.xml",
		&f.Metrics: "metrics.prom", &f.SummaryJSON: "summary.json", &f.logsDir: "logs"} {
		if *path == "" {
			*path = filepath.Join(f.dir, name)
		}
	}
	return nil
}

// StartLogs starts the logs of a run in the data directory, or in the directory that the
// user named, so that the command logs finds them. After an error, they cannot be found
// later, and without a directory of the user there are no logs.
func (f Files) StartLogs(dataDir string, started time.Time) (Logs, error) {
	dir, err := runlogs.Start(dataDir, started, f.logsDir)
	if err != nil || f.logsDir != "" {
		return Logs{Dir: f.logsDir}, err
	}
	return Logs{Dir: dir, Kept: true}, nil
}

// Latest returns the path of a report through the link to the newest one.
func (f Files) Latest(path string) string {
	if f.dir != "" && filepath.Dir(path) == f.dir {
		return filepath.Join(f.parent, "latest", filepath.Base(path))
	}
	return path
}

// Write writes the reports of a run, except the JSON summary.
func (f Files) Write(run *report.Run) error {
	var errs []error
	for _, file := range []struct {
		path  string
		write func(string) error
	}{{f.HTML, func(path string) error { return page.WriteFile(path, run) }},
		{f.JUnit, run.WriteJUnitFile}, {f.Metrics, run.WriteOpenMetricsFile}} {
		if file.path != "" {
			errs = append(errs, file.write(file.path))
		}
	}
	if f.dir != "" {
		errs = append(errs, f.pointLatest(), f.removeOld())
	}
	return errors.Join(errs...)
}

// pointLatest points the link "latest" to this run, atomically.
func (f Files) pointLatest() error {
	link := filepath.Join(f.parent, "latest")
	next := filepath.Join(f.parent, "."+filepath.Base(f.dir)+".latest")
	if err := os.Symlink(filepath.Base(f.dir), next); err != nil {
		return fmt.Errorf("pointing %s to this run: %w", link, err)
	}
	if err := os.Rename(next, link); err != nil {
		_ = os.Remove(next)
		return fmt.Errorf("pointing %s to this run: %w", link, err)
	}
	return nil
}

// removeOld removes the oldest runs' directories.
func (f Files) removeOld() error {
	entries, err := os.ReadDir(f.parent)
	if err != nil {
		return fmt.Errorf("removing old reports: %w", err)
	}
	var runs []string
	for _, e := range entries {
		if e.IsDir() && rundir.IsName(e.Name()) {
			runs = append(runs, e.Name())
		}
	}
	slices.SortFunc(runs, rundir.Compare)
	for len(runs) > keepReports {
		if err := os.RemoveAll(filepath.Join(f.parent, runs[0])); err != nil {
			return fmt.Errorf("removing old reports: %w", err)
		}
		runs = runs[1:]
	}
	return nil
}
