package main

import (
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/pipeline"
)

// nightlyCommand is what a CI job or a timer calls.
func nightlyCommand() *command {
	return &command{
		Command: cli.Command{
			Name: "nightly", Values: config.ValuesImages, Args: "[REGEX…]",
			Summary: "Build and publish what moved since last night, with reports.",
			About: "It is a build with --refresh and --push. The set is published as TAG-DATE and as TAG, " +
				"both at once or not at all; the newest 14 dated sets stay (--retain). Reports, logs and the summary go to " +
				"a dated directory in --report-dir, to which latest points. A night in which nothing moved publishes nothing. " +
				"Exit status: 0 all good, 1 something failed, 2 a mistake in the options, 75 another night is still running, 130 interrupted.",
			Examples: []cli.Example{
				{Line: "kolla-build nightly -b debian -t binary --registry registry.example:4000", Effect: "Publish all images for Debian."},
				{Line: "kolla-build nightly --dry-run", Effect: "Show what tonight would bring."},
				{Line: "kolla-build nightly --nopush --profile infra", Effect: "Build only, into the local store."},
			},
		},
		run: pipeline.Nightly,
	}
}
