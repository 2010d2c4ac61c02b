package main

import (
	"context"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/pipeline"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/spf13/pflag"
)

func lintCommand() *command {
	return &command{
		Command: cli.Command{
			Name: "lint", Values: config.ValuesFiles, Args: "[OVERRIDE…]",
			Summary: "Check templates and overrides without rendering them.",
			Options: treeOptions,
			Examples: []cli.Example{
				{Line: "kolla-build lint my-overrides.j2", Effect: "Find blocks and variables that no template has."},
				{Line: "kolla-build lint --docker-dir ./images", Effect: "Check your own tree on top of the built-in one."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			return pipeline.Lint(ctx, cfg, con)
		},
	}
}

func renderCommand() *command {
	var opts render.FileOptions
	var build bool
	return &command{
		Command: cli.Command{
			Name: "render", Values: config.ValuesFiles, Args: "TEMPLATE",
			Summary: "Render one template and print it, to debug overrides.",
			Options: variableOptions,
			Flags: func(f *pflag.FlagSet) {
				f.StringArrayVar(&opts.Search, "search", nil, "`DIR` for includes and imports. Repeatable. Default: the template's own.")
				f.StringVar(&opts.Parent, "parent", "", "Template `FILE` that {% extends parent_template %} extends.")
				f.StringVar(&opts.VarsFile, "vars", "", "JSON or YAML `FILE` with variables.")
				f.BoolVar(&build, "build-vars", false, "Set the variables of a build: users, base_distro, tag and so on. image_name is the name of the directory of the parent or, without one, of the template.")
				f.StringArrayVar(&opts.Set, "set", nil, "Set a variable to a string, as `NAME=VALUE`. Repeatable. users.nova.uid=1 sets an entry of a mapping.")
				f.StringArrayVar(&opts.SetJSON, "set-json", nil, "Set a variable of any type, as `NAME=JSON`. Repeatable. Example: 'list=[1, 2]'.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build render --vars vars.yaml Dockerfile.j2", Effect: "Render a template with the variables of a file."},
				{Line: "kolla-build render --build-vars --search . cron/Dockerfile.j2", Effect: "Render a template of a tree as a build would."},
				{Line: "kolla-build render --build-vars --search . --parent cron/Dockerfile.j2 my.j2", Effect: "Show what an override makes of an image."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if err := oneArgument(cfg, "template", "kolla-build render --vars vars.yaml Dockerfile.j2"); err != nil {
				return err
			}
			opts.Template = cfg.Args[0]
			if build {
				opts.Build = cfg
			}
			return pipeline.RenderFile(ctx, con, opts)
		},
	}
}
