package templates

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// Lint checks the configuration's template tree and overrides, and the rendered
// Dockerfiles, and prints the findings. It returns usererr.ErrReported if there are any
// that are not warnings.
func Lint(ctx context.Context, cfg *config.Config, c *console.Console) error {
	normalized := *cfg
	normalized.TemplateOverride = render.DistinctFiles(slices.Concat(cfg.TemplateOverride, cfg.Args))
	normalized.Regex, normalized.Profile = nil, nil // the arguments are overrides
	if err := workspace.NormalizeNames(&normalized, c); err != nil {
		return err
	}
	tree, err := imageset.OpenTree(&normalized)
	if err != nil {
		return err
	}
	defer tree.Close()
	found, err := render.Lint(ctx, tree, normalized.TemplateOverride)
	if err != nil {
		return err
	}
	quiet := &console.Console{Stdout: io.Discard, Stderr: io.Discard, Environ: c.Environ, Version: c.Version}
	rendered, err := imageset.Render(ctx, imageset.Options{Config: &normalized, Console: quiet})
	switch {
	case err == nil:
		defer rendered.Close()
		rendered.First().CheckNames(cfg.Profile, c.Notice)
		// A mistake in an override would be found again in every image.
		if !slices.ContainsFunc(found, func(f render.Finding) bool { return slices.Contains(normalized.TemplateOverride, f.File) }) {
			found = render.SortFindings(append(found, define.Check(ctx, rendered.First())...))
		}
	case len(found) == 0:
		return err // the findings are the cause otherwise
	}
	warnings := 0
	for _, f := range found {
		fmt.Fprintln(c.Stdout, f)
		if f.Warning {
			warnings++
		}
	}
	result := "no findings"
	if n := len(found) - warnings; n > 0 {
		result = units.Count(n, "finding")
	}
	if warnings > 0 {
		result += " and " + units.Count(warnings, "warning")
	}
	c.Notice("%s in the templates of %s", result, units.Count(len(tree.Images()), "image"))
	if len(found) > warnings {
		return usererr.ErrReported
	}
	return nil
}
