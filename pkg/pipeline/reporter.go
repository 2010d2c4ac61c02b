package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/observe"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/nightly"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/report/files"
)

// reporter observes a run, and reports it when it has ended, whether it succeeded or
// not.
type reporter struct {
	cfg     *config.Config // as the user gave it
	console *console.Console
	night   *nightly.Night
	started time.Time

	files     files.Files
	history   report.History
	recorder  report.Recorder
	stopwatch *observe.Stopwatch
	daemonEnv []string // environment of a started builder
}

func newReporter(cfg *config.Config, c *console.Console, n *nightly.Night) (*reporter, error) {
	r := &reporter{cfg: cfg, console: c, night: n, started: time.Now(), stopwatch: observe.NewStopwatch(),
		history: report.History{Path: filepath.Join(cfg.DataDir, "runs", historyName(cfg)+".jsonl")}}
	var err error
	r.files, err = files.Open(cfg, r.started)
	return r, err
}

// startLogs starts the logs of the run's images.
func (r *reporter) startLogs() files.Logs {
	logs, err := r.files.StartLogs(r.cfg.DataDir, r.started)
	if err != nil {
		r.console.Notice("warning: %v", err)
	}
	return logs
}

// historyName is the name of the set in the history of runs.
func historyName(cfg *config.Config) string {
	name := cfg.Base + "-" + cfg.InstallType + "-" + cfg.BaseArch
	if cfg.ImageNamePrefix != "" {
		name += "-" + cfg.ImageNamePrefix
	}
	return strings.NewReplacer("/", "_", "\x00", "_").Replace(name)
}

// finish reports a run and returns the error of the command: the run's own error, or
// else an error of writing a report.
func (r *reporter) finish(ctx context.Context, s stages, runErr error) error {
	earlier, err := r.history.Load()
	if err != nil {
		r.console.Notice("warning: %v", err)
	}
	run := r.run(ctx, s, earlier)
	if s.published != nil { // the run reached its end
		runErr = cmp.Or(r.summarize(ctx, s, run, runErr), runErr)
	}
	r.end(ctx, run, runErr)
	if r.files.SummaryJSON != "" && r.cfg.Summary && r.cfg.Format == "json" && len(run.Results) == 0 && run.Err != nil {
		err = run.WriteJSONFile(r.files.SummaryJSON)
	} else {
		err = nil
	}
	err = errors.Join(err, r.files.Write(run))
	if s.built != nil && len(s.built.results) > 0 {
		if herr := r.history.Add(run.Record()); herr != nil {
			r.console.Notice("warning: %v", herr)
		}
	}
	if r.night != nil && (!r.cfg.Quiet || run.Outcome != report.OutcomeOK) {
		r.console.Notice("%s", run.NightLine(s.planned != nil && s.planned.registry != nil, r.files.Latest(r.files.HTML)))
	}
	if err != nil && runErr != nil {
		r.console.Notice("warning: %v", err)
	}
	return cmp.Or(runErr, err)
}

// run collects the data for all reports except the outcome, which end adds.
func (r *reporter) run(ctx context.Context, s stages, earlier []report.Record) *report.Run {
	now := time.Now()
	run := &report.Run{Version: r.console.Version, Started: r.started, Slots: r.cfg.Threads, Past: earlier,
		Title: fmt.Sprintf("%s %s, %s, %s", r.cfg.Base, r.cfg.BaseTag, r.cfg.InstallType, r.cfg.OpenstackRelease),
		Set:   setOf(r.cfg, r.night), Publishes: r.cfg.Push, NothingNew: s.planned != nil && s.planned.nothingNew,
		Activities: r.recorder.Activities(now), Notes: r.recorder.Notes(), Needs: map[image.ID][]image.ID{}}
	run.Duration = now.Sub(r.started)
	if s.planned != nil {
		for _, it := range s.planned.plan.Items {
			run.Needs[it.Image] = it.Needs
		}
	}
	run.Times = r.recorder.Times(run.Needs, r.started, now)
	if s.built == nil {
		return run
	}
	run.AllowedToFail = s.session.mayFail(s.planned)
	var changes map[image.ID][]report.PackageChange
	if r.wantPackages() && ctx.Err() == nil && s.published != nil {
		changes = packageChanges(ctx, s, run)
	}
	run.Results = imageResults(s, changes)
	if s.published == nil {
		return run
	}
	run.Results = append(run.Results, leftOutResults(s)...)
	run.Stuck = s.published.Stuck
	if s.published.Published { // later failures do not undo the publication
		run.Registry, run.Left = s.session.cfg.Registry, s.published.missing
		run.Tags = append([]string{s.session.cfg.Tag}, s.session.cfg.AlsoTag...)
	}
	return run
}

