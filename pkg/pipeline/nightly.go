package pipeline

import (
	"context"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/nightly"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// Nightly is Build with the defaults of a nightly job: images with changed inputs
// are built, and the set is published under a dated tag and a floating one, with
// reports, retention and a lock. Options that the user set are kept. A night in
// which nothing changed publishes nothing.
func Nightly(ctx context.Context, cfg *config.Config, c *console.Console) error {
	// Before the date is added to it, and it becomes an additional tag.
	if err := imageref.CheckTag(cfg.Tag); err != nil {
		return err
	}
	cfg, n := nightly.Defaults(cfg, time.Now())
	if cfg.Push && !workspace.NamesRegistry(cfg) {
		return usererr.Usage(
			usererr.Errorf("--registry HOST[:PORT] names it (docker.io is Docker Hub); --nopush builds without publishing",
				"nightly: no registry to publish to"))
	}
	if cfg.DryRun {
		return Plan(ctx, cfg, c, cfg.Format == "json" && cfg.Origin("format").Kind == config.OriginFlag)
	}
	if err := workspace.CheckDataDir(cfg); err != nil {
		return err
	}
	unlock, err := nightly.Lock(cfg.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	return run(ctx, cfg, c, runOptions{night: n})
}
