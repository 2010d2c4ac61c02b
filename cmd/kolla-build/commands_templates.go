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
			Groups:  []config.Group{config.GroupTree, config.GroupConfig},
			Examples: []cli.Example{
				{Line: "kolla-build lint my-overrides.j2", Effect: "Find blocks and variables that no template has."},
				{Line: "kolla-build lint --docker-dir ./images", Effect: "Check a tree of one's own, laid over the built-in one."},
			},
		},
		run: func(_ context.Context, cfg *config.Config, con *console.Console) error {
			return pipeline.Lint(cfg, con)
		},
	}
}

func renderCommand() *command {
	var opts render.FileOptions
	var build bool
	return &command{
		Command: cli.Command{
			Name: "render", Values: config.ValuesFiles, Args: "TEMPLATE",
			Summary: "Print one rendered template, to debug overrides.",
			Groups:  []config.Group{config.GroupBase, config.GroupNames, config.GroupConfig},
			Flags: func(f *pflag.FlagSet) {
				f.StringArrayVar(&opts.Search, "search", nil, "A `DIR` for includes and imports, repeatable; the template's own if there is none.")
				f.StringVar(&opts.Parent, "parent", "", "The template that {% extends parent_template %} extends, a `FILE`.")
				f.StringVar(&opts.VarsFile, "vars", "", "JSON or YAML `FILE` with variables.")
				f.BoolVar(&build, "build-vars", false, "Bind all that a build binds: users, base_distro, tag and so on, and as image_name the name of the directory that the parent, or else the template, is in.")
				f.StringArrayVar(&opts.Set, "set", nil, "A variable, a text, as `NAME=VALUE`, repeatable. users.nova.uid=1 sets an entry of a mapping.")
				f.StringArrayVar(&opts.SetJSON, "set-json", nil, "A variable of any type as `NAME=JSON`, repeatable, such as 'list=[1, 2]'.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build render --vars vars.yaml Dockerfile.j2", Effect: "Render a template with the variables of a file."},
				{Line: "kolla-build render --build-vars --search . cron/Dockerfile.j2", Effect: "Render a template of a tree as a build would."},
				{Line: "kolla-build render --build-vars --search . --parent cron/Dockerfile.j2 my.j2", Effect: "See what an override makes of an image."},
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
