package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/trace"
)

// published is the result of publishing a run's set.
type published struct {
	publish.Outcome
	set     publish.Set
	missing []image.ID // images that a partial publication omitted
}

// publish gives the set of a run its tags, in the registry and in the store: all of
// them or, with --allow-partial, the tags of images that were built together with all
// images that they depend on. Otherwise no tag changes.
func (s *session) publish(ctx context.Context, p *planned, b *built, rep *reporter) (pub *published, err error) {
	ctx, span := trace.Start(ctx, "publish")
	defer func() { span.End(err) }()
	defer s.recorder.Stage("publish")()
	pub = &published{}
	if ctx.Err() != nil || p.registry == nil && len(s.cfg.AlsoTag) == 0 && s.retention == nil || p.nothingNew {
		return pub, nil
	}
	if n, skipped := s.failed(p, b), s.skipped(p, b); n > 0 && !s.cfg.AllowPartial {
		s.console.Notice("nothing was published: %d of %s failed%s; "+
			"the tags of a set change together, and no tag was changed",
			n-skipped, units.Count(len(b.results), "image"), skippedText(skipped))
		return pub, nil
	}
	pub.set, pub.missing = publish.Complete(p.plan, b.results, b.indexes)
	if p.registry != nil {
		defer rep.stopwatch.Work()()
	}
	target := publish.Target{Console: s.console, Store: s.store, Registry: p.registry, AlsoTags: s.cfg.AlsoTag,
		Retention: s.retention, Threads: s.cfg.Threads}
	// Images were already uploaded as they finished, but indexes of several platforms
	// were not.
	pub.Outcome, err = target.Publish(ctx, pub.set, p.rendered.Several())
	if len(pub.missing) > 0 && (p.registry == nil || pub.Published) {
		s.console.Notice("%d of %d images were published; the tags of the others were not changed: %s",
			len(b.results)-len(pub.missing), len(b.results), strings.Join(image.Strings(pub.missing), ", "))
	}
	return pub, err
}

// skipped counts the images of failed that were not built because a parent failed.
func (s *session) skipped(p *planned, b *built) int {
	mayFail := s.mayFail(p)
	n := 0
	for _, res := range b.results {
		if res.Status == build.StatusParentError && !slices.Contains(mayFail, res.Image) {
			n++
		}
	}
	return n
}

func skippedText(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return ", 1 was skipped because a parent failed"
	}
	return fmt.Sprintf(", %d were skipped because a parent failed", n)
}

// mayFail returns the images whose failure does not fail the run.
func (s *session) mayFail(p *planned) []image.ID {
	var ids []image.ID
	for _, name := range s.cfg.AllowedToFail {
		ids = append(ids, p.rendered.IDs(name)...)
	}
	return ids
}

// failed counts the images whose failure fails the run.
func (s *session) failed(p *planned, b *built) int {
	mayFail := s.mayFail(p)
	n := 0
	for _, res := range b.results {
		if res.Status.Bad() && !slices.Contains(mayFail, res.Image) {
			n++
		}
	}
	return n
}
