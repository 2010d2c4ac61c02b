package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/report/page"
	"github.com/kolla-build/kolla-build/pkg/runlogs"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// reportFiles are the paths of the files that a run writes, "" for none.
type reportFiles struct {
	summaryJSON, html, junit, metrics string
	logs                              string // directory

	// keptLogs is whether the logs are in the data directory, which is made when the first
	// image starts.
	keptLogs bool

	parent string // --report-dir
	dir    string // this run's directory in it
}

// keepReports is how many runs' directories --report-dir has.
const keepReports = 30

// reportName is the form of their names; directories with other names are never
// removed.
const reportName = "2006-01-02T150405"

var reportNames = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d{6}(-\d+)?$`)

// openReports decides where the files go and removes those of an earlier run: a
// run that ends before its reports must not leave the last run's there.
func openReports(cfg *config.Config, started time.Time) (reportFiles, error) {
	f := reportFiles{summaryJSON: cfg.SummaryJSONFile, html: cfg.ReportHTML, junit: cfg.JUnitFile, metrics: cfg.MetricsFile, logs: cfg.LogsDir, parent: cfg.ReportDir}
	if cfg.LogsDir != "" {
		if err := workspace.CheckWritable(cfg.LogsDir); err != nil {
			return f, fmt.Errorf("--logs-dir %s: %w", cfg.LogsDir, err)
		}
	}
	if f.parent != "" {
		if err := f.makeDir(started); err != nil {
			return f, err
		}
	}
	for _, file := range []struct{ option, path string }{
		{"summary-json-file", f.summaryJSON}, {"report-html", f.html}, {"junit-file", f.junit}, {"metrics-file", f.metrics}} {
		if file.path == "" {
			continue
		}
		if st, err := os.Stat(filepath.Dir(file.path)); err != nil || !st.IsDir() {
			return f, usererr.Errorf("create it first", "--%s %s: no directory %s", file.option, file.path, filepath.Dir(file.path))
		}
		if st, err := os.Stat(file.path); err == nil && st.IsDir() {
			return f, fmt.Errorf("--%s %s: it is a directory", file.option, file.path)
		}
		// Metrics stay until new ones replace them: a series that ends every night
		// and comes back raises alarms, and it has the time of the run.
		if file.option == "metrics-file" {
			continue
		}
		if err := removeReport(file.path); err != nil {
			return f, fmt.Errorf("removing the last run's --%s: %w", file.option, err)
		}
	}
	return f, nil
}

// removeReport removes a regular file. Devices and pipes stay, and of a symbolic
// link the file that it leads to is removed.
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
func (f *reportFiles) makeDir(started time.Time) error {
	name := started.Format(reportName)
	for i := 2; ; i++ {
		f.dir = filepath.Join(f.parent, name)
		err := os.MkdirAll(f.parent, 0o755)
		if err == nil {
			err = os.Mkdir(f.dir, 0o755)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return usererr.Errorf("name a directory that this user may write to", "--report-dir: %w", err)
		}
		name = fmt.Sprintf("%s-%d", started.Format(reportName), i)
	}
	for path, name := range map[*string]string{&f.html: "index.html", &f.junit: "junit.xml",
		&f.metrics: "metrics.prom", &f.summaryJSON: "summary.json", &f.logs: "logs"} {
		if *path == "" {
			*path = filepath.Join(f.dir, name)
		}
	}
	return nil
}

// keepLogs makes a run's logs those that the command logs finds: in the data directory,
// unless the user named another one. If that fails, the run has no logs.
func (f *reportFiles) keepLogs(dataDir string, started time.Time) error {
	if f.keptLogs {
		return nil // the second attempt of a run
	}
	dir, err := runlogs.Start(dataDir, started, f.logs)
	if err == nil && f.logs == "" {
		f.logs, f.keptLogs = dir, true
	}
	return err
}

// latest returns the path of a report by the name that always leads to the newest.
func (f reportFiles) latest(path string) string {
	if f.dir != "" && filepath.Dir(path) == f.dir {
		return filepath.Join(f.parent, "latest", filepath.Base(path))
	}
	return path
}

// write writes the reports of a run, except the JSON summary.
func (f reportFiles) write(run *report.Run) error {
	var errs []error
	for _, file := range []struct {
		path  string
		write func(string) error
	}{{f.html, func(path string) error { return page.WriteFile(path, run) }},
		{f.junit, run.WriteJUnitFile}, {f.metrics, run.WriteOpenMetricsFile}} {
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
func (f reportFiles) pointLatest() error {
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
func (f reportFiles) removeOld() error {
	entries, err := os.ReadDir(f.parent)
	if err != nil {
		return fmt.Errorf("removing old reports: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && reportNames.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	for len(names) > keepReports {
		if err := os.RemoveAll(filepath.Join(f.parent, names[0])); err != nil {
			return fmt.Errorf("removing old reports: %w", err)
		}
		names = names[1:]
	}
	return nil
}
