package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// command is a command: its description, which help, completion and the manual page
// are made from, and what it does.
type command struct {
	cli.Command
	run func(context.Context, *config.Config, *console.Console) error
	// raw commands receive their arguments unparsed.
	raw func(ctx context.Context, args []string, con *console.Console) error
}

// table returns all commands, the build itself first. A command's flags are variables
// of its constructor, so that a table serves one command line.
func table() []*command {
	return []*command{
		buildCommand(),
		planCommand(),
		nightlyCommand(),
		explainCommand(),
		lintCommand(),
		renderCommand(),
		imagesCommand(),
		logsCommand(),
		diffCommand(),
		contractCommand(),
		removeCommand(),
		gcCommand(),
		saveCommand(),
		loadCommand(),
		verifyCommand(),
		listCommand(),
		inventoryCommand(),
		copyCommand(),
		tagCommand(),
		lockCommand(),
		fetchCommand(),
		registryCommand(),
		bootstrapCommand(),
		completionCommand(),
		manCommand(),
		versionCommand(),
		helpCommand(),
		completeCommand(),
	}
}

// find returns the command of that name, or nil.
func find(commands []*command, name string) *command {
	i := slices.IndexFunc(commands, func(c *command) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return commands[i]
}

// described returns the descriptions of commands.
func described(commands []*command) []cli.Command {
	var all []cli.Command
	for _, c := range commands {
		all = append(all, c.Command)
	}
	return all
}

// help writes the help of a command: complete, or short enough for one screen.
func help(commands []*command, name string, full bool, w io.Writer) error {
	switch name {
	case "build":
		name = ""
	case "all":
		name, full = "", true
	}
	c := find(commands, name)
	if c == nil {
		hint := cmp.Or(verbs[name], didYouMean(commands, name, "kolla-build help lists them"))
		return &config.Error{Message: fmt.Sprintf("unknown command %q", name), Hint: hint}
	}
	if full {
		return cli.HelpAll(w, c.Command, described(commands))
	}
	return cli.Help(w, c.Command, described(commands))
}

func commandNames(commands []*command) []string {
	names := []string{"build"}
	for _, c := range commands {
		if c.Name != "" && !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return names
}

// noArguments returns a usage error if the command line has arguments.
func noArguments(cfg *config.Config, hint string) error {
	if len(cfg.Args) == 0 {
		return nil
	}
	return &config.Error{
		Message: fmt.Sprintf("%s takes no arguments, and %q is one", cfg.Command, cfg.Args[0]),
		Hint:    hint,
	}
}

// oneArgument returns a usage error unless the command line has exactly one argument.
func oneArgument(cfg *config.Config, argument, hint string) error {
	switch len(cfg.Args) {
	case 0:
		return &config.Error{Message: fmt.Sprintf("%s: no %s is given", cfg.Command, argument), Hint: hint}
	case 1:
		return nil
	}
	return &config.Error{Message: fmt.Sprintf("%s takes one %s, not %d", cfg.Command, argument, len(cfg.Args)), Hint: hint}
}
