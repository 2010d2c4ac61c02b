package pipeline

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/build/imagebuilder"
	"github.com/kolla-build/kolla-build/pkg/build/limits"
	"github.com/kolla-build/kolla-build/pkg/build/observe"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/multiplatform"
	"github.com/kolla-build/kolla-build/pkg/offline"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/report/files"
	"github.com/kolla-build/kolla-build/pkg/runlogs"
	"github.com/kolla-build/kolla-build/pkg/runstate"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/store/repair"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// built holds the results of a plan's images.
type built struct {
	results []build.Result           // in the order of the plan, completed from the logs
	logs    map[image.ID]string      // paths of log files
	loaded  map[string]string        // container engines that have an image, by reference
	indexes map[string]digest.Digest // indexes of all platforms by reference, nil in runs for one
	record  *runstate.Record
}

// build builds the images of the plan and gives them their names in the store.
func (s *session) build(ctx context.Context, p *planned, logFiles files.Logs, rep *reporter) (*built, error) {
	b := &built{logs: map[image.ID]string{}, loaded: map[string]string{}}
	var images []image.ID
	for _, it := range p.plan.Items {
		images = append(images, it.Image)
	}
	var err error
	if b.record, err = runstate.Begin(s.cfg.DataDir, s.scope, images); err != nil {
		return nil, err
	}
	sizes := s.store.Durations()
	size := func(id image.ID) int64 { return sizes[p.keys.ScopedName(id)].Size }
	if warning := limits.CheckDisk(p.plan, size, s.cfg.DataDir, s.cfg.MinFree); warning != "" {
		s.console.Notice("%s", warning)
	}
	logOptions := report.LogsOptions{Dir: logFiles.Dir, OnError: func(err error) { s.console.Notice("warning: %v", err) }}
	if logFiles.Kept {
		logOptions.MaxSize = runlogs.MaxLog
		defer runlogs.End(logFiles.Dir)
	}
	logs := report.NewLogs(logOptions)
	defer logs.Close()
	progress := s.newProgress()
	defer progress.Close()
	emit := logs.Completing(report.Tee(s.recorder.Handle, b.record.Handle, progress.Handle))
	message := func(text string) {
		emit(build.Event{Time: time.Now(), Kind: build.EventMessage, Text: text})
	}

	network, err := s.openNetwork(ctx)
	if err != nil {
		b.record.Close()
		return nil, err
	}
	if network != nil {
		defer network.Close()
	}
	builder, err := s.newBuilder(ctx, p, rep, network, message)
	if err != nil {
		b.record.Close()
		return nil, err
	}
	if slices.ContainsFunc(p.plan.Items, func(it *plan.Item) bool { return it.Action == plan.Build && it.Key != "" && p.failure(it.Image) == nil }) {
		// If no builder can be opened, the run fails instead of an image.
		since, end := time.Now(), s.recorder.Stage("start the builder")
		if err := builder.Ready(ctx); err != nil {
			_ = builder.Close()
			b.record.Close()
			return nil, err
		}
		end()
		rep.stopwatch.Builder(since)
		for _, warning := range define.LintWarnings(p.toBuild()) {
			message(warning)
		}
	}
	var loader *engineload.Loader
	emitRun := emit
	if s.engine != nil {
		loader = engineload.NewLoader(engineload.Options{Engine: s.engine, Store: s.store, Plan: p.plan, Ancestors: ancestors(p, builder), Emit: emit})
		emitRun = report.Tee(loader.Handle, emit)
	}
	limiter := limits.New(limits.Options{Dir: s.cfg.DataDir, MinFree: s.cfg.MinFree, ImageMemory: s.cfg.ImageMemory,
		LocalBuilder: s.cfg.BuildkitAddr == "" || strings.HasPrefix(s.cfg.BuildkitAddr, "unix://"), Cache: builder.Cache, Notice: message})
	results := build.Run(ctx, p.plan, build.Options{Builder: observe.TracedBuilder{Builder: builder}, Finisher: builder, Uploader: uploaderOf(loader, p, rep.stopwatch), Emit: emitRun, Gate: limiter.Admit, Failed: p.failure,
		Threads: s.cfg.Threads, PushThreads: pushThreads(s.cfg), FailFast: s.cfg.FailFast, Retries: s.cfg.Retries,
		RetryTime: seconds(s.cfg.RetryTime), Timeout: seconds(s.cfg.ImageTimeout)})
	limiter.Close()
	since, end := time.Now(), s.recorder.Stage("stop the builder")
	if err := builder.Close(); err != nil {
		message(err.Error())
	}
	end()
	rep.stopwatch.Builder(since)
	if loader != nil {
		if line := loader.Summary(); line != "" {
			message(line)
		}
	}
	for _, res := range results {
		complete := logs.Complete(res)
		b.results = append(b.results, complete.Result)
		b.logs[res.Image] = complete.Log
		if loader != nil {
			b.loaded[res.Reference] = loader.Loaded(res.Reference)
		}
	}
	return b, s.name(ctx, p, b)
}

