package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/limits"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/engine"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/runstate"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/trace"
	digest "github.com/opencontainers/go-digest"
)

// Build renders, plans, builds, publishes and reports, as the configuration
// says. It returns ErrFailed if images failed and the summary has said so.
func Build(ctx context.Context, cfg *config.Config, env Env) error {
	return runBuild(ctx, cfg, env, nil)
}

// runBuild is Build, of a night if n is not nil.
func runBuild(ctx context.Context, cfg *config.Config, env Env, n *night) error {
	if err := checkLogs(cfg); err != nil {
		return err
	}
	rep, err := newReports(cfg, env)
	if err != nil {
		return err
	}
	r := &buildRun{cfg: rep.cfg, env: env, rep: rep, night: n, watch: newStopwatch()}
	defer r.close()
	ctx, exporter, end := startTrace(ctx, rep.cfg, env)
	r.daemonEnv = exporter.Environ("buildkitd")
	err = rep.finish(ctx, r, r.build(ctx))
	end(err)
	return err
}

// build is the run itself; what it leaves in r is reported, however it ends.
func (r *buildRun) build(ctx context.Context) error {
	pctx, span := trace.Start(ctx, "plan")
	err := r.prepare(pctx)
	span.End(err)
	if err != nil {
		return err
	}
	r.night.look(r)
	if r.results, err = r.run(ctx); err != nil {
		return err
	}
	if ctx.Err() == nil && r.heal(ctx, r.results) {
		r.env.Notice("what stood on the removed blobs is built again")
		first := r.results
		if err = r.define(ctx); err == nil {
			r.night.look(r)
			r.results, err = r.run(ctx)
		}
		builtBefore(first, r.results)
		if err != nil {
			return err
		}
	}
	if r.rep.wanted() && ctx.Err() == nil {
		r.comparePackages(ctx, r.rep.past())
	}
	cctx, span := trace.Start(ctx, "publish")
	published := r.publish(cctx, r.results)
	span.End(published)
	if ctx.Err() == nil {
		r.record.End(published == nil)
	}
	if err := r.record.Err(); err != nil {
		r.env.Notice("warning: %v", err)
	}
	if err := r.summarize(r.results, time.Since(r.rep.started), published); err != nil {
		return err
	}
	if r.cfg.Debug {
		r.env.Notice("%v", r.watch)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case published != nil:
		return published
	case r.failed(r.results) > 0:
		return ErrFailed
	}
	return nil
}

// buildRun is one run from rendering to report.
type buildRun struct {
	cfg      *config.Config
	env      Env
	store    *store.Store
	client   *registry.Client
	rendered *imageset.Rendered
	set      *imageset.Set            // of the first platform
	joined   map[string]digest.Digest // of several platforms: the indexes by reference
	dry      bool                     // only the plan is wanted
	retain   *retention
	keys     *runstate.KeyHistory
	plan     *plan.Plan
	def      *definer
	moving   *moving
	*defined
	up     *publisher
	engine *engine.Engine // nil if images stay in the store
	load   *engineload.Loader
	local  bool       // nothing is fetched: what is not on this machine is an error
	watch  *stopwatch // nil where nothing is built

	record    *runstate.Record
	scope     runstate.Scope              // of all platforms
	last      *runstate.LastRun           // with --rerun-failed
	define    func(context.Context) error // finds out what the images are made of, and plans what is built
	rep       *reports                    // nil for a plan
	daemonEnv []string                    // what a builder that is started has in its environment besides ours
	night     *night                      // nil for a run that is no nightly one
	results   []*report.Result
	sent      bool       // the set has its names in the registry, but for left
	left      []image.ID // images that a partial publication left out
	summary   report.Summary
}

func (r *buildRun) close() {
	r.record.Close()
	if r.engine != nil {
		r.engine.Close()
	}
	if r.rendered != nil {
		r.rendered.Close()
	}
	if r.client != nil {
		r.client.Close()
	}
	if r.store != nil {
		r.store.Close()
	}
}

