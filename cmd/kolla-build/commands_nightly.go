package main

import (
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/pipeline"
)

// nightlyCommand is for CI jobs and timers.
func nightlyCommand() *command {
	return &command{
		Command: cli.Command{
			Options: nightlyOptions,
			Name:    "nightly",
			Values:  config.ValuesImages,
			Args:    "[REGEX…]",
			Summary: "Rebuild what has changed and publish the set, with reports.",
			About: "A nightly run is a build with --refresh and --push. The set is published as TAG-DATE and as TAG, both or " +
				"neither; the newest 14 dated sets are kept (--retain). Reports, logs and the summary are written to a dated " +
				"directory in --report-dir, and DIR/latest is a link to it. If nothing has changed, nothing is published. Exit " +
				"status: 0 success, 1 something failed, 2 usage error, 75 another nightly run is active, 130 or 143 interrupted " +
				"by a signal.",
			Examples: []cli.Example{
				{Line: "kolla-build nightly -b debian -t binary --registry registry.example:4000",
					Effect: "Publish all images for Debian."},
				{Line: "kolla-build nightly --dry-run", Effect: "Show what a run would do."},
				{Line: "kolla-build nightly --nopush --profile infra", Effect: "Build into the local store, and publish nothing."},
			},
		},
		run: pipeline.Nightly,
	}
}