// name gives images their references in the store: kept images, because a new tag needs
// no build, or the indexes of all platforms.
func (s *session) name(ctx context.Context, p *planned, b *built) error {
	if p.nothingNew {
		return nil
	}
	if p.rendered.Several() {
		var err error
		if b.indexes, err = multiplatform.Join(ctx, s.store, b.results, func(id image.ID) ocispecs.Platform { return p.rendered.Of(id).Platform }); err != nil && ctx.Err() == nil {
			return err
		}
		return nil
	}
	names := map[string]digest.Digest{}
	for _, res := range b.results {
		if res.Status != build.StatusUnchanged {
			continue
		}
		if e, ok, err := s.store.Lookup(res.Reference); err != nil || !ok || e.Digest != res.Digest {
			names[res.Reference] = res.Digest
		}
	}
	if len(names) > 0 {
		if err := s.store.TagAll(names); err != nil {
			s.console.Notice("warning: naming kept images in the store: %v", err)
		}
	}
	return nil
}

func (s *session) newProgress() *report.Progress {
	mode := report.Mode(s.cfg.Progress)
	if s.cfg.Quiet {
		mode = report.ModeQuiet
	}
	return report.NewProgress(report.ProgressOptions{Out: s.console.Stderr, Mode: mode, Getenv: s.console.Getenv,
		Output: s.cfg.Debug || s.cfg.Threads == 1})
}

// openNetwork returns the replacement for the network of steps, nil for the builder's
// own network. It must be closed after the builder.
func (s *session) openNetwork(ctx context.Context) (*offline.Network, error) {
	switch {
	case s.recording != nil:
		return s.recording.OpenNetwork(ctx, s.cfg)
	case s.inputs != nil:
		return offline.OpenNetwork(s.cfg, s.inputs, s.console)
	}
	return nil, nil
}

// newBuilder returns the builder of a plan's images, whose steps use a network if it
// is not nil.
func (s *session) newBuilder(ctx context.Context, p *planned, rep *reporter, network *offline.Network, notice func(string)) (*imagebuilder.Builder, error) {
	opts := imagebuilder.Options{
		Store: s.store, Defined: p.defined, Inputs: p.inputs, Warmer: p.inputs.NewWarmer(ctx), Keys: p.keys, Busy: rep.stopwatch.Work,
		BuildArgs: imagebuilder.ProxyArgs(s.console.Getenv), NoCache: !s.cfg.Cache, Squash: s.cfg.Squash, Compression: s.compression, ClampTimes: s.cfg.ClampTimes,
		KnownNames: sync.OnceValue(p.rendered.Words),
		Buildkit: buildkit.Options{Addr: s.cfg.BuildkitAddr, DaemonPath: s.cfg.Buildkitd, StateDir: workspace.BuilderDir(s.cfg), Store: s.store.Content(),
			Cache: buildkit.CacheLimits{MaxUsed: s.cfg.CacheSize, MinFree: s.cfg.MinFree}, StepTimeout: seconds(s.cfg.StepTimeout), Env: rep.daemonEnv, Notice: notice,
			Grants: s.grants()},
	}
	if s.cfg.PackageCache {
		first := p.rendered.First().Config
		opts.PackageCache = first.Base + "-" + first.BaseTag + "-" + first.BaseArch
	}
	if network != nil {
		opts.Network, opts.BuildArgs = network, nil
		if err := network.Configure(ctx, &opts.Buildkit); err != nil {
			return nil, err
		}
	}
	if s.inputs != nil {
		opts.Buildkit.Compatibility = s.inputs.Lock().Compatibility
	}
	return imagebuilder.New(p.plan, opts), nil
}

