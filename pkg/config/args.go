package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// given is one time that an option was given a value, anywhere.
type given struct {
	text    string // the value as written
	origin  Origin
	entry   *entry // OriginFile
	inverse bool   // --no<option>: the value is turned round
	order   int    // flags: the how manieth it was
}

// commandLine is what the arguments said.
type commandLine struct {
	flags       map[*Option][]given
	positionals []string
	warnings    []Warning
}

// tableFlag is the pflag value of an option of the table. It only records: what
// the text means is decided when all places have been read.
type tableFlag struct {
	option  *Option
	inverse bool
	parser  *argParser
}

func (f *tableFlag) String() string { return "" }
func (f *tableFlag) Type() string   { return f.option.Kind.String() }
func (f *tableFlag) Set(text string) error {
	cl := f.parser.result
	cl.flags[f.option] = append(cl.flags[f.option], given{
		text: text, inverse: f.inverse,
		origin: Origin{Kind: OriginFlag, Text: f.parser.typed}, order: f.parser.count,
	})
	f.parser.count++
	return nil
}

// argParser reads a command line in two steps. It first finds out what each
// argument is, with the habits of argparse and oslo.config that pflag has not:
// unambiguous abbreviations, --no<option>, underscores, one dash before a long
// name. What it hands to pflag is --name=value.
type argParser struct {
	flags  *pflag.FlagSet
	names  []string // long names in the order of registration
	result *commandLine
	count  int    // options seen
	typed  string // the arguments as typed that pflag is looking at
	// pending is the option whose value the end of the arguments cut off.
	pending *pflag.Flag
	// commands are all commands, for hints.
	commands []Command
}

// parseArgs reads the arguments. A request for help or the version comes before
// any mistake.
func parseArgs(in Input) (*commandLine, error) {
	p := newArgParser(in.Extra)
	p.commands = in.Commands
	var wanted error
	first := p.walk(in.Args, func(arg, typed string) error {
		p.typed = typed
		if err := p.flags.Parse([]string{arg}); err != nil {
			return &Error{Option: optionOf(arg), Message: typed + ": " + plainFlagError(err)}
		}
		switch {
		case wanted != nil:
		case len(p.result.flags[Lookup("help")]) > 0:
			wanted = ErrHelp
		case len(p.result.flags[Lookup("version")]) > 0:
			wanted = ErrVersion
		}
		return nil
	})
	if wanted != nil {
		return nil, wanted
	}
	return p.result, first
}

func newArgParser(extra func(*pflag.FlagSet)) *argParser {
	p := &argParser{
		flags:  pflag.NewFlagSet("kolla-build", pflag.ContinueOnError),
		result: &commandLine{flags: map[*Option][]given{}},
	}
	p.flags.Usage = func() {}
	p.flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(canonical(name))
	})
	if extra != nil {
		extra(p.flags)
		p.flags.VisitAll(func(f *pflag.Flag) { p.names = append(p.names, f.Name) })
	}
	for _, o := range table {
		if o.Positional {
			continue
		}
		p.add(o, o.Name, o.Short, false)
		for _, alias := range o.Aliases {
			p.add(o, alias, "", false)
		}
		if o.Kind == Bool && !o.CommandLineOnly {
			p.add(o, "no"+o.Name, "", true)
			p.add(o, "no-"+o.Name, "", true)
		}
	}
	return p
}

// add registers a name of an option, unless the subcommand has a flag of its own
// by that name.
func (p *argParser) add(o *Option, name, short string, inverse bool) {
	if p.flags.Lookup(name) != nil {
		return
	}
	if short != "" && p.flags.ShorthandLookup(short) != nil {
		short = ""
	}
	f := p.flags.VarPF(&tableFlag{option: o, inverse: inverse, parser: p}, name, short, o.Help)
	if o.Kind == Bool {
		f.NoOptDefVal = "true"
	}
	p.names = append(p.names, f.Name)
}

