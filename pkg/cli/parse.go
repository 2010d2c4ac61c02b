package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/spf13/pflag"
)

// tableFlag is the pflag value of an option of the table. It only records the text,
// which is parsed when all sources of values have been read.
type tableFlag struct {
	option  *config.Option
	negated bool
	parser  *parser
}

func (f *tableFlag) String() string { return "" }
func (f *tableFlag) Type() string   { return f.option.Kind.String() }
func (f *tableFlag) Set(text string) error {
	f.parser.result.Options = append(f.parser.result.Options,
		config.Setting{Option: f.option, Text: text, Negated: f.negated, Typed: f.parser.typed, Early: f.parser.early})
	return nil
}

// parser reads a command line in two steps. It first classifies each argument, with
// features of argparse and oslo.config that pflag lacks: unambiguous abbreviations,
// --noNAME, underscores, and one dash before a long name. It then passes --name=value
// to pflag.
type parser struct {
	flags  *pflag.FlagSet
	names  []string // long names in the order of registration
	result *config.Arguments
	typed  string // the arguments that pflag is reading, as typed
	early  bool   // they precede the command's name
	before int    // number of arguments that precede it
	// pending is the option whose value is missing at the end of the arguments.
	pending  *pflag.Flag
	cmd      Command
	commands []Command
	// others are the names of other commands' own flags, while the command is unknown.
	others []string
}

// parse reads the arguments of a command. A request for help or the version takes
// precedence over any mistake.
func parse(in Input) (*config.Arguments, error) {
	p := newParser(in.Command)
	p.commands, p.before = in.Commands, in.Before
	var request error
	err := p.walk(in.Args, func(arg, typed string) error {
		p.typed = typed
		if err := p.flags.Parse([]string{arg}); err != nil {
			return &config.Error{Option: optionName(arg), Message: typed + ": " + flagError(err)}
		}
		if request == nil && len(p.result.Options) > 0 {
			switch p.result.Options[len(p.result.Options)-1].Option.Name {
			case "help":
				request = ErrHelp
			case "version":
				request = ErrVersion
			}
		}
		return nil
	})
	if request != nil {
		return nil, request
	}
	if err != nil {
		return nil, err
	}
	return p.result, p.check()
}

// normalize replaces underscores in names of flags by dashes.
func normalize(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(config.CanonicalName(name))
}

func newParser(cmd Command) *parser {
	p := &parser{
		cmd:    cmd,
		flags:  pflag.NewFlagSet("kolla-build", pflag.ContinueOnError),
		result: &config.Arguments{},
	}
	p.flags.Usage = func() {}
	p.flags.SetNormalizeFunc(normalize)
	if cmd.Flags != nil {
		cmd.Flags(p.flags)
		p.flags.VisitAll(func(f *pflag.Flag) { p.names = append(p.names, f.Name) })
	}
	for _, o := range config.Options() {
		if o.Positional {
			continue
		}
		p.add(o, o.Name, o.Short, false)
		for _, alias := range o.Aliases {
			p.add(o, alias, "", false)
		}
		if o.Kind == config.Bool && !o.CommandLineOnly {
			p.add(o, "no"+o.Name, "", true)
			p.add(o, "no-"+o.Name, "", true)
		}
	}
	return p
}

// add registers a name of an option, unless the command has its own flag with
// that name.
func (p *parser) add(o *config.Option, name, short string, negated bool) {
	if p.flags.Lookup(name) != nil {
		return
	}
	if short != "" && p.flags.ShorthandLookup(short) != nil {
		short = ""
	}
	f := p.flags.VarPF(&tableFlag{option: o, negated: negated, parser: p}, name, short, o.Help)
	if o.Kind == config.Bool {
		f.NoOptDefVal = "true"
	}
	p.names = append(p.names, f.Name)
}

// addFlagsOf registers another command's own flags, unless there is an option with that
// name. Abbreviations of other options take precedence over theirs.
func (p *parser) addFlagsOf(cmd Command) {
	cmd.ownFlags().VisitAll(func(f *pflag.Flag) {
		if p.flags.Lookup(f.Name) != nil {
			return
		}
		p.others = append(p.others, f.Name)
		if f.Shorthand != "" && p.flags.ShorthandLookup(f.Shorthand) != nil {
			f.Shorthand = ""
		}
		p.flags.AddFlag(f)
	})
}

// tableOption returns the option of the table that a flag sets, nil for a command's
// own flag and for the negated form of a switch.
func tableOption(f *pflag.Flag) *config.Option {
	if t, ok := f.Value.(*tableFlag); ok && !t.negated {
		return t.option
	}
	return nil
}

