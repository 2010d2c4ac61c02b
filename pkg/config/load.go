package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"strings"

	"github.com/kolla-build/kolla-build/internal/inifile"
)

// Input is the input of Load, which reads no other files than those named here and on
// the command line.
type Input struct {
	Command    string    // the command, "" for the build itself
	Arguments  Arguments // the command line
	Env        []string  // as os.Environ returns it
	Dir        string    // the working directory, "" for the process's own
	SystemFile string    // "" for the first that is found where Kolla's tool searches
	HostArch   string    // x86_64 or aarch64, "" for the architecture of this machine
	NoFiles    bool      // read no file

	// Program is the path with which the program was called, or "". If Kolla is installed beside it,
	// the program replaces Kolla's tool.
	Program string

	// Profiles are the default profiles: name to regular expressions.
	Profiles map[string][]string
}

// Arguments is a command line, parsed.
type Arguments struct {
	Options     []Setting // in the order in which they were given
	Positionals []string
	Warnings    []Warning // about the spelling of options
}

// Setting is an option given on the command line.
type Setting struct {
	Option  *Option
	Text    string // the value as written
	Negated bool   // given as --noNAME
	Typed   string // the arguments as typed
	Early   bool   // typed before the name of the command
}

// Load merges the command line, the environment and the files. A user's mistake is an
// *Error, or several of them joined.
func Load(in Input) (*Config, error) {
	l := &loader{in: in, env: map[string]string{}, flags: map[*Option][]given{}}
	for _, pair := range in.Env {
		if name, value, ok := strings.Cut(pair, "="); ok {
			l.env[name] = value
		}
	}
	for _, s := range in.Arguments.Options {
		l.flags[s.Option] = append(l.flags[s.Option], given{text: s.Text, negated: s.Negated,
			origin: Origin{Kind: OriginFlag, Text: s.Typed}})
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
		program:  in.Program,
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
	l.checkBuildArgs()
	l.notes()
	if l.c.Strict || len(l.errs) > 0 {
		// A misspelled name may be the cause of another error: a profile is missing
		// because its section is not [profiles].
		for _, w := range l.misspelled {
			l.errs = append(l.errs, (*Error)(&w))
		}
	}
	if len(l.errs) > 0 {
		return nil, joinErrors(l.errs)
	}
	l.c.Warnings = append(sumUp(l.misspelled), sumUp(l.warnings)...)
	return l.c, nil
}

// loader is the state of one call of Load.
type loader struct {
	in    Input
	env   map[string]string
	flags map[*Option][]given // the options of the command line
	files []*inifile.File     // the last one takes precedence
	r     *resolver
	c     *Config

	warnings   []Warning
	misspelled []Warning // unknown names, which are errors with --strict
	errs       []error
	failed     map[string]bool // the texts of errs
}

// given is one value of an option or of a section's key.
type given struct {
	text    string // as written
	origin  Origin
	entry   *inifile.Entry // OriginFile only
	negated bool           // --noNAME
}

func givenInFile(e *inifile.Entry) given {
	return given{text: e.Value, entry: e,
		origin: Origin{Kind: OriginFile, File: e.File, Line: e.Line, Text: strings.TrimSpace(e.Text)}}
}

// fail records an error, once if several values lead to it.
func (l *loader) fail(err error) {
	if l.failed == nil {
		l.failed = map[string]bool{}
	}
	if text := err.Error(); !l.failed[text] {
		l.failed[text] = true
		l.errs = append(l.errs, err)
	}
}

// maxReported is how many errors of a configuration are reported, and how many warnings.
const maxReported = 50

// sumUp replaces the warnings after the first ones with their number.
func sumUp(warnings []Warning) []Warning {
	if n := len(warnings) - maxReported; n > 1 {
		return append(warnings[:maxReported], Warning{Message: fmt.Sprintf("%d more warnings of this kind are not shown", n)})
	}
	return warnings
}

func joinErrors(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	if n := len(errs) - maxReported; n > 1 {
		errs = append(errs[:maxReported:maxReported], fmt.Errorf("%d more errors of the configuration are not shown", n))
	}
	return errors.Join(errs...)
}

// mergeOptions collects the values of each option, the strongest last.
func (l *loader) mergeOptions() {
	inFiles := map[*Option][]given{}
	for _, f := range l.files {
		for _, e := range optionEntries(f) {
			l.mergeEntry(e, inFiles)
		}
	}
	for _, o := range table {
		values := inFiles[o]
		if fromEnv, ok := l.envValue(o); ok {
			values = fromEnv
		}
		if positionals := l.in.Arguments.Positionals; o.Positional && len(positionals) > 0 {
			values = nil
			for _, p := range positionals {
				values = append(values, given{text: p, origin: Origin{Kind: OriginFlag, Text: p}})
			}
		}
		flags := l.flags[o]
		if len(flags) > 1 && (o.Kind == List || o.Kind == Dict) {
			last := flags[len(flags)-1]
			l.warnings = append(l.warnings, Warning{Option: o.Name,
				Message: fmt.Sprintf("--%s is given %d times, and only the last one is used: %s", o.Name, len(flags), last.text),
				Hint:    "give it once, with commas between the items"})
		}
		values = append(values, flags...)
		if len(values) > 0 {
			l.r.given[o] = values
			l.c.origins[o.Name] = values[len(values)-1].origin
		}
	}
	l.unknownEnv()
}

// optionEntries returns the entries of a file that set options: those of [DEFAULT],
// after those of [kolla-build], the section of Kolla's first releases.
func optionEntries(f *inifile.File) []*inifile.Entry {
	var older, current []*inifile.Entry
	for _, e := range f.Entries {
		switch normalSection(e.Section) {
		case olderSection:
			older = append(older, e)
		case defaultSection:
			current = append(current, e)
		}
	}
	return append(older, current...)
}

// mergeEntry adds an entry to the values of its option, or warns of it.
func (l *loader) mergeEntry(e *inifile.Entry, inFiles map[*Option][]given) {
	o := lookupKey(e.Key)
	if renamed := optionOfOlderKey(e); renamed != nil {
		o = renamed
		l.warnings = append(l.warnings, keyWarning(e, fmt.Sprintf("%s is read as %s", e.Key, o.Key()),
			fmt.Sprintf("write %s", o.Key())))
	}
	switch {
	case o == nil:
		l.unknownKey(e, optionKeys())
	case o.CommandLineOnly:
		l.misspelled = append(l.misspelled, keyWarning(e, fmt.Sprintf("%s can be given on the command line only", e.Key), ""))
	default:
		inFiles[o] = append(inFiles[o], givenInFile(e))
		for _, name := range dashedNames(e.Value) {
			w := keyWarning(e, fmt.Sprintf("${%s} is not replaced", name),
				fmt.Sprintf("write ${%s}", strings.ReplaceAll(name, "-", "_")))
			w.Column = e.ValueColumn
			l.warnings = append(l.warnings, w)
		}
	}
}

// optionOfOlderKey returns the option that a key of older releases sets, nil for
// others. The key type is only treated as such if its value is an install type, because
// sources have a key of the same name.
func optionOfOlderKey(e *inifile.Entry) *Option {
	o := Lookup(e.Key)
	if o == nil || lookupKey(e.Key) == o {
		return nil
	}
	value := strings.ToLower(e.Value)
	for _, choice := range o.Choices {
		if value == choice || otherNames[value] == choice {
			return o
		}
	}
	return nil
}

// assign sets the fields of Config to the options' values.
func (l *loader) assign() {
	fields := reflect.ValueOf(l.c).Elem()
	for _, o := range table {
		v, err := l.r.value(o) // including options without a field, to find all mistakes
		if err != nil {
			l.fail(l.withPlace(o, err))
			continue
		}
		if name := o.Field(); name != "" {
			fields.FieldByName(name).Set(reflect.ValueOf(v))
		}
	}
}

// withPlace adds the place of the option's value to an error without a place.
func (l *loader) withPlace(o *Option, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	if values := l.r.given[o]; len(values) > 0 {
		return values[len(values)-1].err(o.Name, err.Error(), "")
	}
	return &Error{Option: o.Name, Message: o.Name + ": " + err.Error()}
}

// notes adds the warnings about options that have no effect, and the errors about
// options that contradict each other.
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
	l.checkBase()
	if name, digest, pinned := strings.Cut(c.BaseImage, "@sha256:"); pinned {
		l.fail(l.lastOf("base-image").err("base-image", "a digest is not part of the name of the base image",
			fmt.Sprintf("write --base-image %s --base-tag %s@sha256:%s", name, strings.SplitN(c.BaseTag, "@", 2)[0], digest)))
	}
	if len(c.Profile) > 0 && len(c.Regex) > 0 && c.Origin("profile").Kind == OriginFlag {
		l.warnings = append(l.warnings, Warning{Option: "profile",
			Message: "--profile is ignored: regular expressions are given as well",
			Hint:    "omit one of them"})
	}
	if c.IsSet("buildkit-builder") && c.IsSet("buildkit-addr") && c.BuildkitAddr != "" {
		l.warnings = append(l.warnings, warningAt(c.Origin("buildkit-builder"), "buildkit-builder",
			fmt.Sprintf("buildkit-builder is ignored: buildkit-addr is %s", c.BuildkitAddr), ""))
	}
}

// pinnedTag matches tags with an optional digest.
var pinnedTag = regexp.MustCompile(`^[^@\s]*(@sha256:[0-9a-f]{64})?$`)

// checkBase records an error for a base tag that no image can have.
func (l *loader) checkBase() {
	if tag := l.c.BaseTag; !pinnedTag.MatchString(tag) {
		l.fail(l.lastOf("base-tag").err("base-tag", fmt.Sprintf("%q is not a tag", tag),
			"a tag may be followed by a digest of 64 hexadecimal digits: TAG@sha256:DIGEST"))
	}
}

// lastOf returns the value that decides an option.
func (l *loader) lastOf(option string) given {
	if values := l.r.given[Lookup(option)]; len(values) > 0 {
		return values[len(values)-1]
	}
	return given{origin: Origin{Kind: OriginDefault}}
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

// optionKeys returns the keys of [DEFAULT].
func optionKeys() []string {
	var keys []string
	for _, o := range table {
		if !o.CommandLineOnly {
			keys = append(keys, o.Key())
		}
	}
	return keys
}
