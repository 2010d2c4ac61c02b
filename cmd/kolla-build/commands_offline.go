package main

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/offline"
	"github.com/kolla-build/kolla-build/pkg/pipeline"
)

func lockCommand() *command {
	var file string
	var update bool
	return &command{
		Command: cli.Command{
			Name: "lock", Minor: true, Values: config.ValuesImages, Args: "[REGEX…]",
			Summary: "Record all inputs of images by digest in a lock file.",
			Options: lockOptions,
			Flags: func(f *pflag.FlagSet) {
				f.StringVar(&file, "lock", "", "Write this `FILE` instead of kolla-build.lock.")
				f.BoolVar(&update, "update", false, "Replace an existing lock, and print what has changed.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build lock -b debian -t binary keystone",
					Effect: "Build the images of keystone, record everything that they fetch, and write kolla-build.lock."},
				{Line: "kolla-build lock --update -b debian -t binary keystone",
					Effect: "Update the lock later, and print the packages and other inputs that have changed."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			return pipeline.Lock(ctx, cfg, con, file, update)
		},
	}
}

func fetchCommand() *command {
	var opts offline.FetchOptions
	return &command{
		Command: cli.Command{
			Name:       "fetch",
			Minor:      true,
			Args:       "--output DIR",
			Summary:    "Download the inputs of a lock into a directory.",
			Options:    []string{"data-dir", "threads", "retries", "retry-time", "timeout", "registry-insecure"},
			OptionHelp: fetchHelp,
			Flags: func(f *pflag.FlagSet) {
				f.StringVar(&opts.Lock, "lock", "", "Read this `FILE` instead of kolla-build.lock.")
				f.StringVarP(&opts.Output, "output", "o", "",
					"Write to this `DIR`. Files that are already there are verified and kept.")
				f.BoolVar(&opts.Prune, "prune", false, "Remove files of earlier locks from the directory.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build fetch --output inputs",
					Effect: "Download everything in kolla-build.lock: packages with their indexes, sources and base images."},
				{Line: "kolla-build fetch --lock old.lock --output /media/disk/inputs",
					Effect: "Download the inputs of another lock to a medium. A repeated command continues an interrupted one."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			return offline.Fetch(ctx, cfg, con, opts)
		},
	}
}
