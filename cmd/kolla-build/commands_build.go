package main

import (
	"context"
	"io"

	"github.com/spf13/pflag"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/explain"
	"github.com/kolla-build/kolla-build/pkg/pipeline"
	"github.com/kolla-build/kolla-build/pkg/templates"
)

// buildCommand is the command without a name: the build.
func buildCommand() *command {
	return &command{
		Command: cli.Command{
			Args:    "[REGEX…]",
			Values:  config.ValuesImages,
			Summary: "Build OpenStack container images from a tree of templates, with BuildKit.",
			Examples: []cli.Example{
				{Line: "kolla-build -b debian -t binary keystone",
					Effect: "Build the images of keystone and their parents from Debian packages."},
				{Line: "kolla-build -b ubuntu nova zun", Effect: "Build all images of nova and zun from source, on Ubuntu."},
				{Line: "kolla-build --profile infra --push --registry localhost:4000",
					Effect: "Build the images of a profile and push them to a registry."},
				{Line: "kolla-build --base debian --list-images nova-", Effect: "List the images of nova."},
				{Line: "kolla-build --template-only --work-dir out", Effect: "Render the Dockerfiles."},
				{Line: "kolla-build --generate-config > kolla-build.conf", Effect: "Write a sample configuration file."},
			},
		},
		run: build,
	}
}

func build(ctx context.Context, cfg *config.Config, con *console.Console) error {
	if cfg.GenerateConfig {
		_, err := io.WriteString(con.Stdout, config.SampleConfig())
		return err
	}
	if cfg.DryRun {
		return pipeline.Plan(ctx, cfg, con, cfg.Format == "json" && cfg.Origin("format").Kind == config.OriginFlag)
	}
	if done, err := templates.Show(ctx, cfg, con); done {
		return err
	}
	return pipeline.Build(ctx, cfg, con)
}

func planCommand() *command {
	var asJSON bool
	return &command{
		Command: cli.Command{
			Name: "plan", Values: config.ValuesImages, Args: "[REGEX…]",
			Summary: "Show what a build would do, and why.",
			Options: planOptions, AnyOption: true,
			Flags: func(f *pflag.FlagSet) { jsonFlag(f, &asJSON) },
			Examples: []cli.Example{
				{Line: "kolla-build plan -b debian nova-", Effect: "Show which images of nova would be built, and why."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			return pipeline.Plan(ctx, cfg, con, asJSON)
		},
	}
}

func explainCommand() *command {
	var opts explain.Options
	return &command{
		Command: cli.Command{
			Name: "explain", Values: config.ValuesImages, Args: "IMAGE…",
			Summary: "Show the inputs of an image, and which changes would rebuild it.",
			Options: explainOptions, AnyOption: true,
			Flags: func(f *pflag.FlagSet) {
				jsonFlag(f, &opts.JSON)
				f.BoolVar(&opts.All, "all", false, "Show all options, not only those that affect the image.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build explain -b debian keystone", Effect: "Show the settings of keystone and where each " +
					"comes from, its parents, sources, overrides and Dockerfile, and what has changed since it was built."},
				{Line: "kolla-build explain --json nova-api", Effect: "Print the same as JSON."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			opts.Images = cfg.Args
			return pipeline.Explain(ctx, cfg, con, opts)
		},
	}
}

func jsonFlag(f *pflag.FlagSet, to *bool) { f.BoolVar(to, "json", false, "Print JSON.") }
