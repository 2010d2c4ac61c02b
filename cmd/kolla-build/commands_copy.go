package main

import (
	"context"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/setcopy"
	"github.com/spf13/pflag"
)

// copyOptions are the options of commands that copy between registries.
var copyOptions = []string{"data-dir", "registry-insecure", "threads", "timeout", "progress"}

func copyCommand() *command {
	var opts setcopy.Options
	return &command{
		Command: cli.Command{
			Name:    "copy",
			Minor:   true,
			Args:    "FROM TO [REGEX…]",
			Summary: "Copy images from one registry to another.",
			About: "FROM and TO are HOST[:PORT]/NAMESPACE[:TAG]: all images in a namespace that have a tag. Regular " +
				"expressions select images by name. Without a tag, FROM means all tags, and TO the same ones. All platforms, " +
				"signatures and SBOMs are copied. TO's tags change together at the end, or not at all. An interrupted copy can " +
				"be repeated: nothing is sent twice.",
			Options:    copyOptions,
			OptionHelp: copyHelp,
			Flags:      func(f *pflag.FlagSet) { copyFlags(f, &opts) },
			Examples: []cli.Example{
				{Line: "kolla-build copy build.example:4000/kolla:2026.1 site.example:4000/kolla",
					Effect: "Copy a set to another registry."},
				{Line: "kolla-build copy localhost:4000/kolla:nightly localhost:4000/test:n1 nova-",
					Effect: "Copy the images of nova under another namespace and tag."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			opts.Progress = cfg.Progress
			return setcopy.Copy(ctx, cfg, con, cfg.Args, opts)
		},
	}
}

func tagCommand() *command {
	var opts setcopy.Options
	return &command{
		Command: cli.Command{
			Name:    "tag",
			Minor:   true,
			Args:    "SET NEW…",
			Summary: "Give a set in a registry a new tag or namespace.",
			About: "SET is HOST[:PORT]/NAMESPACE:TAG. NEW is a tag, or HOST[:PORT]/NAMESPACE[:TAG] in the same registry. " +
				"Nothing is downloaded. All tags change together, or none does.",
			Options:    copyOptions,
			OptionHelp: copyHelp,
			Flags:      func(f *pflag.FlagSet) { copyFlags(f, &opts) },
			Examples: []cli.Example{
				{Line: "kolla-build tag localhost:4000/kolla:candidate 2026.1 stable", Effect: "Give all images two more tags."},
				{Line: "kolla-build tag localhost:4000/lokolla:t1 localhost:4000/kolla",
					Effect: "Publish a set under another namespace."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			opts.Progress = cfg.Progress
			return setcopy.AddTags(ctx, cfg, con, cfg.Args, opts)
		},
	}
}

func copyFlags(f *pflag.FlagSet, opts *setcopy.Options) {
	f.BoolVarP(&opts.DryRun, "dry-run", "n", false, "Print what would be done.")
	jsonFlag(f, &opts.JSON)
}
