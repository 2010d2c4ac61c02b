package templates

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	normalized.BaseImage = define.BaseImageName(cfg.BaseImage, cfg.Base)
	if err := workspace.NormalizeNames(&normalized, c); err != nil {
		return err
	}
	tree, err := imageset.OpenTree(&normalized)
	if err != nil {
		return err
	}
	defer tree.Close()
	found, err := render.Lint(ctx, tree, normalized.TemplateOverride)
	if len(cfg.Args) > 0 && errors.Is(err, fs.ErrNotExist) {
		return usererr.WithHint(err, "the arguments of lint are files of overrides; it checks the templates of all images")
	}
	if err != nil {
		return err
	}
	inDockerfiles, err := lintDockerfiles(ctx, &normalized, cfg.Profile, found, c)
	found = render.SortFindings(append(found, inDockerfiles...))
	if err != nil && len(found) == 0 {
		return err
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
	if err != nil {
		result += " so far"
	}
	c.Notice("%s in the templates of %s", result, units.Count(len(tree.Images()), "image"))
	if err == nil && len(found) > warnings {
		return usererr.ErrReported
	}
	return err
}

// lintDockerfiles checks the rendered Dockerfiles. With overrides that break every image,
// those without overrides are checked. found are the findings so far.
func lintDockerfiles(
	ctx context.Context, cfg *config.Config, profiles []string, found []render.Finding, c *console.Console,
) ([]render.Finding, error) {
	inOverride := func(f render.Finding) bool { return slices.Contains(cfg.TemplateOverride, f.File) }
	var overrideErr error
	if !slices.ContainsFunc(found, func(f render.Finding) bool { return f.Everywhere && inOverride(f) }) {
		var more []render.Finding
		if more, overrideErr = lintRendered(ctx, cfg, profiles, c); overrideErr == nil || len(cfg.TemplateOverride) == 0 {
			return more, overrideErr
		}
	}
	tree := *cfg
	tree.TemplateOverride = nil
	more, err := lintRendered(ctx, &tree, profiles, c)
	if err == nil && !slices.ContainsFunc(found, inOverride) {
		err = overrideErr // the findings are its cause otherwise
	}
	return more, err
}

func lintRendered(ctx context.Context, cfg *config.Config, profiles []string, c *console.Console) (
	[]render.Finding, error) {
	quiet := &console.Console{Stdout: io.Discard, Stderr: io.Discard, Environ: c.Environ, Version: c.Version}
	rendered, err := imageset.Render(ctx, imageset.Options{Config: cfg, Console: quiet, KeepMistakes: true})
	if err != nil {
		return nil, err
	}
	defer rendered.Close()
	set := rendered.First()
	set.CheckNames(profiles, c.Notice)
	return append(define.Check(ctx, set), render.UndefinedNames(ctx, set.Options)...), nil
}
