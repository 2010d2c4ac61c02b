package cli

import (
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/spf13/pflag"
)

// Command describes a command. Its help, its completion and its part of the manual
// page are made from this.
type Command struct {
	Name     string        // "" for the build itself
	Args     string        // what follows the options
	Words    []string      // the fixed words that its first argument can be
	Values   config.Values // what its arguments name, for completion
	Summary  string        // one sentence
	About    string        // more help, "" for none
	Examples []Example
	// Groups are the groups of options that it reads, nil for all.
	Groups []config.Group
	// Flags defines its own flags, nil for none. They take precedence over options
	// of the table with the same name.
	Flags func(*pflag.FlagSet)
	// Hidden commands are for programs: help and completion omit them.
	Hidden bool
}

// Example is a command line that a user may type, and its effect.
type Example struct {
	Line   string
	Effect string
}

// groups returns the groups of options that the command's help shows.
func (c Command) groups() []config.Group {
	if c.Groups == nil {
		return config.Groups()
	}
	return c.Groups
}

// ownFlags returns the command's own flags in the order of their definition.
func (c Command) ownFlags() *pflag.FlagSet {
	own := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
	own.SortFlags = false
	if c.Flags != nil {
		c.Flags(own)
	}
	return own
}

// FirstWord returns the index and the name of the first argument that is neither an
// option nor an option's value and that lookup knows as a command; -1 and "" if there
// is none. Each candidate is tried with that command's own flags, because these may
// precede it.
func FirstWord(args []string, lookup func(name string) (Command, bool)) (int, string) {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		cmd, ok := lookup(arg)
		if !ok {
			continue
		}
		p := newParser(cmd)
		_ = p.walk(args[:i+1], func(string, string) error { return nil }) // mistakes are reported later
		if words := p.result.Positionals; len(words) == 1 && words[0] == arg {
			return i, arg
		}
	}
	return -1, ""
}
