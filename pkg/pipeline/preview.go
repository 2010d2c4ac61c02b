package pipeline

import (
	"context"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/explain"
	"github.com/kolla-build/kolla-build/pkg/planview"
	"github.com/kolla-build/kolla-build/pkg/publish"
)

// Plan shows what Build would do, as a table or as JSON. Base images and sources are
// fetched as for a build, because keys depend on them. It returns ErrFailed if the run
// is known to fail, because an image that must not fail cannot be built.
func Plan(ctx context.Context, cfg *config.Config, c *console.Console, asJSON bool) error {
	var st stages
	err := st.prepare(ctx, cfg, c, runOptions{mode: modePreview})
	defer st.close()
	if err != nil {
		return err
	}
	s, rendered, p := st.session, st.rendered, st.planned
	target := publish.Target{
		Console:   c,
		Store:     s.store,
		Registry:  p.registry,
		AlsoTags:  s.cfg.AlsoTag,
		Retention: s.retention,
	}
	if err := target.PreviewExpiry(ctx, references(p.plan)); err != nil {
		return err
	}
	v := planview.New(planview.Input{
		Plan:     p.plan,
		Failed:   p.failure,
		LeftOut:  rendered.LeftOut(),
		Registry: p.registry,
		Threads:  cfg.Threads,
	})
	if asJSON {
		err = c.PrintJSON(v)
	} else if err = v.WriteText(c.Stdout); err == nil {
		c.Notice("%s", v.Summary())
	}
	if err == nil && v.Fails(s.mayFail(p)) {
		return ErrFailed
	}
	return err
}

// Explain explains images. It does not fetch or build anything.
func Explain(ctx context.Context, cfg *config.Config, con *console.Console, opts explain.Options) error {
	patterns, err := explain.Select(cfg, opts.Images)
	if err != nil {
		return err
	}
	c := *cfg
	c.Regex, c.SkipExisting, c.SkipParents, c.Push = patterns, false, false, false
	s, rendered, err := open(ctx, &c, con, runOptions{mode: modeOffline})
	defer stages{session: s, rendered: rendered}.close()
	if rendered == nil {
		return err
	}
	in := explain.Input{Set: rendered.First(), NoPlan: err}
	if err == nil {
		p, err := s.plan(ctx, rendered)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if in.NoPlan = err; err == nil {
			in.Plan, in.Parts, in.Failed = p.plan, p.keys.Parts, p.failure
		}
	}
	return explain.Run(ctx, con, in, opts)
}
