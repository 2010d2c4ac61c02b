package pipeline

import (
	"context"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/imagebuilder"
	"github.com/kolla-build/kolla-build/pkg/build/limits"
	"github.com/kolla-build/kolla-build/pkg/build/observe"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/multiplatform"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/report/files"
	"github.com/kolla-build/kolla-build/pkg/runlogs"
	"github.com/kolla-build/kolla-build/pkg/runstate"
)

// built holds the results of a plan's images.
type built struct {
	results  []build.Result           // in the order of the plan, completed from the logs
	logs     map[image.ID]string      // paths of log files
	warnings map[image.ID][]string    // of their builds
	loaded   map[string]string        // container engines that have an image, by reference
	indexes  map[string]digest.Digest // indexes of all platforms by reference, nil in runs for one
	record   *runstate.Record
}

// build builds the images of the plan and gives them their names in the store.
func (s *session) build(ctx context.Context, p *planned, logFiles files.Logs, rep *reporter) (*built, error) {
	b := &built{logs: map[image.ID]string{}, warnings: map[image.ID][]string{}, loaded: map[string]string{}}
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

	builder, network, err := s.openBuilder(ctx, p, rep, message)
	if err != nil {
		b.record.Close()
		return nil, err
	}
	if network != nil {
		defer network.Close()
	}
	var loader *engineload.Loader
	emitRun := emit
	if s.engine != nil {
		loader = engineload.NewLoader(engineload.Options{Engine: s.engine, Store: s.store, Plan: p.plan,
			Ancestors: ancestors(p, builder), Emit: emit})
		emitRun = report.Tee(loader.Handle, emit)
	}
	limiter := s.newLimiter(builder, message)
	results := build.Run(ctx, p.plan, build.Options{
		Builder:     observe.TracedBuilder{Builder: builder},
		Explainer:   builder,
		Finisher:    builder,
		Uploader:    uploaderOf(loader, p, rep.stopwatch),
		Emit:        emitRun,
		Gate:        limiter.Admit,
		Failed:      p.failure,
		FailFast:    s.cfg.FailFast,
		Threads:     s.cfg.Threads,
		PushThreads: s.cfg.PushThreads,
		Retries:     s.cfg.Retries,
		RetryTime:   seconds(s.cfg.RetryTime),
		Timeout:     seconds(s.cfg.ImageTimeout),
	})
	limiter.Close()
	if err := s.stopBuilder(builder, rep); err != nil {
		message(err.Error())
	}
	if loader != nil {
		if line := loader.Summary(); line != "" {
			message(line)
		}
	}
	for _, res := range results {
		complete := logs.Complete(res)
		b.results = append(b.results, complete.Result)
		b.logs[res.Image] = complete.Log
		b.warnings[res.Image] = builder.Warnings(res.Image)
		if loader != nil {
			b.loaded[res.Reference] = loader.Loaded(res.Reference)
		}
	}
	return b, s.nameImages(ctx, p, b)
}

// newLimiter returns what delays images while memory or disk space is short.
func (s *session) newLimiter(builder *imagebuilder.Builder, message func(string)) *limits.Limiter {
	return limits.New(limits.Options{
		Dir:          s.cfg.DataDir,
		MinFree:      s.cfg.MinFree,
		ImageMemory:  s.cfg.ImageMemory,
		LocalBuilder: s.cfg.BuildkitAddr == "" || strings.HasPrefix(s.cfg.BuildkitAddr, "unix://"),
		Cache:        builder.Cache,
		Notice:       message,
	})
}

// nameImages gives images their references in the store: kept images, because a new tag needs
// no build, or the indexes of all platforms.
func (s *session) nameImages(ctx context.Context, p *planned, b *built) error {
	if p.nothingNew {
		return nil
	}
	if p.rendered.Several() {
		var err error
		platformOf := func(id image.ID) ocispecs.Platform { return p.rendered.Of(id).Platform }
		if b.indexes, err = multiplatform.Join(ctx, s.store, b.results, platformOf); err != nil && ctx.Err() == nil {
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
