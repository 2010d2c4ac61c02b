package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageset"
)

// command is a command: its description, which help, completion and the manual page
// are made from, and what it does.
type command struct {
	cli.Command
	run func(context.Context, *config.Config, *console.Console) error
	// first marks a command whose name is part of an image's name (man: manila). The
	// word names the command only if it is the first one of the command line, or if its
	// arguments cannot be regular expressions, such as those with a slash.
	first bool
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

// find returns the command of that name, nil if there is none.
func find(commands []*command, name string) *command {
	i := slices.IndexFunc(commands, func(c *command) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return commands[i]
}

// pick returns the command that a command line names, and the arguments without its
// name. A command is the first word that is neither an option nor the value of one;
// what follows "--" is a regular expression. The word build names the build itself.
func pick(commands []*command, args []string) (*command, []string) {
	if len(args) > 0 && args[0] == "build" {
		return find(commands, ""), args[1:]
	}
	at, name := cli.FirstWord(args, func(name string) (cli.Command, bool) {
		c := find(commands, name)
		if c == nil || name == "" {
			return cli.Command{}, false
		}
		return c.Command, true
	})
	c := find(commands, name)
	if name == "" {
		return find(commands, ""), args
	}
	rest := slices.Concat(args[:at], args[at+1:])
	if at > 0 && c.first && !slices.ContainsFunc(cli.Words(c.Command, rest), func(w string) bool { return strings.Contains(w, "/") }) {
		return find(commands, ""), args
	}
	return c, rest
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
		hint := cmp.Or(verbs[name], ambiguousVerbs[name], didYouMean(commands, name, "kolla-build help lists them"))
		return &config.Error{Message: fmt.Sprintf("unknown command %q", name), Hint: hint}
	}
	if full {
		return cli.HelpAll(w, c.Command, described(commands))
	}
	return cli.Help(w, c.Command, described(commands))
}

// didYouMean returns a hint with the command most similar to a word, else the other
// hint.
func didYouMean(commands []*command, word, other string) string {
	if n := suggest.Nearest(word, commandNames(commands)); n != "" {
		return fmt.Sprintf("did you mean kolla-build %s?", n)
	}
	return other
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

// plainWord matches words that may be meant as commands.
var plainWord = regexp.MustCompile(`^[A-Za-z]+(-[A-Za-z]+)*$`)

// unknownCommand returns the error for a build whose first regular expression is a word that
// matches no image and is rather a command: "buid keystone" must not build keystone, and
// "launch" is not an image. What follows "--" is a regular expression.
func unknownCommand(commands []*command, cfg *config.Config, args []string) error {
	if cfg.Command != "" || len(cfg.Args) == 0 || slices.Contains(args, "--") || !plainWord.MatchString(cfg.Args[0]) {
		return nil
	}
	word, names, images := cfg.Args[0], commandNames(commands), imageset.Names(cfg)
	if len(images) == 0 || matchesAny(word, images) {
		return nil
	}
	near, hint := suggest.Nearest(word, names), ""
	option := config.Lookup(word)
	switch {
	case find(commands, word) != nil || word == "build":
		return &config.Error{Message: fmt.Sprintf("%q matches none of the %d images", word, len(images)),
			Hint: fmt.Sprintf("a command comes first: kolla-build %s …", word)}
	case option != nil && !option.Positional:
		hint = fmt.Sprintf("did you mean --%s?", option.Name)
	case near != "" && suggest.Nearest(word, slices.Concat(names, images)) == near:
		hint = fmt.Sprintf("did you mean kolla-build %s?", near)
	case near == "" && len(suggest.Near(word, images, 1)) == 0 && !slices.ContainsFunc(cfg.Args[1:], func(a string) bool { return matchesAny(a, images) }):
		hint = "kolla-build help lists the commands, kolla-build --list-images the images"
	default:
		return nil // the build suggests images, and warns if only some words match none
	}
	return &config.Error{Message: fmt.Sprintf("%q is not a command and matches none of the %d images", word, len(images)), Hint: hint}
}

// matchesAny reports whether a regular expression matches one of the names. It is true for
// one that is invalid, which the build reports.
func matchesAny(expression string, names []string) bool {
	patterns, err := imageset.CompilePatterns([]string{expression})
	if err != nil {
		return true
	}
	return slices.ContainsFunc(names, func(name string) bool {
		ok, err := patterns.Match(name)
		return ok || err != nil
	})
}

// misplaced returns the first regular expression of a build if it is the name of a command,
// such as list, that is recognized only before all options; otherwise "".
func misplaced(commands []*command, cfg *config.Config, args []string) string {
	if cfg.Command != "" || len(cfg.Args) == 0 || slices.Contains(args, "--") {
		return ""
	}
	if c := find(commands, cfg.Args[0]); c == nil || !c.first {
		return ""
	}
	return cfg.Args[0]
}

// noArguments returns a usage error if the command line has arguments.
func noArguments(cfg *config.Config, hint string) error {
	if len(cfg.Args) == 0 {
		return nil
	}
	return &config.Error{Message: fmt.Sprintf("%s takes no arguments, and %q is one", cfg.Command, cfg.Args[0]), Hint: hint}
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
