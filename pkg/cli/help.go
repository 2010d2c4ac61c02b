package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/internal/textwrap"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/spf13/pflag"
)

// Lines of help are at most this many characters long, and explanations start at
// this column.
const (
	helpWidth  = 80
	helpColumn = 32
)

// Help writes the help text of a command. That of the build itself, whose name is
// "", ends with a list of all commands.
func Help(w io.Writer, cmd Command, all []Command) error {
	var b bytes.Buffer
	prefix := strings.TrimSpace("kolla-build " + cmd.Name)
	fmt.Fprintf(&b, "Usage: %s\n", strings.TrimSpace(prefix+" [OPTION…] "+cmd.Args))
	if cmd.Name == "" {
		b.WriteString("       kolla-build COMMAND [OPTION…] …\n")
	}
	if cmd.Summary != "" {
		b.WriteByte('\n')
		wrap(&b, cmd.Summary, 0)
	}
	if cmd.About != "" {
		b.WriteString("\n")
		wrap(&b, cmd.About, 0)
	}
	if len(cmd.Examples) > 0 {
		b.WriteString("\nExamples:\n")
		for _, e := range cmd.Examples {
			fmt.Fprintf(&b, "  %s\n", e.Line)
			b.WriteString("      ")
			wrap(&b, e.Effect, 6)
		}
	}
	taken := map[string]bool{}
	if flags := cmd.ownFlags(); flags.HasFlags() {
		fmt.Fprintf(&b, "\nOptions of %s:\n", prefix)
		flags.VisitAll(func(f *pflag.Flag) {
			taken[config.CanonicalName(f.Name)] = true
			if !f.Hidden {
				helpFlag(&b, f)
			}
		})
	}
	for _, group := range cmd.groups() {
		var chapter bytes.Buffer
		for _, o := range config.Options() {
			if o.Group == group && !taken[config.CanonicalName(o.Name)] && (!o.Positional || cmd.Name == "") {
				helpOption(&chapter, o)
			}
		}
		if chapter.Len() > 0 {
			fmt.Fprintf(&b, "\n%s:\n", group)
			b.Write(chapter.Bytes())
		}
	}
	if cmd.Name == "" {
		b.WriteString("\nCommands:\n")
		for _, c := range all {
			if c.Name != "" && !c.Hidden {
				helpEntry(&b, "  "+c.Name, c.Summary)
			}
		}
		b.WriteString("\n")
		wrap(&b, "kolla-build help COMMAND shows the help of a command.", 0)
	}
	b.WriteString("\n")
	wrap(&b, "A switch is turned off by --noNAME or --no-NAME. Options can stand in a "+
		"configuration file as well, with underscores for dashes, and in the environment, "+
		"as KOLLA_BUILD_NAME. The command line counts more than the environment, and the "+
		"environment more than the files.", 0)
	_, err := w.Write(b.Bytes())
	return err
}

func helpOption(b *bytes.Buffer, o *config.Option) {
	var left string
	switch {
	case o.Positional:
		left = "      " + o.Arg + "…"
	case o.Short != "":
		left = "  -" + o.Short + ", --" + o.Name
	default:
		left = "      --" + o.Name
	}
	if o.Arg != "" && !o.Positional {
		left += " " + o.Arg
	}
	text := o.Help
	for _, alias := range o.Aliases {
		text += fmt.Sprintf(" Also --%s.", alias)
	}
	for _, name := range o.Env {
		text += fmt.Sprintf(" Also %s in the environment.", name)
	}
	switch {
	case o.Kind == config.Bool && o.Default == "true":
		text += fmt.Sprintf(" On unless --no%s.", o.Name)
	case o.Kind == config.Bool:
	case o.Choices != nil && o.Name != "bootstrap" && o.Name != "progress" && o.Name != "format":
		text += fmt.Sprintf(" One of %s.", strings.Join(o.Choices, ", "))
	}
	if d := o.DefaultDescription(); d != "" && o.Kind != config.Bool {
		text += fmt.Sprintf(" [%s]", d)
	}
	helpEntry(b, left, text)
}

func helpFlag(b *bytes.Buffer, f *pflag.Flag) {
	arg, text := pflag.UnquoteUsage(f)
	left := "      --" + f.Name
	if f.Shorthand != "" {
		left = "  -" + f.Shorthand + ", --" + f.Name
	}
	if arg != "" {
		left += " " + arg
	}
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" {
		text += fmt.Sprintf(" [%s]", f.DefValue)
	}
	helpEntry(b, left, text)
}

func helpEntry(b *bytes.Buffer, left, text string) {
	b.WriteString(left)
	if n := utf8.RuneCountInString(left); n+2 <= helpColumn {
		b.WriteString(strings.Repeat(" ", helpColumn-n))
		wrap(b, text, helpColumn)
		return
	}
	b.WriteByte('\n')
	b.WriteString(strings.Repeat(" ", helpColumn))
	wrap(b, text, helpColumn)
}

// wrap writes a text as lines, the first of which continues the current one. indent is
// what the current line has already and the others are indented by.
func wrap(b *bytes.Buffer, text string, indent int) {
	b.WriteString(textwrap.Wrap(text, indent, helpWidth) + "\n")
}
