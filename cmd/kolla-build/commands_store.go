package main

import (
	"context"
	"fmt"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/pipeline"
	"github.com/spf13/pflag"
)

func imagesCommand() *command {
	var asJSON bool
	return &command{
		Command: cli.Command{
			Name: "images", Values: config.ValuesStored, Args: "[REGEX…]",
			Summary: "List the images in the local store.",
			Groups:  []config.Group{config.GroupBuilder, config.GroupConfig},
			Flags:   func(f *pflag.FlagSet) { jsonFlag(f, &asJSON) },
			Examples: []cli.Example{
				{Line: "kolla-build images nova-", Effect: "List what was built of nova."},
			},
		},
		run: func(_ context.Context, cfg *config.Config, con *console.Console) error {
			return pipeline.Images(cfg, con, asJSON)
		},
	}
}

func diffCommand() *command {
	var asJSON bool
	return &command{
		Command: cli.Command{
			Name: "diff", Values: config.ValuesStored, Args: "A B",
			Summary: "Show which files, packages and settings two images do not have alike.",
			Groups:  []config.Group{config.GroupBuilder, config.GroupOutput, config.GroupConfig},
			Flags:   func(f *pflag.FlagSet) { jsonFlag(f, &asJSON) },
			Examples: []cli.Example{
				{Line: "kolla-build diff nova-api:nightly nova-api:2026-11-21", Effect: "Compare two builds; ends with 0 if they are the same, 1 if not."},
				{Line: "kolla-build diff --json nova-api:t registry.example:4000/kolla/nova-api:t", Effect: "Compare with what a registry has."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if len(cfg.Args) != 2 {
				return &config.Error{Message: fmt.Sprintf("diff takes two images, not %d", len(cfg.Args)), Hint: "kolla-build diff nova-api:t1 nova-api:t2"}
			}
			return pipeline.Diff(ctx, cfg, con, cfg.Args[0], cfg.Args[1], asJSON)
		},
	}
}

func removeCommand() *command {
	return &command{
		real: true,
		Command: cli.Command{
			Name: "remove", Values: config.ValuesStored, Args: "REGEX…",
			Summary: "Take images out of the local store.",
			Groups:  []config.Group{config.GroupNames, config.GroupBuilder, config.GroupConfig},
			Examples: []cli.Example{
				{Line: "kolla-build remove --tag old .", Effect: "Forget all images of a tag; gc frees their place."},
			},
		},
		run: func(_ context.Context, cfg *config.Config, con *console.Console) error {
			return pipeline.Remove(cfg, con)
		},
	}
}

func gcCommand() *command {
	var days int
	return &command{
		real: true,
		Command: cli.Command{
			Name:    "gc",
			Summary: "Free what nothing in the local store refers to.",
			Groups:  []config.Group{config.GroupBuilder, config.GroupConfig},
			Flags: func(f *pflag.FlagSet) {
				f.IntVar(&days, "older-than", 30, "Forget unnamed images that are older than so many `DAYS`.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build gc --older-than 7", Effect: "Keep a week of what no name stands for any more."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if days < 0 {
				return &config.Error{Message: fmt.Sprintf("--older-than %d: a number of days is not below 0", days)}
			}
			return pipeline.Collect(ctx, cfg, con, time.Duration(days)*24*time.Hour)
		},
	}
}

func saveCommand() *command {
	var output string
	return &command{
		real: true,
		Command: cli.Command{
			Name: "save", Values: config.ValuesStored, Args: "[REGEX…] --output FILE",
			Summary: "Write built images into one file for a site without internet.",
			Groups:  []config.Group{config.GroupSelect, config.GroupNames, config.GroupBuilder, config.GroupConfig},
			Flags: func(f *pflag.FlagSet) {
				f.StringVarP(&output, "output", "o", "", "The `FILE` to write, - for standard output.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build save --output set.tar", Effect: "Save every image that was built."},
				{Line: "kolla-build save nova- --output nova.tar", Effect: "Save nova's images."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			return pipeline.Save(ctx, cfg, con, output)
		},
	}
}

func loadCommand() *command {
	return &command{
		real: true,
		Command: cli.Command{
			Name: "load", Values: config.ValuesFiles, Args: "FILE",
			Summary: "Take images out of a saved file, and push them to a registry or load them into Docker or Podman.",
			Groups:  []config.Group{config.GroupNames, config.GroupBuilder, config.GroupConfig},
			Examples: []cli.Example{
				{Line: "kolla-build load set.tar --push --registry localhost:4000", Effect: "Push the images of a file to a registry."},
				{Line: "kolla-build load set.tar --engine docker", Effect: "Load them into Docker on this host."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if err := oneArgument(cfg, "file", "kolla-build load set.tar, or - for standard input"); err != nil {
				return err
			}
			return pipeline.Load(ctx, cfg, con, cfg.Args[0])
		},
	}
}