// prepare does all that comes before the first image is built.
func (r *buildRun) prepare(ctx context.Context) error {
	if err := checkEarly(r.cfg, r.env); err != nil {
		return err
	}
	if r.cfg.Push && r.cfg.Registry == "" {
		r.env.Notice("warning: --push without --registry pushes to Docker Hub, to the namespace %q", r.cfg.Namespace)
	}
	var err error
	if r.cfg.RerunFailed {
		if r.cfg, r.last, err = withLastRun(r.cfg, r.env); err != nil {
			return err
		}
	}
	baseImage := r.cfg.BaseImage
	r.cfg = withLocalBase(r.cfg)
	if !r.dry || r.cfg.SkipExisting {
		if r.engine, err = engineload.Open(ctx, r.cfg, r.env); err != nil {
			return err
		}
	}
	exists := func(string) bool { return false }
	switch {
	case r.cfg.SkipExisting && r.engine != nil:
		exists = r.engine.Has
	case r.cfg.SkipExisting:
		if r.store, err = OpenStore(r.cfg); err != nil {
			return err
		}
		exists = func(ref string) bool { return digestOf(r.store, ref) != "" }
	}
	if _, _, err := naming(r.cfg); err != nil {
		return err
	}
	if r.retain, err = newRetention(r.cfg.Retain, append([]string{r.cfg.Tag}, r.cfg.AlsoTag...), time.Now()); err != nil {
		return err
	}
	r.scope = scopeOf(r.cfg)
	if r.cfg, err = withNormalizedNames(r.cfg, r.env); err != nil {
		return err
	}
	// Templates come first: a mistake in one is reported before anything is written.
	if r.rendered, err = imageset.Render(ctx, imageset.Options{Config: r.cfg, Console: r.env, Exists: exists}); err != nil {
		return err
	}
	r.set = r.rendered.First()
	r.cfg = r.set.Config
	if r.store == nil {
		if r.store, err = OpenStore(r.cfg); err != nil {
			return err
		}
	}
	if r.client, err = newClient(r.cfg, r.env); err != nil {
		return err
	}
	if r.cfg.Push && len(r.set.Files) > 0 {
		// Before base images and sources are fetched, which may take minutes.
		if err := reach(ctx, r.cfg, r.client, r.set.Files[0].Reference); err != nil {
			return err
		}
	}
	r.define = func(ctx context.Context) error {
		if err := r.defineAll(ctx, baseImage); err != nil {
			return err
		}
		return r.decide(ctx)
	}
	return r.define(ctx)
}

// decide plans what is built of what is defined.
func (r *buildRun) decide(ctx context.Context) error {
	var err error
	if r.moving, err = r.movingInputs(ctx); err != nil {
		return err
	}
	r.keys = runstate.OpenKeyHistory(r.cfg.DataDir, r.cfg.Base+"/"+r.cfg.InstallType+"/"+r.cfg.BaseArch)
	times := r.store.Durations()
	keyed := map[digest.Digest]image.ID{}
	redo := incomplete(r.last, r.cfg, r.defined.inputs)
	for _, in := range r.defined.inputs {
		keyed[in.Key] = in.Image
	}
	r.plan = plan.New(r.defined.inputs, plan.Known{
		Stored: func(key digest.Digest) (plan.Stored, bool) {
			if key == "" {
				return plan.Stored{}, false // it could not be defined
			}
			e, ok, err := r.store.ByKey(key.String())
			return plan.Stored{Digest: e.Digest, Size: e.Size}, ok && err == nil && !redo[keyed[key]] && isWhole(ctx, r.store, e.Digest)
		},
		Parts: r.keys.Parts,
		Duration: func(id image.ID) (time.Duration, bool) {
			d, ok := times[r.keys.ScopedName(id)]
			return d.Median(), ok
		},
	}, !r.cfg.Cache && r.last == nil)
	if err = r.moving.kept(r.plan); err != nil {
		return err
	}
	if r.cfg.Push {
		r.up = newPublisher(r.cfg, r.env, r.client, r.store)
		err = r.up.look(ctx, references(r.plan), !r.dry)
	}
	return err
}

// run builds what the plan says, from the first image to the names in the store.
func (r *buildRun) run(ctx context.Context) ([]*report.Result, error) {
	var err error
	r.record.Close() // of the first attempt, if this is the one after damage was found
	var images []image.ID
	for _, it := range r.plan.Items {
		images = append(images, it.Image)
	}
	if r.record, err = runstate.Begin(r.cfg.DataDir, r.scope, images); err != nil {
		return nil, err
	}
	sizes := r.store.Durations()
	size := func(id image.ID) int64 { return sizes[r.keys.ScopedName(id)].Size }
	if warning := limits.CheckDisk(r.plan, size, r.cfg.DataDir, r.cfg.MinFree); warning != "" {
		r.env.Notice("%s", warning)
	}
	logs := report.NewLogs(report.LogsOptions{Dir: r.cfg.LogsDir, OnError: func(err error) { r.env.Notice("warning: %v", err) }})
	mode := report.Mode(r.cfg.Progress)
	if r.cfg.Quiet {
		mode = report.ModeQuiet
	}
	progress := report.NewProgress(report.ProgressOptions{Out: r.env.Stderr, Mode: mode, Getenv: r.env.Getenv,
		Output: r.cfg.Debug || r.cfg.Threads == 1})
	defer progress.Close()
	defer logs.Close()
	emit := logs.Completing(report.Tee(r.rep.recorder.Handle, r.record.Handle, progress.Handle))
	bk := r.newBuilder(emit)
	if r.plan.ToBuild() > 0 {
		// A builder that cannot be had is the run's failure, not an image's.
		since := time.Now()
		if err := bk.ready(ctx, r.plan); err != nil {
			_ = bk.close()
			return nil, err
		}
		r.watch.builder(since)
	}
	opts := build.Options{Builder: tracedBuilder{bk}, Emit: emit, Threads: r.cfg.Threads, PushThreads: pushThreads(r.cfg),
		Retries: r.cfg.Retries, RetryTime: time.Duration(r.cfg.RetryTime) * time.Second, FailFast: r.cfg.FailFast, Timeout: time.Duration(r.cfg.ImageTimeout) * time.Second}
	if up := r.uploader(bk, emit); up != nil {
		opts.Uploader = tracedUploader{up}
	}
	limiter := limits.New(limits.Options{Dir: r.cfg.DataDir, MinFree: r.cfg.MinFree, ImageMemory: r.cfg.ImageMemory,
		LocalBuilder: r.cfg.BuildkitAddr == "" || strings.HasPrefix(r.cfg.BuildkitAddr, "unix://"), Cache: bk.cache, Notice: bk.opts.Notice})
	opts.Gate = limiter.Admit
	var results []*report.Result
	for _, res := range build.Run(ctx, r.plan, opts) {
		complete := logs.Complete(res)
		results = append(results, &complete)
	}
	limiter.Close()
	since := time.Now()
	if err := bk.close(); err != nil {
		emit(build.Event{Time: time.Now(), Kind: build.EventMessage, Text: err.Error()})
	}
	r.watch.builder(since)
	if r.load != nil {
		for _, res := range results {
			res.Loaded = r.load.Loaded(res.Reference)
		}
		if line := r.load.Summary(); line != "" {
			emit(build.Event{Time: time.Now(), Kind: build.EventMessage, Text: line})
		}
	}
	switch {
	case r.night.quiet(): // there is no set of tonight
	case r.rendered.Several():
		if r.joined, err = r.join(ctx, results); err != nil && ctx.Err() == nil {
			return nil, err
		}
	default:
		r.nameKept(results)
	}
	return results, nil
}

