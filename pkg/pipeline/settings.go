package pipeline

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/runstate"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// settings are the resolved options of a run. They do not change.
type settings struct {
	console *console.Console
	cfg     *config.Config // for all platforms; names normalized

	baseImage   string    // --base-image as the user gave it
	epoch       time.Time // SOURCE_DATE_EPOCH, zero if it is not set
	compression compress.Settings
	scope       runstate.Scope
	last        *runstate.LastRun // the run to continue, nil without --rerun-failed
	retention   *publish.Retention
}

// resolve checks options and resolves those that depend on others, so that mistakes are
// found before anything is read, fetched or written.
func resolve(cfg *config.Config, c *console.Console) (*settings, error) {
	if err := checkOptions(cfg); err != nil {
		return nil, err
	}
	s := &settings{console: c, baseImage: cfg.BaseImage}
	var err error
	if s.epoch, err = define.SourceDateEpoch(c); err != nil {
		return nil, err
	}
	if s.compression, err = compress.Parse(cfg.Compression); err != nil {
		return nil, usererr.Usage(fmt.Errorf("--compression: %w", err))
	}
	if cfg.Push && !workspace.NamesRegistry(cfg) {
		c.Notice("warning: --push without --registry pushes to Docker Hub, to the namespace %q", cfg.Namespace)
	}
	resolved := *cfg
	s.cfg = &resolved
	s.cfg.BaseImage = define.BaseImageName(cfg.BaseImage, cfg.Base)
	if err := publish.CheckNames(cfg); err != nil {
		return nil, err
	}
	if err := workspace.NormalizeNames(s.cfg, c); err != nil {
		return nil, err
	}
	s.scope = runstate.Scope{
		Base:        s.cfg.Base,
		InstallType: s.cfg.InstallType,
		Arch:        s.cfg.BaseArch,
		Platform:    s.cfg.Platform,
		Registry:    s.cfg.Registry,
		Namespace:   s.cfg.Namespace,
		Prefix:      s.cfg.ImageNamePrefix,
		Tag:         s.cfg.Tag,
	}
	if cfg.RerunFailed {
		if s.last, s.cfg.Regex, err = continueLastRun(cfg, s.scope, c); err != nil {
			return nil, err
		}
		s.cfg.Profile = nil
	}
	s.retention, err = publish.ParseRetention(cfg.Retain, append([]string{cfg.Tag}, cfg.AlsoTag...), time.Now())
	return s, cfg.UsageIfTyped("retain", err)
}

// withTag returns the settings of a set with another tag.
func (s *settings) withTag(tag string) *settings {
	cfg, other := *s.cfg, *s
	cfg.Tag, other.scope.Tag, other.cfg = tag, tag, &cfg
	return &other
}

// continueLastRun reads the record of the last run, and returns expressions that select
// its images: all of them, or those that the user's expressions match.
func continueLastRun(cfg *config.Config, scope runstate.Scope, c *console.Console) (
	*runstate.LastRun, []string, error) {
	if err := workspace.CheckDataDir(cfg); err != nil {
		return nil, nil, err
	}
	last, err := runstate.ReadLastRun(cfg.DataDir)
	if err != nil {
		if _, missing := os.Stat(cfg.DataDir); missing != nil {
			err = cfg.UsageIfTyped("data-dir", err)
		}
		return nil, nil, err
	}
	if err := last.CheckScope(scope); err != nil {
		return nil, nil, err
	}
	patterns, err := imageset.CompilePatterns(cfg.Regex)
	if err != nil {
		return nil, nil, err
	}
	var images []image.ID
	var exprs []string
	for _, id := range last.Images {
		match, err := patterns.Match(id.Name)
		if err != nil {
			return nil, nil, err
		}
		if !match {
			continue
		}
		images = append(images, id)
		if expr := "^" + regexp.QuoteMeta(id.Name) + "$"; !slices.Contains(exprs, expr) {
			exprs = append(exprs, expr)
		}
	}
	if len(images) == 0 {
		return nil, nil, usererr.Errorf("omit the regular expressions to select them all",
			"--rerun-failed: none of the last run's %s matches %q", units.Count(len(last.Images), "image"), cfg.Regex)
	}
	c.Notice("%s", last.Describe(images))
	return last, exprs, nil
}
