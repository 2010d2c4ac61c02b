package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/report/page"
)

// reports are the files that a run leaves: where they go, and what is gathered
// for them. They are written however the run ends.
type reports struct {
	cfg      *config.Config // with the files' paths filled in
	env      Env
	started  time.Time
	recorder report.Recorder
	dir      string // this run's directory in --report-dir, "" if there is none
	history  report.History
	load     sync.Once
	records  []report.Record // of the history, once loaded
}

// keepReports is how many runs' directories --report-dir holds.
const keepReports = 30

// reportName is the form of those directories' names: only such are removed.
const reportName = "2006-01-02T150405"

var reportNames = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d{6}(-\d+)?$`)

// newReports finds out where the files go, and takes away those of an earlier
// run: one that ends before its reports must not leave yesterday's there.
func newReports(cfg *config.Config, env Env) (*reports, error) {
	c := *cfg
	p := &reports{cfg: &c, env: env, started: time.Now(), history: report.History{Path: filepath.Join(cfg.DataDir, "runs", scope(cfg)+".jsonl")}}
	if cfg.ReportDir != "" {
		if err := p.openDir(); err != nil {
			return nil, err
		}
	}
	for _, f := range p.files() {
		if f.path == "" {
			continue
		}
		if st, err := os.Stat(filepath.Dir(f.path)); err != nil || !st.IsDir() {
			return nil, &HintError{fmt.Errorf("--%s %s: there is no directory %s", f.option, f.path, filepath.Dir(f.path)), "make it first"}
		}
		if st, err := os.Stat(f.path); err == nil && st.IsDir() {
			return nil, fmt.Errorf("--%s %s: it is a directory", f.option, f.path)
		}
		// Metrics stay until new ones replace them: a series that ends every night
		// and comes back is an alarm, and when the run was is among them.
		// Devices and pipes are written to; a link stays, and what it leads to goes.
		if f.option == "metrics-file" || atomicfile.InDev(f.path) {
			continue
		}
		old, err := filepath.EvalSymlinks(f.path)
		if err != nil {
			continue // there is none, or a link to none
		}
		if st, err := os.Stat(old); err == nil && !st.Mode().IsRegular() {
			continue
		}
		if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("removing the last run's --%s: %w", f.option, err)
		}
	}
	return p, nil
}

type reportFile struct{ option, path string }

func (p *reports) files() []reportFile {
	return []reportFile{{"summary-json-file", p.cfg.SummaryJSONFile}, {"report-html", p.cfg.ReportHTML},
		{"junit-file", p.cfg.JUnitFile}, {"metrics-file", p.cfg.MetricsFile}}
}

// scope names the set whose runs are compared with each other.
func scope(cfg *config.Config) string {
	name := cfg.Base + "-" + cfg.InstallType + "-" + cfg.BaseArch
	if cfg.ImageNamePrefix != "" {
		name += "-" + cfg.ImageNamePrefix
	}
	return strings.NewReplacer("/", "_", "\x00", "_").Replace(name)
}

// openDir makes this run's directory, and puts the reports there that no option
// puts elsewhere.
func (p *reports) openDir() error {
	name := p.started.Format(reportName)
	for i := 2; ; i++ {
		p.dir = filepath.Join(p.cfg.ReportDir, name)
		err := os.MkdirAll(p.cfg.ReportDir, 0o755)
		if err == nil {
			err = os.Mkdir(p.dir, 0o755)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return &HintError{fmt.Errorf("--report-dir: %w", err), "name a directory that this user may write"}
		}
		name = fmt.Sprintf("%s-%d", p.started.Format(reportName), i)
	}
	for path, file := range map[*string]string{&p.cfg.ReportHTML: "index.html", &p.cfg.JUnitFile: "junit.xml",
		&p.cfg.MetricsFile: "metrics.prom", &p.cfg.SummaryJSONFile: "summary.json", &p.cfg.LogsDir: "logs"} {
		if *path == "" {
			*path = filepath.Join(p.dir, file)
		}
	}
	return nil
}

// finish writes what the run has left and returns the error that the command
// ends with: the run's own before one of writing.
func (p *reports) finish(ctx context.Context, r *buildRun, ended error) error {
	run := p.run(ctx, r, ended)
	err := p.write(run)
	if r.plan != nil && len(r.results) > 0 {
		if herr := p.history.Add(run.Record()); herr != nil {
			p.env.Notice("warning: %v", herr)
		}
	}
	if r.night != nil && (!p.cfg.Quiet || run.Outcome != report.OutcomeOK) {
		page := p.cfg.ReportHTML
		if p.dir != "" && filepath.Dir(page) == p.dir {
			page = filepath.Join(p.cfg.ReportDir, "latest", filepath.Base(page))
		}
		p.env.Notice("%s", r.night.line(r, run, page))
	}
	switch {
	case err == nil:
		return ended
	case ended == nil:
		return err
	}
	p.env.Notice("warning: %v", err)
	return ended
}

func (p *reports) write(run *report.Run) error {
	var errs []error
	if p.cfg.SummaryJSONFile != "" && p.cfg.Summary && p.cfg.Format == "json" && len(run.Results) == 0 && run.Err != nil {
		errs = append(errs, run.WriteJSONFile(p.cfg.SummaryJSONFile))
	}
	for _, f := range []struct {
		path  string
		write func(string) error
	}{{p.cfg.ReportHTML, func(path string) error { return page.WriteFile(path, run) }},
		{p.cfg.JUnitFile, run.WriteJUnitFile}, {p.cfg.MetricsFile, run.WriteOpenMetricsFile}} {
		if f.path != "" {
			errs = append(errs, f.write(f.path))
		}
	}
	if p.dir != "" {
		errs = append(errs, p.pointLatest(), p.prune())
	}
	return errors.Join(errs...)
}

// pointLatest moves the link latest to this run, whole: a reader sees the old
// report or the new one.
func (p *reports) pointLatest() error {
	link := filepath.Join(p.cfg.ReportDir, "latest")
	next := filepath.Join(p.cfg.ReportDir, "."+filepath.Base(p.dir)+".latest")
	if err := os.Symlink(filepath.Base(p.dir), next); err != nil {
		return fmt.Errorf("pointing %s to this run: %w", link, err)
	}
	if err := os.Rename(next, link); err != nil {
		_ = os.Remove(next)
		return fmt.Errorf("pointing %s to this run: %w", link, err)
	}
	return nil
}

// prune removes the oldest runs' directories.
func (p *reports) prune() error {
	entries, err := os.ReadDir(p.cfg.ReportDir)
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
		if err := os.RemoveAll(filepath.Join(p.cfg.ReportDir, names[0])); err != nil {
			return fmt.Errorf("removing old reports: %w", err)
		}
		names = names[1:]
	}
	return nil
}

// run puts together what all reports are made from.
func (p *reports) run(ctx context.Context, r *buildRun, ended error) *report.Run {
	now := time.Now()
	run := &report.Run{Summary: r.summary, Version: p.env.Version, Started: p.started, Slots: p.cfg.Threads, Outcome: report.OutcomeOK,
		Title:      fmt.Sprintf("%s %s, %s, %s", p.cfg.Base, p.cfg.BaseTag, p.cfg.InstallType, p.cfg.OpenstackRelease),
		Activities: p.recorder.Activities(now), Notes: p.recorder.Notes(), Needs: map[image.ID][]image.ID{}}
	run.Duration = now.Sub(p.started)
	switch {
	case ctx.Err() != nil:
		run.Outcome = report.OutcomeInterrupted
	case ended != nil:
		run.Outcome = report.OutcomeFailed
	}
	if ended != nil && !errors.Is(ended, ErrFailed) {
		run.Err = ended
	}
	if len(run.Results) == 0 {
		for _, res := range r.results { // it ended before its summary
			run.Results = append(run.Results, *res)
		}
	}
	if r.plan != nil {
		for _, it := range r.plan.Items {
			run.Needs[it.Image] = it.Needs
		}
	}
	if r.sent { // which a failure of images or of what came after does not undo
		run.Registry, run.Tags, run.Left = p.cfg.Registry, append([]string{p.cfg.Tag}, p.cfg.AlsoTag...), r.left
	}
	var set *push.CommitError
	if errors.As(ended, &set) {
		run.Stuck = len(set.Stuck)
	}
	run.Past = p.past()
	return run
}

// past returns the earlier runs, the newest first.
func (p *reports) past() []report.Record {
	p.load.Do(func() {
		var err error
		if p.records, err = p.history.Load(); err != nil {
			p.env.Notice("warning: %v", err)
		}
	})
	return p.records
}

// wanted reports whether somebody will read more of this run than its summary.
func (p *reports) wanted() bool {
	return p.cfg.Refresh || p.cfg.ReportHTML != "" || p.cfg.JUnitFile != "" || p.cfg.MetricsFile != ""
}
