package pipeline

import (
	"regexp"
	"slices"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/runstate"
)

// scopeOf returns a run's scope by the configuration as the user gave it, before
// it is narrowed to one of several platforms.
func scopeOf(cfg *config.Config) runstate.Scope {
	registry, namespace := cfg.Registry, cfg.Namespace
	if n, _, err := namingOf(cfg).Normalize(); err == nil {
		registry, namespace = n.Registry, n.Namespace
	}
	return runstate.Scope{Base: cfg.Base, InstallType: cfg.InstallType, Arch: cfg.BaseArch, Platform: cfg.Platform,
		Registry: registry, Namespace: namespace, Prefix: cfg.ImageNamePrefix, Tag: cfg.Tag}
}

// withLastRun returns the last run and a configuration that selects its images:
// all, or those that the user's own regular expressions match.
func withLastRun(cfg *config.Config, env Env) (*config.Config, *runstate.LastRun, error) {
	last, err := runstate.ReadLastRun(cfg.DataDir)
	if err != nil {
		return nil, nil, err
	}
	if err := last.CheckScope(scopeOf(cfg)); err != nil {
		return nil, nil, err
	}
	patterns, err := imageset.CompilePatterns(cfg.Regex)
	if err != nil {
		return nil, nil, err
	}
	c := *cfg
	c.Regex, c.Profile = nil, nil
	var images []image.ID
	for _, id := range last.Images {
		match, err := patterns.Match(id.Name)
		if err != nil {
			return nil, nil, err
		}
		if !match {
			continue
		}
		images = append(images, id)
		if re := "^" + regexp.QuoteMeta(id.Name) + "$"; !slices.Contains(c.Regex, re) {
			c.Regex = append(c.Regex, re)
		}
	}
	if len(images) == 0 {
		return nil, nil, usererr.Errorf("omit the regular expressions to select them all",
			"--rerun-failed: none of the %d images of the last run matches %q", len(last.Images), cfg.Regex)
	}
	env.Notice("%s", last.Describe(images))
	return &c, last, nil
}

// incomplete returns the images that are built although they are stored, because
// the last run did not complete them. Without --nocache there are none.
func incomplete(last *runstate.LastRun, cfg *config.Config, inputs []plan.Input) map[image.ID]bool {
	if last == nil || cfg.Cache {
		return nil
	}
	return last.Incomplete(inputs)
}
