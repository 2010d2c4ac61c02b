package pipeline

import (
	"context"
	"fmt"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/gcfloor"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/nightly"
	"github.com/kolla-build/kolla-build/pkg/offline"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// ErrFailed is the error of runs in which images failed. The summary has already
// reported them.
var ErrFailed = fmt.Errorf("images failed: %w", usererr.ErrReported)

// Build renders, defines, plans, builds, publishes and reports the configured images.
// It returns ErrFailed if images failed, after the summary has reported them.
func Build(ctx context.Context, cfg *config.Config, c *console.Console) error {
	return run(ctx, cfg, c, runOptions{})
}

// run runs the stages and reports them.
func run(ctx context.Context, cfg *config.Config, c *console.Console, o runOptions) error {
	rep, err := newReporter(cfg, c, o.night)
	if err != nil {
		return err
	}
	ctx, exporter, end := startTrace(ctx, cfg, c)
	rep.daemonEnv = exporter.Environ("buildkitd")
	o.recorder = &rep.recorder
	s, err := runStages(ctx, cfg, c, o, rep)
	defer s.close()
	err = rep.finish(ctx, s, err)
	end(err)
	return err
}

// runStages runs the stages of a run in order. Its results are reported even after an
// error.
func runStages(ctx context.Context, cfg *config.Config, c *console.Console, o runOptions, rep *reporter) (
	s stages, err error) {
	if err = s.prepare(ctx, cfg, c, o); err != nil {
		return s, err
	}
	logs := rep.startLogs()
	if s.built, err = s.session.build(ctx, s.planned, logs, rep); err != nil {
		return s, err
	}
	if ctx.Err() == nil && s.session.removeDamaged(ctx, s.planned, s.built) {
		c.Notice("building the images that depend on the removed blobs again")
		planned, err := s.session.plan(ctx, s.rendered)
		if err != nil {
			return s, err
		}
		second, err := s.session.build(ctx, planned, logs, rep)
		if second != nil {
			s.planned, s.built = planned, second.withFirstAttempt(s.built)
		}
		if err != nil {
			return s, err
		}
	}
	s.published, err = s.session.publish(ctx, s.planned, s.built, rep)
	s.built.endRecord(ctx, err, c)
	if s.session.inputs != nil && ctx.Err() == nil {
		offline.CompareDigests(s.session.inputs, s.built.results, c)
	}
	if o.recording != nil && err == nil {
		err = s.writeLock(o.recording, c)
	}
	return s, err
}

// planningHeap is the size in bytes that the heap may have while images are planned: most of
// it is garbage, about 200 kB for each image. The plan of 10,000 images keeps 100 MB.
const planningHeap = 160 << 20

// prepare runs the stages before the first build.
func (s *stages) prepare(ctx context.Context, cfg *config.Config, c *console.Console, o runOptions) (err error) {
	defer gcfloor.Set(planningHeap)()
	if s.session, s.rendered, err = open(ctx, cfg, c, o); err != nil {
		return err
	}
	s.planned, err = s.session.plan(ctx, s.rendered)
	return err
}

// writeLock writes the lock of a run. Because the lock lists all images, no image may
// have failed, even if the run is allowed to succeed without it.
func (s stages) writeLock(rec *offline.Recording, c *console.Console) error {
	failed := 0
	for _, r := range s.built.results {
		if r.Status.Bad() {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("no lock was written: %d of %s failed", failed, units.Count(len(s.built.results), "image"))
	}
	return rec.Finish(s.lockContent(), c)
}

// stages holds the result of each stage of a run, nil for a stage that was not reached.
// Only runStages writes it.
type stages struct {
	session   *session
	rendered  *imageset.Rendered // Dockerfiles, graph and selection
	planned   *planned           // definitions, keys, and what is built and why
	built     *built             // results of the images
	published *published         // the new state of the tags
}

// runOptions are the differences between the commands that run stages.
type runOptions struct {
	mode      mode
	night     *nightly.Night     // nil unless it is a nightly run
	recording *offline.Recording // nil unless inputs are recorded
	recorder  *report.Recorder   // records times of stages; nil in commands that do not build
}

// close releases the resources of the stages.
func (s stages) close() {
	if s.built != nil {
		s.built.record.Close()
	}
	if s.rendered != nil {
		s.rendered.Close()
	}
	if s.session != nil {
		s.session.close()
	}
}
