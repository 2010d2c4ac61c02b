package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// check rejects options that the command does not read, or warns of them, and options
// whose value must not be empty. Options in files and the environment are for all
// commands, so they are not checked. Nor are those before the name of the command, as in
// an alias for kolla-build with options, except --dry-run.
func (p *parser) check() error {
	used := p.result.Options[:0]
	for _, s := range p.result.Options {
		if !p.cmd.Reads(s.Option) {
			if !p.cmd.AnyOption && (!s.Early || s.Option.Name == "dry-run") {
				return p.foreign(s)
			}
			p.result.Warnings = append(p.result.Warnings, config.Warning{Option: s.Option.Name,
				Message: fmt.Sprintf("%s has no effect: %s does not read it", s.Typed, p.cmd.title()),
				Hint:    p.jsonHint(s)})
		}
		if s.Option.NonEmpty && s.Text == "" {
			return &config.Error{Option: s.Option.Name, SourceLine: s.Typed,
				Message: fmt.Sprintf("--%s is empty", s.Option.Name),
				Hint:    fmt.Sprintf("write --%s %s, or omit the option", s.Option.Name, s.Option.Arg)}
		}
		used = append(used, s)
	}
	p.result.Options = used
	return nil
}

// maxOwners is how many commands with an option a hint names.
const maxOwners = 4

// foreign returns the error for an option of other commands.
func (p *parser) foreign(s config.Setting) error {
	flag, _, _ := strings.Cut(s.Typed, "=")
	flag, _, _ = strings.Cut(flag, " ")
	e := &config.Error{Option: s.Option.Name, SourceLine: s.Typed,
		Message: fmt.Sprintf("%s is not an option of %s", flag, p.cmd.title()),
		Hint:    fmt.Sprintf("kolla-build help %s lists its options", p.cmd.Name)}
	if s.Option.Name == "dry-run" {
		e.Message = fmt.Sprintf("%s has no --dry-run: it would do its work", p.cmd.title())
		return e
	}
	if hint := cmp.Or(p.habitHint(strings.TrimLeft(flag, "-")), p.jsonHint(s)); hint != "" {
		e.Hint = hint
		return e
	}
	var readers []string
	for _, c := range p.commands {
		if !c.Hidden && c.Reads(s.Option) {
			readers = append(readers, c.title())
		}
	}
	if len(readers) > 0 && len(readers) <= maxOwners {
		e.Hint = fmt.Sprintf("it is an option of %s", list(slices.Compact(readers)))
	}
	return e
}

// jsonHint returns the hint for --format json where a command has --json, "" for other
// options.
func (p *parser) jsonHint(s config.Setting) string {
	if s.Option.Name == "format" && s.Text == "json" && p.cmd.ownFlags().Lookup("json") != nil {
		return "did you mean --json?"
	}
	return ""
}
