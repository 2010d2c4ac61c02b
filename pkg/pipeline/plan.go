package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// Plan shows what Build would do, as a table or as JSON. Base images and
// sources are fetched for it as for a build: without them there is no key.
func Plan(ctx context.Context, cfg *config.Config, env Env, asJSON bool) error {
	r := &buildRun{cfg: cfg, env: env, dry: true}
	defer r.close()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.retain.foretell(ctx, r); err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r.plan)
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "IMAGE\tACTION\tABOUT\tWHY")
	for _, it := range r.plan.Items {
		about := ""
		if it.Action == plan.Build {
			about = report.FormatDuration(it.Estimate)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", it.Image, it.Action, about, it.Reason)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	n := r.plan.ToBuild()
	if n == 0 {
		env.Notice("nothing to do: %d images unchanged", len(r.plan.Items))
		return nil
	}
	env.Notice("%d of %d images would be built, in about %s with %d threads", n, len(r.plan.Items),
		report.FormatDuration(r.plan.Estimate(r.cfg.Threads)), r.cfg.Threads)
	return nil
}