// walk classifies the arguments and calls set for each option with the text for pflag
// and the text that the user typed. It continues after a mistake, so that --help is
// found, and returns the first mistake.
func (p *parser) walk(args []string, set func(arg, typed string) error) error {
	var first error
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			p.result.Positionals = append(p.result.Positionals, args[i+1:]...)
			break
		}
		if !looksLikeOption(arg) {
			p.result.Positionals = append(p.result.Positionals, arg)
			continue
		}
		p.early = i < p.before
		var next *string
		if i+1 < len(args) {
			next = &args[i+1]
		}
		usedNext, err := p.option(arg, next, set)
		if err != nil && first == nil {
			first = err
		}
		if usedNext {
			i++
		}
	}
	return first
}

// option handles one argument that is an option. It reports whether the next
// argument was its value.
func (p *parser) option(arg string, next *string, set func(arg, typed string) error) (bool, error) {
	name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if strings.HasPrefix(arg, "--") {
		return p.long(arg, name, value, hasValue, next, set)
	}
	f := p.flags.Lookup(name)
	if len(name) == 1 || f == nil {
		return p.short(arg, next, set)
	}
	meaning := "--" + config.CanonicalName(name)
	if o := tableOption(f); o != nil {
		meaning = "--" + o.Name
	}
	p.result.Warnings = append(p.result.Warnings, config.Warning{Option: optionName("--" + name),
		Message: fmt.Sprintf("%s is read as %s", arg, meaning),
		Hint:    "long options have two dashes"})
	return p.long(arg, name, value, hasValue, next, set)
}

// long handles an option typed by its long name, with or without its value in the
// same argument. It reports whether the next argument was its value.
func (p *parser) long(arg, name, value string, hasValue bool, next *string, set func(arg, typed string) error) (
	bool, error) {
	flag := p.flags.Lookup(name)
	if flag == nil {
		full, err := p.abbreviated(arg, name)
		if err != nil {
			return false, err
		}
		flag = p.flags.Lookup(full)
		if hint := p.habitHint(name); hint != "" {
			p.result.Warnings = append(p.result.Warnings, config.Warning{Option: optionName("--" + full),
				Message: fmt.Sprintf("--%s is read as --%s", name, full), Hint: hint})
		}
	}
	switch {
	case hasValue:
		target := flag.Name
		if o := tableOption(flag); o != nil && o.Redirect != nil && o.Redirect(value) != "" {
			target = o.Redirect(value)
		}
		return false, set("--"+target+"="+value, arg)
	case flag.NoOptDefVal != "":
		p.warnOfSwitchValue(flag, arg, next)
		return false, set("--"+flag.Name, arg)
	}
	return p.withNext(flag, arg, next, set)
}

// warnOfSwitchValue warns of --push true: as for Kolla's tool, true is a regular
// expression.
func (p *parser) warnOfSwitchValue(f *pflag.Flag, arg string, next *string) {
	o := tableOption(f)
	if o == nil || next == nil {
		return
	}
	hint := ""
	switch strings.ToLower(*next) {
	case "true", "yes", "on":
		hint = fmt.Sprintf("write --%s", o.Name)
	case "false", "no", "off":
		hint = fmt.Sprintf("write --no%s, or --%s=%s", o.Name, o.Name, *next)
	default:
		return
	}
	p.result.Warnings = append(p.result.Warnings, config.Warning{
		Option:  o.Name,
		Message: fmt.Sprintf("%s takes no value from the next argument: %q is read as a regular expression", arg, *next),
		Hint:    hint,
	})
}

// withNext handles an option whose value is the next argument.
func (p *parser) withNext(f *pflag.Flag, arg string, next *string, set func(arg, typed string) error) (bool, error) {
	switch {
	case next == nil:
		p.pending = f
		return false, p.missingValue(f, arg, "it is the last argument")
	case looksLikeOption(*next):
		return false, p.missingValue(f, arg, fmt.Sprintf("%s follows", *next))
	}
	return true, set("--"+f.Name+"="+*next, arg+" "+*next)
}

