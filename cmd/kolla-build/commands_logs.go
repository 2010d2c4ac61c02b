package main

import (
	"context"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/runlogs"
	"github.com/kolla-build/kolla-build/pkg/workspace"
	"github.com/spf13/pflag"
)

func logsCommand() *command {
	var opts runlogs.Options
	return &command{
		Command: cli.Command{
			Name: "logs", Values: config.ValuesImages, Args: "[IMAGE…]",
			Summary: "Print the last log of images, or list those of the last run.",
			Options: []string{"data-dir"},
			Flags: func(f *pflag.FlagSet) {
				f.StringVar(&opts.Run, "run", "", "Print logs of this `RUN` instead of the last one.")
				f.BoolVar(&opts.Failed, "failed", false, "Print the logs of the images that failed in the run.")
				f.BoolVarP(&opts.Follow, "follow", "f", false, "Follow the log until the image has ended.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build logs", Effect: "List the logs of the last run, and how each image ended."},
				{Line: "kolla-build logs nova-api", Effect: "Print the log of the last build of an image."},
				{Line: "kolla-build logs --failed", Effect: "Print the logs of the images that failed in the last run."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if err := workspace.CheckDataDir(cfg); err != nil {
				return err
			}
			opts.DataDir, opts.Images = cfg.DataDir, cfg.Args
			return runlogs.Show(ctx, con, opts)
		},
	}
}
