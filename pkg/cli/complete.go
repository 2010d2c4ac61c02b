package cli

import (
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/spf13/pflag"
)

// Candidate is a word that the shell can insert.
type Candidate struct {
	Word string
	Help string // its meaning in one sentence, or ""
}

// Completion is what the shell can insert at the cursor.
type Completion struct {
	Candidates []Candidate
	Files      config.Values // ValuesFiles or ValuesDirs if the shell completes file names as well
}

// CompleteInput is the command line up to the cursor.
type CompleteInput struct {
	// Words are the words after the program's name. The cursor is in the last one,
	// which can be empty.
	Words    []string
	Commands []Command // the build itself included
	// LookUp returns candidates of a kind that only the caller knows, such as images
	// and profiles. before are the words before the cursor without the command's name.
	// It can be nil.
	LookUp func(cmd Command, before []string, kind config.Values) []Candidate
}

// Complete returns what the shell can insert at the cursor. Mistakes in the words before
// it are ignored.
func Complete(in CompleteInput) Completion {
	if len(in.Words) == 0 {
		in.Words = []string{""}
	}
	c := &completer{in: in, word: in.Words[len(in.Words)-1]}
	before := in.Words[:len(in.Words)-1]
	at, name := FirstWord(before, in.Commands, func(name string) (Command, bool) { return c.command(name) })
	c.cmd, _ = c.command("")
	if name != "" {
		c.cmd, _ = c.command(name)
		before = slices.Concat(before[:at], before[at+1:])
	}
	c.before = before
	c.parser = newParser(c.cmd)
	_ = c.parser.walk(before, func(arg, _ string) error {
		c.optionsBefore = append(c.optionsBefore, optionName(arg))
		return nil
	})
	if c.parser.pending != nil {
		c.before = before[:len(before)-1] // an option without its value is incomplete
	}
	c.complete(name != "", slices.Contains(before, "--"))
	slices.SortStableFunc(c.out.Candidates, func(a, b Candidate) int { return strings.Compare(a.Word, b.Word) })
	c.out.Candidates = slices.CompactFunc(c.out.Candidates, func(a, b Candidate) bool { return a.Word == b.Word })
	return c.out
}

type completer struct {
	in            CompleteInput
	word          string // the word with the cursor
	before        []string
	cmd           Command
	parser        *parser
	optionsBefore []string // the options before the cursor
	out           Completion
}

func (c *completer) command(name string) (Command, bool) {
	i := slices.IndexFunc(c.in.Commands, func(k Command) bool { return k.Name == name })
	if i < 0 {
		return Command{}, false
	}
	return c.in.Commands[i], true
}

// complete selects candidates according to the words before the cursor.
func (c *completer) complete(hasCommand, optionsEnded bool) {
	if f := c.parser.pending; f != nil && !optionsEnded {
		c.value(f, "", c.word)
		return
	}
	if optionsEnded || !strings.HasPrefix(c.word, "-") {
		if !hasCommand && !optionsEnded && len(c.parser.result.Positionals) == 0 {
			c.commands()
		}
		c.argument()
		return
	}
	name, value, hasValue := strings.Cut(strings.TrimLeft(c.word, "-"), "=")
	switch f := c.parser.flags.Lookup(name); {
	case hasValue:
		if f != nil {
			c.value(f, c.word[:len(c.word)-len(value)], value)
		}
		return
	case len(c.word) > 2 && c.word[1] != '-':
		// A short option with its value in the same word. One dash before a long
		// option is accepted but not offered.
		if f := c.parser.flags.ShorthandLookup(c.word[1:2]); f != nil && f.NoOptDefVal == "" {
			c.value(f, c.word[:2], c.word[2:])
		}
		return
	}
	c.options()
}

func (c *completer) add(word, help string) {
	if strings.HasPrefix(word, c.word) {
		help, _, _ = strings.Cut(help, ". ")
		c.out.Candidates = append(c.out.Candidates, Candidate{word, strings.TrimSuffix(help, ".")})
	}
}

func (c *completer) commands() {
	c.add("build", "Build images")
	for _, k := range c.in.Commands {
		if k.Name != "" && !k.Hidden {
			c.add(k.Name, k.Summary)
		}
	}
}

// argument completes an argument of a command.
func (c *completer) argument() {
	for _, w := range c.cmd.Words {
		if len(c.parser.result.Positionals) == 0 {
			c.add(w, "")
		}
	}
	if c.cmd.Values == config.ValuesCommands {
		c.commands()
		return
	}
	c.addValues(c.cmd.Values, "")
}

// options completes the name of an option that the command reads.
func (c *completer) options() {
	c.cmd.ownFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			_, usage := pflag.UnquoteUsage(f)
			c.add("--"+f.Name, usage)
			if f.Shorthand != "" {
				c.add("-"+f.Shorthand, usage)
			}
		}
	})
	for _, o := range c.cmd.options() {
		if used := slices.Contains(c.optionsBefore, o.Name) && o.Kind != config.Multi; !used && !o.Positional {
			c.option(o)
		}
	}
}

// option adds the names of an option. For a switch that is on by default, only the
// negated name is offered until the user begins to type the other one.
func (c *completer) option(o *config.Option) {
	defaultsToTrue := o.Kind == config.Bool && o.Default == "true"
	if !defaultsToTrue || len(c.word) > len("--") {
		c.add("--"+o.Name, o.Help)
	}
	if o.Kind == config.Bool && !o.CommandLineOnly && (defaultsToTrue || strings.HasPrefix(c.word, "--no")) {
		c.add("--no"+o.Name, "Turn off: "+o.Help)
	}
	if o.Short != "" {
		c.add("-"+o.Short, o.Help)
	}
}

// value completes the value of an option. prefix precedes it in the same word.
func (c *completer) value(f *pflag.Flag, prefix, value string) {
	t, ok := f.Value.(*tableFlag)
	if !ok {
		name, _ := pflag.UnquoteUsage(f)
		c.addValues(valuesOf(name), prefix)
		return
	}
	o := t.option
	if o.Kind == config.List {
		// The cursor is in the last item of the list.
		if i := strings.LastIndexByte(value, ','); i >= 0 {
			prefix += value[:i+1]
		}
	}
	choices := o.Choices
	if o.Kind == config.Bool {
		choices = []string{"true", "false"}
	}
	offered := choices
	if o.Suggestions != nil {
		offered = slices.Concat(choices, o.Suggestions())
	}
	for _, choice := range offered {
		c.add(prefix+choice, "")
	}
	kind := o.Values
	if kind == config.ValuesAny && choices == nil {
		kind = valuesOf(o.Arg)
	}
	c.addValues(kind, prefix)
}

// valuesOf returns the kind of values for a placeholder in help.
func valuesOf(placeholder string) config.Values {
	switch strings.TrimSuffix(placeholder, ",…") {
	case "FILE":
		return config.ValuesFiles
	case "DIR":
		return config.ValuesDirs
	case "IMAGE":
		return config.ValuesImages
	}
	return config.ValuesAny
}

// addValues adds the values of a kind as candidates.
func (c *completer) addValues(kind config.Values, prefix string) {
	switch kind {
	case config.ValuesAny:
	case config.ValuesFiles, config.ValuesDirs:
		c.out.Files = kind
	case config.ValuesDistros:
		for _, d := range facts.Distros() {
			c.add(prefix+d.Name, "")
		}
	default:
		if c.in.LookUp == nil {
			return
		}
		for _, found := range c.in.LookUp(c.cmd, c.before, kind) {
			c.add(prefix+found.Word, found.Help)
		}
	}
}