// short handles one dash and one or more letters: switches, of which the last may be
// an option that takes the rest, or the next argument, as its value.
func (p *parser) short(arg string, next *string, set func(arg, typed string) error) (bool, error) {
	letters := arg[1:]
	for i := range len(letters) {
		letter, rest := letters[i], letters[i+1:]
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

// abbreviated finds the only option whose name begins with the typed text. Kolla's
// options take precedence, so that new options do not make their abbreviations
// ambiguous.
func (p *parser) abbreviated(arg, name string) (string, error) {
	type target struct {
		option  *config.Option
		negated bool
		name    string // of a command's own flag
	}
	word := config.CanonicalName(name)
	for _, upstream := range []bool{true, false} {
		if !upstream && p.habitHint(name) != "" {
			break
		}
		var targets []target
		var names []string
		for _, n := range p.names {
			if len(word) < 2 || !strings.HasPrefix(n, word) {
				continue
			}
			f, ok := p.flags.Lookup(n).Value.(*tableFlag)
			t := target{name: n}
			if ok {
				t = target{option: f.option, negated: f.negated}
			}
			if (ok && f.option.From == config.Upstream) != upstream || slices.Contains(targets, t) {
				continue
			}
			targets = append(targets, t)
			names = append(names, n)
		}
		switch len(targets) {
		case 0:
		case 1:
			return names[0], p.meansCommand(arg, name, names[0])
		default:
			if len(p.commandsWith(name)) > 0 {
				return "", p.unknown(arg, name)
			}
			return "", &config.Error{
				Message: fmt.Sprintf("%s could be --%s", arg, strings.Join(names, " or --")),
				Hint:    p.habitHint(name),
			}
		}
	}
	for _, n := range p.others {
		if len(word) > 1 && strings.HasPrefix(n, word) {
			return n, nil
		}
	}
	return "", p.unknown(arg, name)
}

// meansCommand returns an error if an abbreviated option of a build is rather a command, as in
// --save FILE. Abbreviations of options that name a directory are read: Kolla's tool has --logs DIR.
func (p *parser) meansCommand(arg, name, option string) error {
	isCommand := func(c Command) bool { return c.Name == name && !c.Hidden }
	if p.cmd.Name != "" || name == "" || option == name+"-dir" || !slices.ContainsFunc(p.commands, isCommand) {
		return nil
	}
	return &config.Error{
		SourceLine: arg,
		Message:    fmt.Sprintf("--%s could be the command %s or --%s", name, name, option),
		Hint:       fmt.Sprintf("write kolla-build %s, or the whole name of the option", name),
	}
}

// unknown is the error for an option that does not exist.
func (p *parser) unknown(arg, name string) error {
	flag, _, _ := strings.Cut(arg, "=")
	hint := "kolla-build --help lists the options"
	name, _, _ = strings.Cut(name, "=")
	if p.cmd.Name != "" {
		hint = fmt.Sprintf("kolla-build help %s lists its options", p.cmd.Name)
	}
	if len([]rune(name)) > 1 {
		if n := suggest.Nearest(name, p.readable()); n != "" {
			if o := tableOption(p.flags.Lookup(n)); o != nil && config.CanonicalName(o.Name) == n {
				n = o.Name
			}
			hint = fmt.Sprintf("did you mean --%s?", n)
		}
	}
	if slices.Contains(config.Lookup("base").Choices, name) {
		hint = fmt.Sprintf("did you mean -b %s?", name)
	}
	if owners := p.commandsWith(name); len(owners) > 0 && len(owners) <= maxOwners {
		hint = fmt.Sprintf("it is an option of %s", list(owners))
	}
	if habit := p.habitHint(name); habit != "" {
		hint = habit
	}
	if o := config.Lookup(name); o != nil && o.Positional {
		hint = "regular expressions are given without an option: kolla-build nova- keystone"
	}
	return &config.Error{SourceLine: arg, Message: "unknown option " + flag, Hint: hint}
}

// readable returns the names of the options that the command reads.
func (p *parser) readable() []string {
	var names []string
	for _, n := range p.names {
		if t, ok := p.flags.Lookup(n).Value.(*tableFlag); !ok || p.cmd.Reads(t.option) {
			names = append(names, n)
		}
	}
	return names
}

// list writes a list as "a, b and c".
func list(items []string) string {
	if n := len(items) - 1; n > 0 {
		return strings.Join(items[:n], ", ") + " and " + items[n]
	}
	return strings.Join(items, "")
}

// commandsWith returns the commands that have their own flag with that name.
func (p *parser) commandsWith(name string) []string {
	var owners []string
	for _, c := range p.commands {
		if !c.Hidden && c.ownFlags().Lookup(name) != nil {
			owners = append(owners, "kolla-build "+c.Name)
		}
	}
	return owners
}

func (p *parser) missingValue(f *pflag.Flag, arg, reason string) error {
	e := &config.Error{SourceLine: arg, Option: f.Name, Message: fmt.Sprintf("%s needs a value, but %s", arg, reason)}
	if o := tableOption(f); o != nil {
		e.Option = o.Name
		if o.Arg != "" {
			e.Hint = fmt.Sprintf("write --%s %s", o.Name, o.Arg)
		}
		if o.Choices != nil {
			e.Hint += ", one of " + strings.Join(o.Choices, ", ")
		}
	} else if value, _ := pflag.UnquoteUsage(f); value != "" {
		e.Hint = fmt.Sprintf("write --%s %s", f.Name, value)
	}
	return e
}

// looksLikeOption reports whether an argument is an option and not a value or a
// regular expression: it begins with a dash and, as for argparse, has no space before
// an equals sign.
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

// optionName returns the table's name of the option in --name=value, or the name as
// written.
func optionName(arg string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if o := config.Lookup(name); o != nil {
		return o.Name
	}
	return name
}

// flagError returns the message about a wrong value of a command's own flag, without
// pflag's repetition of the flag.
func flagError(err error) string {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return invalid.Unwrap().Error()
	}
	return err.Error()
}
