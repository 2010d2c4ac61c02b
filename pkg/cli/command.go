package cli

import (
	"slices"

	"github.com/spf13/pflag"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// Command describes a command. Its help, its completion and its part of the manual page
// are generated from this.
type Command struct {
	Name     string        // "" for the build itself
	Args     string        // the arguments after the options
	Words    []string      // the fixed words that its first argument can be
	Values   config.Values // kind of its arguments, for completion
	Summary  string        // one sentence
	About    string        // more help, "" for none
	Examples []Example
	// Options are the names of the options of the table that it reads, besides those
	// that every command has (see Everywhere). Any other option is an error. The build
	// itself reads all.
	Options []string
	// OptionHelp is the help of options that do less here than in a build, by their names.
	OptionHelp map[string]string
	// AnyOption accepts the options that the command does not read, with a warning: for
	// commands that users put before the command line of a build.
	AnyOption bool
	// Flags defines its own flags, nil for none. They take precedence over options
	// of the table with the same name.
	Flags func(*pflag.FlagSet)
	// NoFiles commands use no configuration: a mistake in a file or in the environment does
	// not stop them.
	NoFiles bool
	// Hidden commands are for programs: help and completion omit them.
	Hidden bool
	// Minor commands share lines of the short help.
	Minor bool
}

// Example is a command line that a user may type, and its effect.
type Example struct {
	Line   string
	Effect string
}

// Everywhere are the options that every command has, because reading the command
// line and the files depends on them.
var Everywhere = slices.Concat(fileOptions, []string{"help", "version"})

// fileOptions are those of Everywhere that decide how files are read.
var fileOptions = []string{"config-file", "config-dir", "strict"}

// Reads reports whether the command reads an option of the table.
func (c Command) Reads(o *config.Option) bool {
	if c.NoFiles && slices.Contains(fileOptions, o.Name) {
		return false
	}
	return c.Name == "" || slices.Contains(c.Options, o.Name) || slices.Contains(Everywhere, o.Name)
}

// options returns the options of the table that help and completion show, in the order
// of the table: those that the command reads, unless one of its own flags replaces
// them.
func (c Command) options() []*config.Option {
	ownFlags := c.ownFlags()
	ownFlags.SetNormalizeFunc(normalize)
	var shown []*config.Option
	for _, o := range config.Options() {
		if c.Reads(o) && ownFlags.Lookup(o.Name) == nil && (!o.Positional || c.Name == "") {
			if text := c.OptionHelp[o.Name]; text != "" {
				own := *o
				own.Help = text
				o = &own
			}
			shown = append(shown, o)
		}
	}
	return shown
}

// ownFlags returns the command's own flags in the order of their definition.
func (c Command) ownFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
	flags.SortFlags = false
	if c.Flags != nil {
		c.Flags(flags)
	}
	return flags
}

// title returns the command as it is typed.
func (c Command) title() string {
	if c.Name == "" {
		return "kolla-build"
	}
	return "kolla-build " + c.Name
}

// FirstWord returns the index and the name of the first argument that is neither an
// option nor an option's value and that lookup knows as a command; -1 and "" if there
// is none. Each candidate is tried with that command's own flags, because these may
// precede it, and with those of all commands: in "--output images save", images is a value.
func FirstWord(args []string, commands []Command, lookup func(name string) (Command, bool)) (int, string) {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		cmd, ok := lookup(arg)
		if !ok {
			continue
		}
		p := newParser(cmd)
		for _, other := range commands {
			p.addFlagsOf(other)
		}
		_ = p.walk(args[:i+1], func(string, string) error { return nil }) // mistakes are reported later
		if words := p.result.Positionals; len(words) == 1 && words[0] == arg {
			return i, arg
		}
	}
	return -1, ""
}
