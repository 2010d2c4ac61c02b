package pipeline

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/kolla-build/kolla-build/dockerfiles"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// RenderFile prints one rendered template, exactly, with nothing added.
func RenderFile(ctx context.Context, env Env, opts render.FileOptions) error {
	repos, err := fs.ReadFile(dockerfiles.Tree(), "repos.yaml")
	if err != nil {
		return err
	}
	opts.Repos, opts.ReposName = repos, "the built-in repos.yaml"
	opts.Version = env.Version
	opts.Env = map[string]string{}
	for _, kv := range env.Environ {
		k, v, _ := strings.Cut(kv, "=")
		opts.Env[k] = v
	}
	text, err := render.RenderFile(ctx, opts)
	if err != nil {
		return err
	}
	_, err = io.WriteString(env.Stdout, text)
	return err
}

// Lint checks the configuration's template tree and overrides. Findings go to
// standard output; ErrFailed says that there are some.
func Lint(cfg *config.Config, env Env) error {
	tree, err := openTree(cfg)
	if err != nil {
		return err
	}
	defer tree.Close()
	found, err := render.Lint(tree, append(cfg.TemplateOverride, cfg.Args...))
	if err != nil {
		return err
	}
	for _, f := range found {
		fmt.Fprintln(env.Stdout, f)
	}
	if len(found) > 0 {
		noun := "findings"
		if len(found) == 1 {
			noun = "finding"
		}
		env.Notice("%d %s in %d images' templates", len(found), noun, len(tree.Images()))
		return ErrFailed
	}
	env.Notice("nothing to complain about in %d images' templates", len(tree.Images()))
	return nil
}
