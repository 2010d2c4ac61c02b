package pipeline

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/explain"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
)

// ExplainOptions says which images Explain explains, and how.
type ExplainOptions struct {
	Images []string
	JSON   bool
	All    bool // all options, not only those that matter
}

// Explain prints what is known of images. It fetches and builds nothing.
func Explain(ctx context.Context, cfg *config.Config, con *console.Console, opts ExplainOptions) error {
	patterns, err := checkNames(cfg, opts.Images)
	if err != nil {
		return err
	}
	c := *cfg
	c.Regex, c.SkipExisting, c.SkipParents, c.Push = patterns, false, false, false
	s, rendered, err := open(ctx, &c, con, nil, modeOffline)
	defer stages{session: s, rendered: rendered}.close()
	if rendered == nil {
		return err
	}
	in := explain.Input{Set: rendered.First(), All: opts.All, NoPlan: err}
	if err == nil {
		p, err := s.plan(ctx, rendered)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if in.NoPlan = err; err == nil {
			in.Plan, in.Parts = p.plan, p.keys.Parts
			in.Failed = func(id image.ID) error { return p.defined.Image(id).Err }
		}
	}
	var all []*explain.Explanation
	for _, name := range opts.Images {
		x, err := explain.Image(ctx, in, name)
		if err != nil {
			return err
		}
		all = append(all, x)
	}
	if opts.JSON {
		return con.PrintJSON(all)
	}
	for i, x := range all {
		if i > 0 {
			fmt.Fprintln(con.Stdout)
		}
		if err := x.WriteText(con.Stdout); err != nil {
			return err
		}
	}
	return nil
}

// checkNames checks that the tree has images of these names, and returns the
// regular expressions that select them.
func checkNames(cfg *config.Config, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, usererr.Usage(usererr.Errorf("kolla-build explain nova-api", "explain: no image is named"))
	}
	known := imageset.Names(cfg)
	var patterns []string
	for _, name := range names {
		if len(known) > 0 && !slices.Contains(known, name) {
			hint := suggest.DidYouMean(name, known)
			if hint == "" {
				hint = "kolla-build --list-images lists the images"
			}
			return nil, usererr.Errorf(hint, "no image %q in the template tree", name)
		}
		patterns = append(patterns, "^"+regexp.QuoteMeta(name)+"$")
	}
	return patterns, nil
}