// walk classifies the arguments and calls set for each option with what pflag is
// to read and what the user typed. It goes on after a mistake, so that --help is
// found, and returns the first.
func (p *argParser) walk(args []string, set func(arg, typed string) error) error {
	var first error
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			p.result.positionals = append(p.result.positionals, args[i+1:]...)
			break
		}
		if !looksLikeOption(arg) {
			p.result.positionals = append(p.result.positionals, arg)
			continue
		}
		var next *string
		if i+1 < len(args) {
			next = &args[i+1]
		}
		var used bool
		var err error
		name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch {
		case strings.HasPrefix(arg, "--"):
			used, err = p.long(arg, name, value, hasValue, next, set)
		case len(name) > 1 && p.flags.Lookup(name) != nil:
			hint := "--" + canonical(name)
			if f, ok := p.flags.Lookup(name).Value.(*tableFlag); ok && !f.inverse {
				hint = "--" + f.option.Name
			}
			p.result.warnings = append(p.result.warnings, Warning{Option: optionOf("--" + name),
				Message: fmt.Sprintf("%s is read as %s", arg, hint),
				Hint:    "long options have two dashes"})
			used, err = p.long(arg, name, value, hasValue, next, set)
		default:
			used, err = p.short(arg, next, set)
		}
		if err != nil {
			note(err)
		}
		if used {
			i++
		}
	}
	return first
}

// long handles an option typed by its long name, with or without its value in the
// same argument. It reports whether the next argument was its value.
func (p *argParser) long(arg, name, value string, hasValue bool, next *string, set func(arg, typed string) error) (bool, error) {
	f := p.flags.Lookup(name)
	if f == nil {
		full, err := p.abbreviated(arg, name)
		if err != nil {
			return false, err
		}
		f = p.flags.Lookup(full)
	}
	switch {
	case hasValue:
		to := f.Name
		if t, ok := f.Value.(*tableFlag); ok && !t.inverse && t.option.meant != nil && t.option.meant(value) != "" {
			to = t.option.meant(value)
		}
		return false, set("--"+to+"="+value, arg)
	case f.NoOptDefVal != "":
		return false, set("--"+f.Name, arg)
	}
	return p.withNext(f, arg, next, set)
}

// withNext handles an option whose value is the next argument.
func (p *argParser) withNext(f *pflag.Flag, arg string, next *string, set func(arg, typed string) error) (bool, error) {
	switch {
	case next == nil:
		p.pending = f
		return false, p.missingValue(f, arg, "it is the last argument")
	case looksLikeOption(*next):
		return false, p.missingValue(f, arg, fmt.Sprintf("%s follows", *next))
	}
	return true, set("--"+f.Name+"="+*next, arg+" "+*next)
}

// short handles one dash and one or more letters: switches, of which the last may
// be an option that takes the rest, or the next argument, as its value.
func (p *argParser) short(arg string, next *string, set func(arg, typed string) error) (bool, error) {
	letters := arg[1:]
	for at := range len(letters) {
		letter, rest := letters[at], letters[at+1:]
		var f *pflag.Flag
		if letter < 0x80 {
			f = p.flags.ShorthandLookup(string(letter))
		}
		if f == nil {
			return false, p.unknown(arg, letters)
		}
		if f.NoOptDefVal != "" {
			if err := set("--"+f.Name, "-"+string(letter)); err != nil {
				return false, err
			}
			continue
		}
		if rest != "" {
			return false, set("--"+f.Name+"="+strings.TrimPrefix(rest, "="), arg)
		}
		return p.withNext(f, arg, next, set)
	}
	return false, nil
}

