package cli

import (
	"fmt"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// Reference returns the option reference as Markdown.
func Reference(commands []Command) string {
	var b strings.Builder
	b.WriteString("# Options\n\n" +
		"This page is generated from the option table in `pkg/config` and from the commands; a test compares them.\n\n" +
		"The value of an option is taken from the first of these that has one: the command line; the environment; the " +
		"configuration files, of which the last one read takes precedence (see below); the default. Repeatable options " +
		"collect the values of files and command line.\n\n" +
		"- Default files: the first `kolla-build.conf` found in `~/.kolla`, `~`, `/etc/kolla` and `/etc`, then " +
		"`./kolla-build.conf`, then the `*.conf` files of the first `kolla-build.conf.d` in those directories. " +
		"`--config-file` replaces the two files, `--config-dir` the directory.\n" +
		"- Dashes and underscores in names are equal. In a file, an option is a key of `[DEFAULT]`.\n" +
		"- In the environment, an option is `KOLLA_BUILD_NAME` or, as for oslo.config, `OS_DEFAULT__NAME`.\n" +
		"- Turn a switch off with `--noNAME`, `--no-NAME` or `--NAME=false`.\n" +
		"- Lists are written `a,b`, dictionaries `key:value,key:value`.\n" +
		"- In values, `$name` and `${name}` are replaced by another option's value, `${section.key}` by a section's; `$$` " +
		"is a dollar sign.\n" +
		"- Long options can be abbreviated as long as they are unambiguous.\n" +
		"- A command accepts the options that it reads. Files and the environment apply to all commands.\n" +
		"- The exit status is 0 for success, 2 if the command line is wrong, and 1 for failures. A command line is wrong " +
		"if it can never work (an unknown option, an impossible value, a regular expression that matches nothing), or if " +
		"an option names a file or directory that cannot be used. Everything else is a failure, including mistakes in " +
		"files and arguments that name a missing file. After a signal, the exit status is 128 plus its number (130 for " +
		"SIGINT, 143 for SIGTERM). diff and contract exit with 1 for a difference or a failed check, and with 2 if they " +
		"cannot compare. nightly exits with 75 if another nightly run is in progress.\n")
	for _, group := range config.Groups() {
		fmt.Fprintf(&b, "\n## %s\n", group)
		for _, o := range config.Options() {
			if o.Group == group {
				referenceOption(&b, o, commands)
			}
		}
	}
	return b.String()
}

func referenceOption(b *strings.Builder, o *config.Option, commands []Command) {
	title := "--" + o.Name
	if o.Positional {
		title = o.Arg
	} else if o.Short != "" {
		title = "-" + o.Short + ", " + title
	}
	fmt.Fprintf(b, "\n### `%s`\n\n%s\n\n", title, o.Help)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "- %s: %s\n", name, value)
		}
	}
	row("Type", o.Kind.String())
	if o.Kind == config.Int {
		row("Minimum", fmt.Sprint(o.Min))
	}
	row("One of", inCode(o.Choices...))
	switch {
	case o.DefaultText != "":
		row("Default", o.DefaultText)
	case o.Default != "":
		row("Default", inCode(o.Default))
	}
	var aliases []string
	for _, a := range o.Aliases {
		aliases = append(aliases, "--"+a)
	}
	row("Also", inCode(aliases...))
	row("Commands", inCode(commandsReading(o, commands)...))
	if o.CommandLineOnly {
		row("Where", "on the command line only")
	} else {
		row("In files", inCode(o.Key()))
		row("In the environment", inCode(o.EnvNames()...))
	}
	switch o.From {
	case config.UpstreamFile:
		row("Kolla", "in files only, here on the command line as well")
	case config.UpstreamOlder:
		row("Kolla", "in earlier releases")
	case config.Ours:
		row("Kolla", "does not have it")
	}
	row("Note", o.Note)
}

// commandsReading returns the commands that read an option, nil if all do.
func commandsReading(o *config.Option, commands []Command) []string {
	var names []string
	everyCommand := true
	for _, c := range commands {
		switch {
		case c.Hidden:
		case !c.Reads(o):
			everyCommand = false
		case c.Name == "":
			names = append(names, "build")
		default:
			names = append(names, c.Name)
		}
	}
	if everyCommand {
		return nil
	}
	return names
}

func inCode(words ...string) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, "`"+w+"`")
	}
	return strings.Join(quoted, ", ")
}
