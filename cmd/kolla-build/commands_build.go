package main

import (
	"context"
	"io"

	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/pipeline"
	"github.com/spf13/pflag"
)

// buildCommand is what kolla-build does without a command's name.
func buildCommand() *command {
	return &command{
		Command: config.Command{
			Args: "[REGEX…]", Values: config.ValuesImages,
			Summary: "Build OpenStack container images from a tree of templates, with BuildKit.",
			Examples: []config.Example{
				{Line: "kolla-build -b debian -t binary keystone", Does: "Build keystone's images and their parents, from Debian's packages."},
				{Line: "kolla-build -b ubuntu nova zun", Does: "Build all images of nova and zun, from sources, on Ubuntu."},
				{Line: "kolla-build --profile infra --push --registry localhost:4000", Does: "Build a profile's images and push them to a registry."},
				{Line: "kolla-build --base debian --list-images nova-", Does: "List the images of nova and build nothing."},
				{Line: "kolla-build --template-only --work-dir out", Does: "Render the Dockerfiles and build nothing."},
				{Line: "kolla-build --generate-config > kolla-build.conf", Does: "Start a configuration file."},
			},
		},
		run: build,
	}
}

func build(ctx context.Context, cfg *config.Config, env pipeline.Env) error {
	if cfg.GenerateConfig {
		_, err := io.WriteString(env.Stdout, config.SampleConfig())
		return err
	}
	if done, err := pipeline.Show(ctx, cfg, env); done {
		return err
	}
	return pipeline.Build(ctx, cfg, env)
}

func planCommand() *command {
	var asJSON bool
	return &command{
		Command: config.Command{
			Name: "plan", Values: config.ValuesImages, Args: "[REGEX…]",
			Summary: "Show what a build would do, and why.",
			Flags:   func(f *pflag.FlagSet) { jsonFlag(f, &asJSON) },
			Examples: []config.Example{
				{Line: "kolla-build plan -b debian nova-", Does: "Show which of nova's images would be built, and why."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, env pipeline.Env) error {
			return pipeline.Plan(ctx, cfg, env, asJSON)
		},
	}
}

func jsonFlag(f *pflag.FlagSet, to *bool) { f.BoolVar(to, "json", false, "Print JSON.") }