// setOf identifies the set of a run for metrics: by its names without a date.
func setOf(cfg *config.Config, n *nightly.Night) report.Set {
	name := cfg.Tag
	if n != nil && n.Floating != "" {
		name = n.Floating
	}
	return report.Set{
		Base: cfg.Base,
		Type: cfg.InstallType,
		Name: path.Join(cfg.Registry, cfg.Namespace, cfg.ImageNamePrefix) + ":" + name,
	}
}

// end adds the outcome of a run.
func (r *reporter) end(ctx context.Context, run *report.Run, runErr error) {
	run.Outcome = report.OutcomeOK
	switch {
	case ctx.Err() != nil:
		run.Outcome = report.OutcomeInterrupted
	case runErr != nil:
		run.Outcome = report.OutcomeFailed
	}
	if runErr != nil && !errors.Is(runErr, ErrFailed) {
		run.Err = runErr
	}
}

// wantPackages reports whether changes of packages are reported: for a report besides
// the summary, or because packages were compared anyway.
func (r *reporter) wantPackages() bool {
	return r.cfg.Refresh || r.files.HTML != "" || r.files.JUnit != "" || r.files.Metrics != ""
}

// imageResults combines the results of a run's images: of the build, the container engine
// and the publication.
func imageResults(s stages, packages map[image.ID][]report.PackageChange) []report.Result {
	var out []report.Result
	for _, res := range s.built.results {
		r := report.Result{
			Result:   res,
			Log:      s.built.logs[res.Image],
			Loaded:   s.built.loaded[res.Reference],
			Packages: packages[res.Image],
			Warnings: append(s.planned.defined.Image(res.Image).LintWarnings(), s.built.warnings[res.Image]...),
		}
		if p := s.published; p != nil {
			r.Pushed, r.TagsChanged = p.Named[res.Reference], p.Changed[res.Reference]
			if err := p.Failed[res.Reference]; err != nil {
				r.Status, r.Reason = build.StatusPushError, "not published: no tag of the set was changed"
				r.Failure = &build.Failure{Err: err}
			}
			if s.planned.nothingNew {
				r.Reference = s.session.night.Reference(res.Reference)
				r.Pushed = s.planned.registry != nil
			}
		}
		out = append(out, r)
	}
	return out
}

// leftOutResults are the results of the images that the run left out.
func leftOutResults(s stages) []report.Result {
	var out []report.Result
	for _, im := range s.rendered.LeftOut() {
		out = append(out, report.Result{NotRequested: im.Status == graph.Unbuildable && !im.Requested,
			Result: build.Result{Image: im.Image, Reference: im.Reference, Status: build.Status(im.Status), Reason: im.Reason}})
	}
	return out
}