// abbreviated finds the one option whose name begins with what was typed. Kolla's
// options come first, so that ours make none of its abbreviations ambiguous.
func (p *argParser) abbreviated(arg, name string) (string, error) {
	type target struct {
		option  *Option
		inverse bool
		name    string // of a subcommand's flag
	}
	word := canonical(name)
	for _, kollas := range []bool{true, false} {
		var targets []target
		var names []string
		for _, n := range p.names {
			if len(word) < 2 || !strings.HasPrefix(n, word) {
				continue
			}
			f, ok := p.flags.Lookup(n).Value.(*tableFlag)
			t := target{name: n}
			if ok {
				t = target{option: f.option, inverse: f.inverse}
			}
			if (ok && f.option.From == Upstream) != kollas || slices.Contains(targets, t) {
				continue
			}
			targets = append(targets, t)
			names = append(names, n)
		}
		switch len(targets) {
		case 0:
		case 1:
			return names[0], nil
		default:
			if len(p.commandsWith(name)) > 0 {
				return "", p.unknown(arg, name)
			}
			return "", &Error{Message: fmt.Sprintf("%s could be --%s", arg, strings.Join(names, " or --"))}
		}
	}
	return "", p.unknown(arg, name)
}

// unknown is the error for an option that does not exist.
func (p *argParser) unknown(arg, name string) error {
	flag, _, _ := strings.Cut(arg, "=")
	hint := "kolla-build --help lists the options"
	name, _, _ = strings.Cut(name, "=")
	if len([]rune(name)) > 1 {
		if n := nearest(name, p.names); n != "" {
			if f, ok := p.flags.Lookup(n).Value.(*tableFlag); ok && !f.inverse && canonical(f.option.Name) == n {
				n = f.option.Name
			}
			hint = fmt.Sprintf("did you mean --%s?", n)
		}
	}
	if slices.Contains(Lookup("base").Choices, name) {
		hint = fmt.Sprintf("did you mean -b %s?", name)
	}
	if of := p.commandsWith(name); len(of) > 0 {
		hint = fmt.Sprintf("it is an option of %s", joinAnd(of))
	}
	if o := Lookup(name); o != nil && o.Positional {
		hint = "regular expressions are given without an option: kolla-build nova- keystone"
	}
	return &Error{SourceLine: arg, Message: "unknown option " + flag, Hint: hint}
}

// joinAnd writes a list as "a, b and c".
func joinAnd(items []string) string {
	if n := len(items) - 1; n > 0 {
		return strings.Join(items[:n], ", ") + " and " + items[n]
	}
	return strings.Join(items, "")
}

// commandsWith returns the commands that have a flag of their own by that name.
func (p *argParser) commandsWith(name string) []string {
	var of []string
	for _, c := range p.commands {
		if !c.Hidden && c.ownFlags().Lookup(name) != nil {
			of = append(of, "kolla-build "+c.Name)
		}
	}
	return of
}

func (p *argParser) missingValue(f *pflag.Flag, arg, why string) error {
	e := &Error{SourceLine: arg, Option: f.Name, Message: fmt.Sprintf("%s needs a value, but %s", arg, why)}
	if t, ok := f.Value.(*tableFlag); ok {
		e.Option = t.option.Name
		if t.option.Arg != "" {
			e.Hint = fmt.Sprintf("write --%s %s", t.option.Name, t.option.Arg)
		}
		if t.option.Choices != nil {
			e.Hint += ", one of " + strings.Join(t.option.Choices, ", ")
		}
	}
	return e
}

// looksLikeOption reports whether an argument is an option and not a value or a
// regular expression: it has a dash in front and, as for argparse, no space in it
// before an equals sign.
func looksLikeOption(arg string) bool {
	if len(arg) < 2 || arg[0] != '-' || isNegativeNumber(arg) {
		return false
	}
	name, _, _ := strings.Cut(arg, "=")
	return !strings.Contains(name, " ")
}

func isNegativeNumber(arg string) bool {
	return len(arg) > 1 && arg[0] == '-' && strings.Trim(arg[1:], "0123456789.") == ""
}

// optionOf returns the table's name of the option in --name=value, or that name.
func optionOf(arg string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if o := Lookup(name); o != nil {
		return o.Name
	}
	return name
}

// plainFlagError says what is wrong with a value of a subcommand's own flag,
// without pflag's repetition of the flag.
func plainFlagError(err error) string {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return invalid.Unwrap().Error()
	}
	return err.Error()
}
