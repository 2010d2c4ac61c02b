package cli

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/internal/textwrap"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/spf13/pflag"
)

// Lines of help have at most helpWidth characters. Explanations begin at a fixed column
// for each kind of entry.
const (
	helpWidth     = 80
	optionColumn  = 32
	commandColumn = 14
)

// manyOptions is the number of options above which help shows only the common ones.
const manyOptions = 12

// Help writes the help text of a command, which fits on one screen: the first sentence
// of each option's help and, if there are many options, only the common ones. That of
// the build itself, whose name is "", begins with a list of all commands.
func Help(w io.Writer, cmd Command, commands []Command) error {
	help := &helpWriter{}
	help.usage(cmd)
	help.paragraph(cmd.Summary)
	if cmd.Name == "" {
		help.commands(commands, false)
	} else {
		help.paragraph(cmd.About)
	}
	options := cmd.options()
	shown := options
	title := "Options"
	if len(options) > manyOptions {
		shown, title = nil, "Common options"
		for _, o := range options {
			if o.Common {
				shown = append(shown, o)
			}
		}
	}
	fmt.Fprintf(&help.b, "\n%s:\n", title)
	help.ownFlags(cmd)
	for _, o := range shown {
		if o.Common || !slices.Contains(Everywhere, o.Name) {
			help.option(o, false)
		}
	}
	if cmd.Name != "" {
		help.examples(cmd, 2)
	}
	help.paragraph(seeAlso(cmd, len(options)))
	_, err := w.Write(help.b.Bytes())
	return err
}

// seeAlso names the longer help.
func seeAlso(cmd Command, options int) string {
	switch {
	case cmd.Name == "":
		return fmt.Sprintf("\"kolla-build help COMMAND\" shows the help of a command, "+
			"\"kolla-build help --all\" all %d options.", options)
	case options > manyOptions:
		return fmt.Sprintf("\"kolla-build help --all %s\" shows all %d options.", cmd.Name, options)
	}
	return fmt.Sprintf("\"kolla-build help --all %s\" shows more about each option.", cmd.Name)
}

// HelpAll writes the complete help text of a command: all options that it reads, in
// groups.
func HelpAll(w io.Writer, cmd Command, commands []Command) error {
	help := &helpWriter{}
	help.usage(cmd)
	help.paragraph(cmd.Summary)
	help.paragraph(cmd.About)
	if cmd.Name == "" {
		help.commands(commands, true)
	}
	help.examples(cmd, len(cmd.Examples))
	if cmd.ownFlags().HasFlags() {
		fmt.Fprintf(&help.b, "\nOptions of %s:\n", cmd.title())
		help.ownFlags(cmd)
	}
	options := cmd.options()
	for _, group := range config.Groups() {
		titled := false
		for _, o := range options {
			if o.Group != group {
				continue
			}
			if !titled {
				fmt.Fprintf(&help.b, "\n%s:\n", group)
				titled = true
			}
			help.option(o, true)
		}
	}
	help.paragraph("Turn a switch off with --noNAME or --no-NAME. Options can also be set in a " +
		"configuration file, with underscores for dashes, and in the environment, as " +
		"KOLLA_BUILD_NAME. The command line takes precedence over the environment, and the " +
		"environment over the files.")
	_, err := w.Write(help.b.Bytes())
	return err
}

type helpWriter struct{ b bytes.Buffer }

func (h *helpWriter) usage(cmd Command) {
	fmt.Fprintf(&h.b, "Usage: %s\n", strings.TrimSpace(cmd.title()+" [OPTION…] "+cmd.Args))
	if cmd.Name == "" {
		h.b.WriteString("       kolla-build COMMAND [OPTION…] …\n")
	}
}

func (h *helpWriter) paragraph(text string) {
	if text != "" {
		h.b.WriteString("\n" + textwrap.Wrap(text, 0, helpWidth) + "\n")
	}
}

