package config

import "github.com/spf13/pflag"

// Command describes a command: its help, its completion and its part of the man
// page are made from this. What it does is the caller's.
type Command struct {
	Name     string   // "" for the build itself
	Args     string   // what follows the options
	Words    []string // the words that can stand as its first argument, if they are fixed
	Values   Values   // what its arguments name, for completion
	Summary  string   // one sentence
	About    string   // what else help says of it, "" for nothing
	Examples []Example
	// Groups are the options that matter to it; nil for all of them. It
	// understands the others, too.
	Groups []Group
	// Flags defines its own flags, nil if it has none. An option of the table
	// with the same name gives way to it.
	Flags func(*pflag.FlagSet)
	// Hidden commands are for programs: help and completion leave them out.
	Hidden bool
}

// groups returns the groups of options that the command's help shows.
func (c Command) groups() []Group {
	if c.Groups == nil {
		return Groups()
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

// Example is a command line that a user may type, and what it does.
type Example struct {
	Line string
	Does string
}

// FirstWord finds the first argument that is neither an option nor an option's
// value, and that lookup knows as a command: its index and its name. Each
// candidate is tried with that command's own flags, for what stands before it
// may be one of them. Without any, the index is -1 and the name "".
func FirstWord(args []string, lookup func(name string) (Command, bool)) (int, string) {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		cmd, ok := lookup(arg)
		if !ok {
			continue
		}
		p := newArgParser(cmd.Flags)
		_ = p.walk(args[:i+1], func(string, string) error { return nil })
		if words := p.result.positionals; len(words) == 1 && words[0] == arg {
			return i, arg
		}
	}
	return -1, ""
}
