package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/inifile"
	"github.com/kolla-build/kolla-build/internal/suggest"
)

// Input is what Load starts from; it looks at nothing else but the files named
// here and on the command line.
type Input struct {
	Command    string    // the subcommand, "" for the build itself
	Arguments  Arguments // the command line
	Env        []string  // as os.Environ returns it
	Dir        string    // the working directory; "" is the process's own
	SystemFile string    // "" is /etc/kolla/kolla-build.conf
	HostArch   string    // x86_64 or aarch64; "" is the machine's own

	// Profiles are the default profiles: name to regular expressions.
	Profiles map[string][]string
}

// Arguments is a command line, parsed.
type Arguments struct {
	Options     []Setting // in the order in which they were given
	Positionals []string
	Warnings    []Warning // about how options were written
}

// Setting is an option given on the command line.
type Setting struct {
	Option  *Option
	Text    string // the value as written
	Negated bool   // given as --noNAME
	Typed   string // the arguments as typed
}

// Load reads the command line, the environment and the files. What the user wrote
// wrong is an *Error, or several of them joined.
func Load(in Input) (*Config, error) {
	l := &loader{in: in, env: map[string]string{}}
	for _, pair := range in.Env {
		if name, value, ok := strings.Cut(pair, "="); ok {
			l.env[name] = value
		}
	}
	l.flags = map[*Option][]given{}
	for i, s := range in.Arguments.Options {
		l.flags[s.Option] = append(l.flags[s.Option], given{text: s.Text, negated: s.Negated,
			origin: Origin{Kind: OriginFlag, Text: s.Typed}, order: i})
	}
	l.c = &Config{Command: in.Command, Args: in.Arguments.Positionals, origins: map[string]Origin{}}
	l.warnings = append(l.warnings, in.Arguments.Warnings...)
	if err := l.readFiles(); err != nil {
		return nil, err
	}
	l.r = &resolver{
		given:    map[*Option][]given{},
		sections: map[string]*section{},
		values:   map[*Option]resolved{},
		env:      l.env,
		hostArch: in.HostArch,
		root:     os.Geteuid() == 0,
	}
	if l.r.hostArch == "" {
		l.r.hostArch = hostArch(runtime.GOARCH)
	}
	l.c.resolver = l.r
	l.mergeOptions()
	l.mergeSections()
	l.assign()
	l.fillProfiles()
	l.fillUsers()
	l.fillSources()
	l.notes()
	if l.c.Strict || len(l.errs) > 0 {
		// A misspelt name may be the cause of another error: the profile that is
		// not there, because its section is not [profiles].
		for _, w := range l.misspelt {
			l.errs = append(l.errs, (*Error)(&w))
		}
	}
	l.warnings = append(l.misspelt, l.warnings...)
	if len(l.errs) > 0 {
		return nil, joinErrors(l.errs)
	}
	l.c.Warnings = l.warnings
	return l.c, nil
}

// given is one value of an option or of a section's key.
type given struct {
	text    string // as written
	origin  Origin
	entry   *inifile.Entry // OriginFile only
	negated bool           // --noNAME
	order   int            // position among the options of the command line
}

func fileOrigin(e *inifile.Entry) Origin {
	return Origin{Kind: OriginFile, File: e.File, Line: e.Line, Text: strings.TrimSpace(e.Text)}
}

// loader holds what Load has found so far.
type loader struct {
	in    Input
	env   map[string]string
	flags map[*Option][]given
	files []*inifile.File
	r     *resolver
	c     *Config

	warnings []Warning
	misspelt []Warning // warnings about unknown names: errors with --strict
	errs     []error
}

// fail notes an error; one that several values met is noted once.
func (l *loader) fail(err error) {
	for _, e := range l.errs {
		if e == err || e.Error() == err.Error() {
			return
		}
	}
	l.errs = append(l.errs, err)
}

