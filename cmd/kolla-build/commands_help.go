package main

import (
	"context"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

func helpCommand() *command {
	return &command{
		Command: cli.Command{
			Name: "help", Values: config.ValuesCommands, Args: "[COMMAND]",
			Summary: "Show the help of a command.",
			Groups:  []config.Group{config.GroupConfig},
		},
		run: func(_ context.Context, cfg *config.Config, con *console.Console) error {
			name := ""
			if len(cfg.Args) > 0 {
				name = cfg.Args[0]
			}
			return help(table(), name, con.Stdout)
		},
	}
}