// commands lists the commands with their summaries, the minor ones with all or by name.
func (h *helpWriter) commands(commands []Command, all bool) {
	h.b.WriteString("\nCommands:\n")
	h.entry("  build", "Build images. This is the default: the word can be omitted.", commandColumn)
	var minor []string
	for _, c := range commands {
		switch {
		case c.Name == "" || c.Hidden:
		case c.Minor && !all:
			minor = append(minor, c.Name)
		default:
			h.entry("  "+c.Name, c.Summary, commandColumn)
		}
	}
	if len(minor) > 0 {
		text := "More, which \"kolla-build help --all\" describes: " + strings.Join(minor, ", ")
		h.b.WriteString("  " + textwrap.Wrap(text, 2, helpWidth) + "\n")
	}
}

func (h *helpWriter) examples(cmd Command, limit int) {
	if len(cmd.Examples) == 0 {
		return
	}
	h.b.WriteString("\nExamples:\n")
	for _, e := range cmd.Examples[:min(limit, len(cmd.Examples))] {
		fmt.Fprintf(&h.b, "  %s\n      %s\n", e.Line, textwrap.Wrap(e.Effect, 6, helpWidth))
	}
}

// option writes an entry for an option of the table, with its whole help or the first
// sentence only.
func (h *helpWriter) option(o *config.Option, long bool) {
	usage := "      --" + o.Name
	switch {
	case o.Positional:
		usage = "      " + o.Arg + "…"
	case o.Short != "":
		usage = "  -" + o.Short + ", --" + o.Name
	}
	if o.Arg != "" && !o.Positional {
		usage += " " + o.Arg
	}
	text := o.Help
	if !long {
		text, _, _ = strings.Cut(text, ". ")
		h.entry(usage, strings.TrimSuffix(text, ".")+".", optionColumn)
		return
	}
	for _, alias := range o.Aliases {
		text += fmt.Sprintf(" Also --%s.", alias)
	}
	for _, name := range o.Env {
		text += fmt.Sprintf(" Also %s in the environment.", name)
	}
	switch {
	case o.Kind == config.Bool && o.Default == "true":
		text += fmt.Sprintf(" On unless --no%s.", o.Name)
	case o.Kind != config.Bool && o.Choices != nil && !strings.Contains(o.Help, o.Choices[len(o.Choices)-1]):
		text += fmt.Sprintf(" One of %s.", strings.Join(o.Choices, ", "))
	}
	if d := o.DefaultDescription(); d != "" && o.Kind != config.Bool {
		text += fmt.Sprintf(" [%s]", d)
	}
	h.entry(usage, text, optionColumn)
}

func (h *helpWriter) ownFlags(cmd Command) {
	cmd.ownFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		arg, text := pflag.UnquoteUsage(f)
		usage := "      --" + f.Name
		if f.Shorthand != "" {
			usage = "  -" + f.Shorthand + ", --" + f.Name
		}
		if arg != "" {
			usage += " " + arg
		}
		if d := defaultOf(f); d != "" {
			text += fmt.Sprintf(" [%s]", d)
		}
		h.entry(usage, text, optionColumn)
	})
}

// defaultOf returns the default of a flag, as a user writes it, "" if it means "not set".
func defaultOf(f *pflag.Flag) string {
	switch f.DefValue {
	case "false", "[]", "0", "0s":
		return ""
	}
	if f.Value.Type() != "duration" {
		return f.DefValue
	}
	text := f.DefValue // of time.Duration, such as 24h0m0s or 10m0s
	if minutes, ok := strings.CutSuffix(text, "m0s"); ok {
		text = minutes + "m"
	}
	if hours, ok := strings.CutSuffix(text, "h0m"); ok {
		text = hours + "h"
	}
	return text
}

// entry writes a term and, from the column on, its explanation.
func (h *helpWriter) entry(term, text string, column int) {
	h.b.WriteString(term)
	at := utf8.RuneCountInString(term)
	if at+2 > column {
		h.b.WriteByte('\n')
		at = 0
	}
	h.b.WriteString(strings.Repeat(" ", column-at) + textwrap.Wrap(text, column, helpWidth) + "\n")
}
