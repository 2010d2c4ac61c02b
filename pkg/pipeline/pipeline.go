package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Env is what a run has from the process around it.
type Env = *console.Console

// HintError is an error with a hint. New code uses usererr.
type HintError struct {
	Err    error
	Advice string
}

func (e *HintError) Error() string { return e.Err.Error() }

func (e *HintError) Unwrap() error { return e.Err }

// Hint returns what to do about the error.
func (e *HintError) Hint() string { return e.Advice }

// ErrFailed is returned by runs in which images failed, after the summary has
// said which: there is nothing left to print.
var ErrFailed = fmt.Errorf("images failed: %w", usererr.ErrReported)

// withNormalizedNames returns a configuration whose registry and namespace are
// spelled as in the names of images.
func withNormalizedNames(cfg *config.Config, env Env) (*config.Config, error) {
	n, notes, err := namingOf(cfg).Normalize()
	if err != nil {
		return cfg, err
	}
	for _, note := range notes {
		env.Notice("%s", note)
	}
	c := *cfg
	c.Registry, c.Namespace = n.Registry, n.Namespace
	return &c, nil
}

// namingOf is how the images of a run are named, as the user configured it.
func namingOf(cfg *config.Config) imageref.Naming {
	return imageref.Naming{Registry: cfg.Registry, Namespace: cfg.Namespace, Prefix: cfg.ImageNamePrefix, Tag: cfg.Tag}
}

// naming is how the images of a run are named, normalized. Notes tell the user which
// input was changed.
func naming(cfg *config.Config) (imageref.Naming, []string, error) {
	for _, tag := range cfg.AlsoTag {
		if err := imageref.CheckTag(tag); err != nil {
			return imageref.Naming{}, nil, fmt.Errorf("--also-tag: %w", err)
		}
	}
	if cfg.Push && cfg.Registry == "" && strings.Trim(cfg.Namespace, "/") == "" {
		return imageref.Naming{}, nil, &HintError{errors.New("--push to Docker Hub without a namespace: only Docker itself may push there"),
			"--registry HOST:PORT names a registry, -n NAME your namespace on Docker Hub"}
	}
	return namingOf(cfg).Normalize()
}

// OpenStore opens the local store of the data directory.
func OpenStore(cfg *config.Config) (*store.Store, error) {
	return store.Open(filepath.Join(cfg.DataDir, "store"))
}

func newClient(cfg *config.Config, env Env) (*registry.Client, error) {
	return registry.New(registry.Options{Insecure: cfg.RegistryInsecure, UserAgent: "kolla-build/" + env.Version, Timeout: timeout(cfg)})
}

func timeout(cfg *config.Config) time.Duration {
	return time.Duration(max(1, cfg.Timeout)) * time.Second
}

// reach finds out whether the registry of ref answers at all, so that one which
// accepts connections and says nothing is given up after --timeout, and not
// after all the tries that a transfer on the way deserves.
func reach(ctx context.Context, cfg *config.Config, c *registry.Client, ref string) error {
	pctx, cancel := context.WithTimeout(ctx, timeout(cfg))
	defer cancel()
	err := c.Ping(pctx, ref)
	if pctx.Err() != nil && ctx.Err() == nil {
		host, _, _ := strings.Cut(ref, "/")
		return &HintError{fmt.Errorf("registry %s does not answer within %v", host, timeout(cfg)), "--timeout SECONDS waits longer"}
	}
	return err
}
