package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/explain"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/workspace"
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
	r := &buildRun{cfg: &c, env: con, local: true, dry: true}
	defer r.close()
	noPlan, err := r.prepareLocal(ctx)
	if err != nil {
		return err
	}
	in := explain.Input{Set: r.set, All: opts.All, NoPlan: noPlan}
	if noPlan == nil {
		in.Plan, in.Parts = r.plan, r.keys.Parts
		in.Failed = func(id image.ID) error { return r.defined.failed[id] }
	}
	var all []*explain.Explanation
	for _, name := range opts.Images {
		x, err := explain.Image(in, name)
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

// prepareLocal prepares a run with what is on this machine. The first result says
// why there is no plan: a base image or a source is not here.
func (r *buildRun) prepareLocal(ctx context.Context) (noPlan error, err error) {
	if _, serr := os.Stat(workspace.StoreDir(r.cfg)); serr == nil {
		if err = r.prepare(ctx); err == nil || r.set == nil || ctx.Err() != nil {
			return nil, err
		}
		return err, nil
	}
	r.cfg = withLocalBase(r.cfg)
	if r.cfg, err = withNormalizedNames(r.cfg, r.env); err != nil {
		return nil, err
	}
	if r.rendered, err = imageset.Render(ctx, imageset.Options{Config: r.cfg, Console: r.env}); err != nil {
		return nil, err
	}
	r.set = r.rendered.First()
	r.cfg = r.set.Config
	return errors.New("nothing was built here yet"), nil
}