// grants returns the permissions of steps. They include the host's network if a builder
// that this process starts uses it for all steps.
func (s *session) grants() buildkit.Grants {
	g := buildkit.Grants{Entitlements: slices.Clone(s.cfg.Allow), Secrets: s.secrets}
	if s.cfg.NetworkMode == "host" && (s.cfg.BuildkitAddr == "" || s.cfg.IsSet("network_mode")) {
		g.Entitlements = append(g.Entitlements, buildkit.RequiresNetwork)
	}
	return g
}

// ancestors returns a function that lists the images of the tree that an image
// depends on, the nearest first.
func ancestors(p *planned, builder *imagebuilder.Builder) func(*plan.Item) []digest.Digest {
	return func(it *plan.Item) []digest.Digest {
		graph := p.rendered.Of(it.Image).Graph
		var found []digest.Digest
		for up := graph.Parent(it.Image.Name); up != nil; up = graph.Parent(up.Name) {
			if d := builder.Digest(it.Image.Platform, up.Reference); d != "" {
				found = append(found, d)
			}
		}
		return found
	}
}

// uploaderOf returns the destination of finished images: a container engine, a
// registry, both, or nil for neither.
func uploaderOf(loader *engineload.Loader, p *planned, watch *observe.Stopwatch) build.Uploader {
	var all uploaders
	if loader != nil {
		all = append(all, loader)
	}
	if p.registry != nil {
		all = append(all, watch.Uploader(p.registry))
	}
	if len(all) == 0 {
		return nil
	}
	return observe.TracedUploader{Uploader: all}
}

// uploaders upload to several places, one after the other.
type uploaders []build.Uploader

func (u uploaders) Upload(ctx context.Context, it *plan.Item, d digest.Digest) error {
	for _, to := range u {
		if err := to.Upload(ctx, it, d); err != nil {
			return err
		}
	}
	return nil
}

// pushThreads is how many images upload at once. Upstream's default of one is due
// to Docker; several are better here.
func pushThreads(cfg *config.Config) int {
	if cfg.IsSet("push-threads") {
		return cfg.PushThreads
	}
	return max(cfg.PushThreads, cfg.Threads)
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// removeDamaged removes damaged blobs from the store if they may have made images fail,
// and reports whether there were any. Then the images that depend on them can be built
// again.
func (s *session) removeDamaged(ctx context.Context, p *planned, b *built) bool {
	digests := map[image.ID]digest.Digest{}
	for _, res := range b.results {
		digests[res.Image] = res.Digest
	}
	var suspects []digest.Digest
	for i, it := range p.plan.Items {
		if !mayBeDamage(b.results[i]) {
			continue
		}
		suspects = append(suspects, digests[it.Image])
		for _, n := range it.Needs {
			suspects = append(suspects, digests[n])
		}
		suspects = append(suspects, p.defined.Bases(it.Image)...)
	}
	return repair.Verify(ctx, s.store, suspects, func(bad *store.BlobError) {
		s.console.Notice("%v: damaged, and removed from the store", bad)
	})
}

// mayBeDamage reports whether a damaged store may be the reason for an image's failure:
// its upload failed, or its build failed without a failing command.
func mayBeDamage(res build.Result) bool {
	if res.Failure == nil {
		return false
	}
	var bad *store.BlobError
	if errors.As(res.Failure.Err, &bad) {
		return true
	}
	return res.Status == build.StatusError && res.Failure.ExitCode == 0 && (res.Failure.Step != "" || res.Failure.Dockerfile != "")
}

// after returns the results of a second attempt at a run. Images that the first attempt
// built count as built.
func (b *built) after(first *built) *built {
	earlier := map[image.ID]build.Result{}
	for _, res := range first.results {
		if res.Status == build.StatusBuilt {
			earlier[res.Image] = res
		}
	}
	both := *b
	both.logs = maps.Clone(b.logs)
	both.results = make([]build.Result, len(b.results))
	for i, res := range b.results {
		if f, ok := earlier[res.Image]; ok && res.Status == build.StatusUnchanged && res.Digest == f.Digest {
			res.Status, res.Reason, res.Started, res.Duration = f.Status, f.Reason, f.Started, f.Duration
			both.logs[res.Image] = first.logs[res.Image]
		}
		both.results[i] = res
	}
	first.record.Close()
	return &both
}

// endRecord records that the run was not interrupted, and whether its set was
// published.
func (b *built) endRecord(ctx context.Context, published error, c *console.Console) {
	if ctx.Err() == nil {
		b.record.End(published == nil)
	}
	if err := b.record.Err(); err != nil {
		c.Notice("warning: %v", err)
	}
}