// summarize prints the summary of a completed run, and returns the error of the
// command.
func (r *reporter) summarize(ctx context.Context, s stages, run *report.Run, published error) error {
	sum := run.Summary
	failed := s.session.failed(s.planned, s.built)
	if published == nil && failed == 0 {
		sum.Next = r.next(s, run)
	}
	run.Next = sum.Next
	if r.cfg.Summary {
		// With --progress json, standard error contains only JSON lines, and the
		// summary is JSON on standard output or in its file.
		var textErr error // programs must get their summary even if writing the log fails
		if !r.cfg.Quiet && r.cfg.Progress != string(report.ModeJSON) {
			textErr = sum.WriteText(r.console.Stderr, report.TextOptions{NotMatched: r.cfg.Debug, Getenv: r.console.Getenv})
			r.noteUnknownInputs(s.planned.plan)
		}
		if err := cmp.Or(r.writeJSON(sum), textErr); err != nil {
			return err
		}
	}
	if r.cfg.Debug {
		r.console.Notice("%v", r.stopwatch)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case published != nil:
		return published
	case failed > 0:
		return ErrFailed
	}
	return nil
}

func (r *reporter) writeJSON(s report.Summary) error {
	if r.cfg.Format != "json" {
		return nil
	}
	if r.files.SummaryJSON != "" {
		if err := s.WriteJSONFile(r.files.SummaryJSON); err != nil {
			return fmt.Errorf("writing the summary: %w", err)
		}
		return nil
	}
	// The text is enough for a person, on a terminal or in a log of both streams.
	forPerson := console.Terminal(r.console.Stdout) != nil || console.SameFile(r.console.Stdout, r.console.Stderr)
	if forPerson && !r.cfg.IsSet("format") {
		return nil
	}
	return s.WriteJSON(r.console.Stdout)
}

// noteUnknownInputs repeats at the end of a run how many images --refresh could not
// compare, because the warnings at its beginning may have scrolled off.
func (r *reporter) noteUnknownInputs(p *plan.Plan) {
	n, first := 0, ""
	for _, it := range p.Items {
		if it.Action == plan.Keep && it.Note != "" {
			n++
			first = cmp.Or(first, it.Image.String()+": "+it.Note)
		}
	}
	switch {
	case n == 1:
		r.console.Notice("warning: 1 image was kept, and its inputs may have changed: %s", first)
	case n > 1:
		r.console.Notice("warning: %d images were kept, and their inputs may have changed, such as those of %s", n, first)
	}
}

// next suggests commands to run next.
func (r *reporter) next(s stages, run *report.Run) []string {
	if len(s.built.results) == 0 {
		return nil
	}
	ref := run.Results[len(s.built.results)-1].Reference
	var dir string // a typed option must be repeated
	if o := r.cfg.Origin("data-dir"); o.Kind == config.OriginFlag {
		dir = " " + o.Text
	}
	push := "push them: add --push"
	if r.cfg.Registry == "" {
		push += " --registry localhost:4000 (kolla-build registry serve" + dir + " runs one)"
	}
	switch {
	case s.session.recording != nil:
		return []string{"fetch inputs: kolla-build fetch" + s.session.recording.FetchOptions() + dir + " --output inputs",
			"list images:  kolla-build images" + dir}
	case s.planned.registry != nil:
		return []string{"pull one:  " + pullProgram() + " pull " + ref,
			"carry all: kolla-build save" + r.setOptions(ref) + dir + " --output set.tar"}
	case s.session.engine != nil:
		return []string{"list them: " + strings.ToLower(s.session.engine.Title()) + " images", push}
	}
	return []string{"list them: kolla-build images" + dir, push}
}

// setOptions returns the options that select the set of an image in the store, which can have
// other tags, namespaces and registries.
func (r *reporter) setOptions(ref string) string {
	_, tag, _ := imageref.Split(ref)
	options := " --tag " + tag
	if r.cfg.Registry != "" {
		options += " --registry " + r.cfg.Registry
	}
	if r.cfg.Namespace != "" {
		options += " --namespace " + r.cfg.Namespace
	}
	return options
}

// pullProgram returns the program of this host that pulls images.
func pullProgram() string {
	if _, err := exec.LookPath("docker"); err == nil {
		return "docker"
	}
	if _, err := exec.LookPath("podman"); err == nil {
		return "podman"
	}
	return "docker"
}