// nameKept gives the images that were kept the names of this run: a new tag
// needs no new build.
func (r *buildRun) nameKept(results []*report.Result) {
	names := map[string]digest.Digest{}
	for _, res := range results {
		if res.Status != build.StatusUnchanged {
			continue
		}
		if digestOf(r.store, res.Reference) != res.Digest {
			names[res.Reference] = res.Digest
		}
	}
	if len(names) > 0 {
		if err := r.store.TagAll(names); err != nil {
			r.env.Notice("warning: naming kept images in the store: %v", err)
		}
	}
}

// pushThreads is how many images upload at once. Upstream's default of one is
// for Docker's sake; nothing here minds several.
func pushThreads(cfg *config.Config) int {
	if cfg.IsSet("push-threads") {
		return cfg.PushThreads
	}
	return max(cfg.PushThreads, cfg.Threads)
}

// failed counts the images whose failure counts.
func (r *buildRun) failed(results []*report.Result) int {
	n := 0
	for _, res := range results {
		if res.Status.Bad() && !slices.Contains(r.mayFail(), res.Image) {
			n++
		}
	}
	return n
}

func (r *buildRun) summarize(results []*report.Result, took time.Duration, published error) error {
	s := report.Summary{Duration: took, AllowedToFail: r.mayFail()}
	for _, res := range results {
		s.Results = append(s.Results, *res)
	}
	s.Results = append(s.Results, r.unselected()...)
	s.Next = r.next(results, published)
	r.summary = s
	if !r.cfg.Summary {
		return nil
	}
	// With --progress json standard error is JSON lines and nothing else; the
	// summary is JSON then too, on standard output or in its file.
	var unsaid error // a log on a full disk must not cost programs their summary
	if !r.cfg.Quiet && r.cfg.Progress != string(report.ModeJSON) {
		unsaid = s.WriteText(r.env.Stderr, report.TextOptions{NotMatched: r.cfg.Debug, Getenv: r.env.Getenv})
		r.remarkNotes()
	}
	return cmp.Or(r.summarizeJSON(s), unsaid)
}

func (r *buildRun) summarizeJSON(s report.Summary) error {
	if r.cfg.Format != "json" {
		return nil
	}
	if r.cfg.SummaryJSONFile != "" {
		if err := s.WriteJSONFile(r.cfg.SummaryJSONFile); err != nil {
			return fmt.Errorf("writing the summary: %w", err)
		}
		return nil
	}
	if console.Terminal(r.env.Stdout) != nil && !r.cfg.IsSet("format") {
		return nil // the table above says it; programs do not read terminals
	}
	return s.WriteJSON(r.env.Stdout)
}

// next says what a user may want to type after this run.
func (r *buildRun) next(results []*report.Result, published error) []string {
	if len(results) == 0 || published != nil || r.failed(results) > 0 {
		return nil
	}
	ref := results[len(results)-1].Reference
	var dir string // what was said on the command line must be said again
	if o := r.cfg.Origin("data-dir"); o.Kind == config.OriginFlag {
		dir = " " + o.Text
	}
	if r.up != nil {
		return []string{"pull one:  docker pull " + ref, "carry all: kolla-build save --output set.tar" + dir}
	}
	if r.engine != nil {
		return []string{"list them: " + strings.ToLower(r.engine.Title()) + " images", "push them: add --push --registry localhost:4000 (kolla-build registry serve runs one)"}
	}
	return []string{"list them: kolla-build images" + dir, "push them: add --push --registry localhost:4000 (kolla-build registry serve runs one)"}
}

func isNotFound(err error) bool {
	var nf *registry.NotFoundError
	return errors.As(err, &nf)
}
