package config

import (
	"bytes"
	"fmt"
	"strings"
)

// Reference returns the option reference as Markdown.
func Reference() string {
	var b bytes.Buffer
	b.WriteString("# Options\n\n" +
		"This page is made from the option table in `pkg/config`; a test compares them.\n\n" +
		"A value is taken from the first of these that has one: the command line; the environment; " +
		"the configuration files, of which the last one read counts most " +
		"(`/etc/kolla/kolla-build.conf`, `./kolla-build.conf`, then `--config-file` and `--config-dir` in their order); " +
		"the default. Repeatable options collect what the files and the command line give.\n\n" +
		"- Dashes and underscores in names are alike. In a file, an option is a key of `[DEFAULT]`.\n" +
		"- In the environment, an option is `KOLLA_BUILD_NAME` or, as for oslo.config, `OS_DEFAULT__NAME`.\n" +
		"- A switch is turned off by `--noNAME`, `--no-NAME` or `--NAME=false`.\n" +
		"- Lists are written `a,b`, dictionaries `key:value,key:value`.\n" +
		"- In values, `$name` and `${name}` stand for another option's value, `${section.key}` for a section's, `$$` for a dollar sign.\n" +
		"- Long options can be shortened as long as they stay unambiguous.\n")
	for _, group := range Groups() {
		fmt.Fprintf(&b, "\n## %s\n", group)
		for _, o := range table {
			if o.Group == group {
				referenceOption(&b, o)
			}
		}
	}
	return b.String()
}

func referenceOption(b *bytes.Buffer, o *Option) {
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
	if o.Kind == Int {
		row("At least", fmt.Sprint(o.Min))
	}
	row("One of", code(o.Choices...))
	switch {
	case o.DefaultText != "":
		row("Default", o.DefaultText)
	case o.Default != "":
		row("Default", code(o.Default))
	}
	var aliases []string
	for _, a := range o.Aliases {
		aliases = append(aliases, "--"+a)
	}
	row("Also", code(aliases...))
	if o.CommandLineOnly {
		row("Where", "on the command line only")
	} else {
		row("In files", code(o.Key()))
		row("In the environment", code(o.EnvNames()...))
	}
	switch o.From {
	case UpstreamFile:
		row("Kolla", "in files only, here on the command line as well")
	case UpstreamOlder:
		row("Kolla", "in earlier releases")
	case Ours:
		row("Kolla", "does not have it")
	}
	row("Note", o.Note)
}

func code(words ...string) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, "`"+w+"`")
	}
	return strings.Join(quoted, ", ")
}
