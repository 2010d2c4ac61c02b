package main

import (
	"context"
	"fmt"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/spf13/pflag"
)

func helpCommand() *command {
	var full bool
	return &command{
		Command: cli.Command{
			Name: "help", Minor: true, NoFiles: true, Values: config.ValuesCommands, Args: "[COMMAND]",
			Summary: "Show the help of a command.",
			Flags: func(f *pflag.FlagSet) {
				f.BoolVar(&full, "all", false, "Show all options with their complete help.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build help --all", Effect: "Show every option of a build."},
				{Line: "kolla-build help load", Effect: "Show the help of a command."},
			},
		},
		run: func(_ context.Context, cfg *config.Config, con *console.Console) error {
			if len(cfg.Args) > 1 {
				return &config.Error{Message: fmt.Sprintf("help takes one command, not %d", len(cfg.Args))}
			}
			name := ""
			if len(cfg.Args) > 0 {
				name = cfg.Args[0]
			}
			return help(table(), name, full, con.Stdout)
		},
	}
}

func versionCommand() *command {
	return &command{
		Command: cli.Command{
			Name: "version", Minor: true, NoFiles: true,
			Summary: "Print the versions of the program, BuildKit and Go.",
			Examples: []cli.Example{
				{Line: "kolla-build version", Effect: "Print the release, the commit, and the versions of BuildKit and Go."},
			},
		},
		run: func(_ context.Context, cfg *config.Config, con *console.Console) error {
			if len(cfg.Args) > 0 {
				return &config.Error{Message: "version takes no arguments"}
			}
			return writeVersions(con.Stdout)
		},
	}
}