func joinErrors(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// mergeOptions finds, for each option, what decides its value.
func (l *loader) mergeOptions() {
	inFiles := map[*Option][]given{}
	for _, f := range l.files {
		for _, e := range f.Entries {
			if normalSection(e.Section) != "DEFAULT" {
				continue
			}
			o := lookupKey(e.Key)
			switch {
			case o == nil:
				l.unknownKey(e, optionKeys())
			case o.CommandLineOnly:
				l.misspelt = append(l.misspelt, keyWarning(e, fmt.Sprintf("%s can be given on the command line only", e.Key), ""))
			default:
				g := given{text: e.Value, origin: fileOrigin(e), entry: e}
				inFiles[o] = append(inFiles[o], g)
				for _, name := range dashedNames(e.Value) {
					w := keyWarning(e, fmt.Sprintf("${%s} stays as it is", name), fmt.Sprintf("write ${%s}", strings.ReplaceAll(name, "-", "_")))
					w.Column = e.ValueColumn
					l.warnings = append(l.warnings, w)
				}
			}
		}
	}
	for _, o := range table {
		all := inFiles[o]
		if fromEnv, ok := l.envValue(o); ok {
			all = fromEnv
		}
		if o.Positional && len(l.in.Arguments.Positionals) > 0 {
			all = nil
			for _, p := range l.in.Arguments.Positionals {
				all = append(all, given{text: p, origin: Origin{Kind: OriginFlag, Text: p}})
			}
		}
		flags := l.flags[o]
		if len(flags) > 1 && (o.Kind == List || o.Kind == Dict) {
			last := flags[len(flags)-1]
			l.warnings = append(l.warnings, Warning{Option: o.Name,
				Message: fmt.Sprintf("--%s is given %d times and the last one counts: %s", o.Name, len(flags), last.text),
				Hint:    "give it once, with commas between the items"})
		}
		all = append(all, flags...)
		if len(all) > 0 {
			l.r.given[o] = all
			l.c.origins[o.Name] = all[len(all)-1].origin
		}
	}
	l.unknownEnv()
}

// assign puts the options' values into the fields of Config.
func (l *loader) assign() {
	fields := reflect.ValueOf(l.c).Elem()
	for _, o := range table {
		v, err := l.r.value(o) // also of options without a field: then nothing is left to find later
		if err != nil {
			l.fail(l.placed(o, err))
			continue
		}
		name := o.Field()
		if name == "" {
			continue
		}
		fields.FieldByName(name).Set(reflect.ValueOf(v))
	}
}

// placed gives an error without a place that of the option's value.
func (l *loader) placed(o *Option, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	if all := l.r.given[o]; len(all) > 0 {
		return all[len(all)-1].err(o.Name, err.Error(), "")
	}
	return &Error{Option: o.Name, Message: o.Name + ": " + err.Error()}
}

// notes adds the warnings of options that do something else than their names say.
func (l *loader) notes() {
	for _, o := range table {
		if o.Note == "" || !l.c.IsSet(o.Name) {
			continue
		}
		v, err := l.r.value(o)
		if err != nil || format(v) == "" || o.NoteValue != "" && o.NoteValue != strings.ToLower(format(v)) {
			continue
		}
		l.warnings = append(l.warnings, warningAt(l.c.Origin(o.Name), o.Name, o.Note, ""))
	}
	c := l.c
	if len(c.Profile) > 0 && len(c.Regex) > 0 && c.Origin("profile").Kind == OriginFlag {
		l.warnings = append(l.warnings, Warning{Option: "profile",
			Message: "--profile is not used: regular expressions are given, too",
			Hint:    "leave out one of them"})
	}
	if c.IsSet("buildkit-builder") && c.IsSet("buildkit-addr") && c.BuildkitAddr != "" {
		l.warnings = append(l.warnings, warningAt(c.Origin("buildkit-builder"), "buildkit-builder",
			fmt.Sprintf("buildkit-builder is not used: buildkit-addr says %s", c.BuildkitAddr), ""))
	}
}

func warningAt(o Origin, option, message, hint string) Warning {
	w := Warning{Option: option, Message: message, Hint: hint}
	if o.Kind == OriginFile {
		w.File, w.Line, w.SourceLine = o.File, o.Line, o.Text
	}
	return w
}

// hostArch returns Kolla's name of a Go architecture.
func hostArch(goarch string) string {
	switch goarch {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	}
	return goarch
}

// optionKeys returns the keys that [DEFAULT] can have.
func optionKeys() []string {
	var keys []string
	for _, o := range table {
		if !o.CommandLineOnly {
			keys = append(keys, o.Key())
		}
	}
	return keys
}

// envValue returns what the environment says about an option.
func (l *loader) envValue(o *Option) ([]given, bool) {
	own := o.Env
	for _, name := range o.EnvNames() {
		value, ok := l.env[name]
		// A variable that other programs have, too, and that is empty is not set.
		if !ok || value == "" && slices.Contains(own, name) {
			continue
		}
		origin := Origin{Kind: OriginEnv, Text: name + "=" + value}
		if o.Kind != Multi {
			return []given{{text: value, origin: origin}}, true
		}
		var all []given
		for _, item := range parseList(value) {
			all = append(all, given{text: item, origin: origin})
		}
		return all, true
	}
	return nil, false
}

// unknownEnv warns of variables that look like ours and name no option.
func (l *loader) unknownEnv() {
	var names []string
	for name := range l.env {
		if strings.HasPrefix(name, "KOLLA_BUILD_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var known []string
	for _, o := range table {
		if !o.CommandLineOnly {
			known = append(known, o.EnvNames()[0])
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			l.warnings = append(l.warnings, Warning{
				Message: fmt.Sprintf("the environment has %s, which sets no option", name),
				Hint:    suggest.DidYouMean(name, known)})
		}
	}
}
