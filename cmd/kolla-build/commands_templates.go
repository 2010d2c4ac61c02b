package main

import (
	"context"
	"slices"

	"github.com/spf13/pflag"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/kolla-build/kolla-build/pkg/templates"
)

func lintCommand() *command {
	return &command{
		Command: cli.Command{
			Name: "lint", Values: config.ValuesFiles, Args: "[OVERRIDE…]",
			Summary:    "Check templates, overrides and rendered Dockerfiles.",
			Options:    lintOptions,
			OptionHelp: renderHelp,
			Examples: []cli.Example{
				{Line: "kolla-build lint my-overrides.j2", Effect: "Find blocks and variables that no template has."},
				{Line: "kolla-build lint --docker-dir ./images", Effect: "Check your own tree on top of the built-in one."},
				{Line: "kolla-build lint -b ubuntu --images-dir ./images", Effect: "Check a tree as it is rendered for Ubuntu."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			return templates.Lint(ctx, cfg, con)
		},
	}
}

func renderCommand() *command {
	var opts render.FileOptions
	var build bool
	return &command{
		Command: cli.Command{
			Name:    "render",
			Values:  config.ValuesFiles,
			Args:    "IMAGE|TEMPLATE",
			Summary: "Render an image's Dockerfile or a template file and print it.",
			Options: slices.Concat(variableOptions, treeOptions,
				[]string{"apt_sources_list", "apt_preferences", "build-args", "debian-arch", "platform"}),
			OptionHelp: renderHelp,
			Flags: func(f *pflag.FlagSet) {
				f.StringArrayVar(&opts.Search, "search", nil,
					"`DIR` for includes and imports. Repeatable. Default: the template's own.")
				f.StringVar(&opts.Parent, "parent", "", "Template `FILE` that {% extends parent_template %} extends.")
				f.StringVar(&opts.VarsFile, "vars", "", "JSON or YAML `FILE` with variables.")
				f.BoolVar(&build, "build-vars", false, "Set the variables of a build: users, base_distro, tag and so on. "+
					"image_name is the name of the directory of the parent or, without one, of the template.")
				f.StringArrayVar(&opts.Set, "set", nil,
					"Set a variable to a string, as `NAME=VALUE`. Repeatable. users.nova.uid=1 sets an entry of a mapping.")
				f.StringArrayVar(&opts.SetJSON, "set-json", nil,
					"Set a variable of any type, as `NAME=JSON`. Repeatable. Example: 'list=[1, 2]'.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build render -b debian cron --template-override my.j2",
					Effect: "Print the Dockerfile of cron with an override."},
				{Line: "kolla-build render --vars vars.yaml Dockerfile.j2",
					Effect: "Render a template file with the variables of another file."},
				{Line: "kolla-build render --build-vars --search . --parent cron/Dockerfile.j2 my.j2",
					Effect: "Render a template file that extends another, with the variables of a build."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if err := oneArgument(cfg, "image or template", "kolla-build render -b debian cron"); err != nil {
				return err
			}
			opts.Template = cfg.Args[0]
			if build {
				opts.Build = cfg
			}
			return templates.Render(ctx, cfg, con, opts)
		},
	}
}
