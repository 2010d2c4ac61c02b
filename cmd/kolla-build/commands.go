package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// command is one command: what is said about it, which help, completion and the
// man page are made from, and what it does. Every command understands the whole
// option table besides its own flags, so that one kolla-build.conf serves all.
type command struct {
	cli.Command
	run func(context.Context, *config.Config, *console.Console) error
	// first marks a command whose name would select images if it were a regular
	// expression (man: manila). It is a command as the first word only.
	first bool
	// real marks a command that changes something and has no dry run: one that is
	// asked for must not be a warning, after which the images are gone.
	real bool
	// raw commands take their arguments as they stand: these are no options.
	raw func(ctx context.Context, args []string, con *console.Console) error
}

// table makes the table of commands, the build itself first. A command's flags
// are variables of its constructor, so a table serves one command line.
func table() []*command {
	return []*command{
		buildCommand(),
		planCommand(),
		nightlyCommand(),
		explainCommand(),
		lintCommand(),
		renderCommand(),
		imagesCommand(),
		diffCommand(),
		removeCommand(),
		gcCommand(),
		saveCommand(),
		loadCommand(),
		registryCommand(),
		bootstrapCommand(),
		completionCommand(),
		manCommand(),
		helpCommand(),
		completeCommand(),
	}
}

// find returns the command of that name, nil if there is none.
func find(commands []*command, name string) *command {
	i := slices.IndexFunc(commands, func(c *command) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return commands[i]
}

// pick returns the command that a command line names, and the arguments without
// its name. A command's name is the first word that is no option and no option's
// value; what stands after "--" is a regular expression.
func pick(commands []*command, args []string) (*command, []string) {
	at, name := cli.FirstWord(args, func(name string) (cli.Command, bool) {
		c := find(commands, name)
		if c == nil || name == "" {
			return cli.Command{}, false
		}
		return c.Command, true
	})
	c := find(commands, name)
	if name == "" || at > 0 && c.first {
		return find(commands, ""), args
	}
	return c, slices.Concat(args[:at], args[at+1:])
}

// described returns what the table says about its commands.
func described(commands []*command) []cli.Command {
	var all []cli.Command
	for _, c := range commands {
		all = append(all, c.Command)
	}
	return all
}

// help writes the help of a command.
func help(commands []*command, name string, w io.Writer) error {
	c := find(commands, name)
	if c == nil {
		return &config.Error{Message: fmt.Sprintf("there is no command %q", name), Hint: didYouMean(commands, name, "kolla-build help lists them")}
	}
	return cli.Help(w, c.Command, described(commands))
}

// didYouMean returns a hint with the command that is most like a word, else the
// other hint.
func didYouMean(commands []*command, word, other string) string {
	var names []string
	for _, c := range commands {
		if c.Name != "" && !c.Hidden {
			names = append(names, c.Name)
		}
	}
	if n := suggest.Nearest(word, names); n != "" {
		return fmt.Sprintf("did you mean kolla-build %s?", n)
	}
	return other
}

// oneArgument is the mistake of a command that takes one argument and was given
// another number of them; nil if it was given one.
func oneArgument(cfg *config.Config, what, hint string) error {
	if len(cfg.Args) == 1 {
		return nil
	}
	return &config.Error{Message: fmt.Sprintf("%s takes one %s, not %d", cfg.Command, what, len(cfg.Args)), Hint: hint}
}
