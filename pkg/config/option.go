package config

import (
	"strings"
)

// Kind is the type of an option's value.
type Kind int

// The kinds, and the syntax of their values.
const (
	String Kind = iota // text without conversion
	Bool               // true, 1, on, yes; false, 0, off, no
	Int                // a decimal number
	List               // items separated by commas; only the last list is used
	Dict               // key:value pairs separated by commas; only the last one is used
	Multi              // one item each time the option is given
	Size               // bytes, such as 20G or 1.5GiB; 0 is the default that the help names
)

// String returns the name of the kind in the documentation.
func (k Kind) String() string {
	return [...]string{"string", "boolean", "integer", "list", "dictionary", "repeatable", "size"}[k]
}

// Provenance is where an option comes from.
type Provenance int

// Where options come from.
const (
	Upstream      Provenance = iota // Kolla's command line and file, July 2026
	UpstreamFile                    // Kolla's file only; here also the command line
	UpstreamOlder                   // an earlier release of Kolla
	Ours                            // not in Kolla
)

// Option describes one option. Help, documentation and samples are generated from this.
type Option struct {
	// Name is the name of the flag, as Kolla spells it. Dashes and underscores are
	// equal wherever an option is named; the key in a file has underscores.
	Name    string
	Short   string   // one letter, "" for none
	Aliases []string // further names of the flag
	Kind    Kind
	// Default is the default in the form in which users write it, "" for none. It can
	// refer to other options.
	Default string
	// DefaultText describes a default that follows from something else.
	DefaultText string
	Choices     []string        // the allowed values, nil for any
	Suggestions func() []string // returns values that completion offers; others are allowed as well
	Values      Values          // kind of the value, if Arg and Choices do not show it
	Min         int             // Int: the smallest value
	Arg         string          // name of the value in help, such as DIR
	Env         []string        // further environment variables, besides those made from the name
	Group       Group
	From        Provenance
	Help        string // one or more sentences
	// Note is printed as a warning if the user sets the option, which has no effect.
	// NoteValue, if not "", restricts it to that value.
	Note      string
	NoteValue string
	// Common marks the options that the short help of a command with many options
	// shows.
	Common bool
	// NonEmpty marks the options that cannot be given an empty value on the command
	// line, as by "$UNSET" in a script.
	NonEmpty bool
	// CommandLineOnly marks the options that a file cannot contain.
	CommandLineOnly bool
	// Positional marks the option that positional arguments set.
	Positional bool

	derive func(*resolver) (string, error)
	// Redirect returns the name of another option if a value on the command line is
	// meant for that one, else "". It may be nil.
	Redirect func(value string) string
}

// Values is the kind of an option's value or a command's argument, so that a shell can
// complete it.
type Values string

// Kinds of values.
const (
	ValuesAny      Values = ""
	ValuesFiles    Values = "files"
	ValuesDirs     Values = "dirs"
	ValuesImages   Values = "images"   // of the template tree
	ValuesStored   Values = "stored"   // images of the local store
	ValuesProfiles Values = "profiles" // of the configuration
	ValuesTags     Values = "tags"     // of the base image
	ValuesDistros  Values = "distros"
	ValuesCommands Values = "commands"
)

// Group is a chapter of the help text.
type Group string

// The groups in the order in which help shows them.
const (
	GroupSelect  Group = "Selection"
	GroupBase    Group = "Base distribution"
	GroupRelease Group = "OpenStack release and sources"
	GroupTree    Group = "Templates"
	GroupNames   Group = "Names, tags and publication"
	GroupBuild   Group = "Building"
	GroupBuilder Group = "BuildKit, store and engines"
	GroupOutput  Group = "Output and reports"
	GroupConfig  Group = "Configuration"
	GroupOlder   Group = "Options of older releases"
)

// Groups returns the groups in order.
func Groups() []Group {
	return []Group{GroupSelect, GroupBase, GroupRelease, GroupTree, GroupNames, GroupBuild,
		GroupBuilder, GroupOutput, GroupConfig, GroupOlder}
}

// Options returns the option table in the order of help. Callers must not change it.
func Options() []*Option { return table }

// Lookup returns the option of that name or alias, with dashes or underscores, nil if
// there is none.
func Lookup(name string) *Option { return byName[CanonicalName(name)] }

// lookupKey returns the option with that key in [DEFAULT], or nil.
func lookupKey(key string) *Option {
	if o := Lookup(key); o != nil && CanonicalName(key) == CanonicalName(o.Name) {
		return o
	}
	return nil
}

// Key returns the option's key in a file.
func (o *Option) Key() string { return strings.ReplaceAll(o.Name, "-", "_") }

// DefaultDescription describes the default, or "".
func (o *Option) DefaultDescription() string {
	if o.DefaultText != "" {
		return o.DefaultText
	}
	return o.Default
}

// EnvNames returns the environment variables that set the option, the strongest
// first.
func (o *Option) EnvNames() []string {
	if o.CommandLineOnly {
		return nil
	}
	upper := strings.ToUpper(o.Key())
	return append([]string{"KOLLA_BUILD_" + upper, "OS_DEFAULT__" + upper}, o.Env...)
}

// words returns a function for Option.Suggestions.
func words(list ...string) func() []string { return func() []string { return list } }

// initialisms are the words that are written in capitals in the fields of Config.
var initialisms = map[string]string{"url": "URL", "json": "JSON", "yaml": "YAML", "rpm": "RPM", "html": "HTML",
	"junit": "JUnit", "ssh": "SSH"}

// Field returns the name of the option's field in Config, "" for help and version.
func (o *Option) Field() string {
	if o.Name == "help" || o.Name == "version" {
		return ""
	}
	var b strings.Builder
	for word := range strings.SplitSeq(CanonicalName(o.Name), "-") {
		if up, ok := initialisms[word]; ok {
			b.WriteString(up)
			continue
		}
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// CanonicalName returns an option's name with dashes instead of underscores.
func CanonicalName(name string) string { return strings.ReplaceAll(name, "_", "-") }

var (
	table  []*Option
	byName map[string]*Option
)

// The table is initialized here and not in declarations, because the derived defaults
// of its options look up options in it.
func init() {
	table = concat(selectOptions, baseOptions, releaseOptions, treeOptions, namesOptions,
		buildOptions, builderOptions, outputOptions, configOptions, olderOptions)
	byName = indexOptions(table)
}

func concat(parts ...[]*Option) []*Option {
	var options []*Option
	for _, p := range parts {
		options = append(options, p...)
	}
	return options
}

func indexOptions(options []*Option) map[string]*Option {
	index := map[string]*Option{}
	for _, o := range options {
		index[CanonicalName(o.Name)] = o
		for _, a := range o.Aliases {
			index[CanonicalName(a)] = o
		}
	}
	return index
}

// normalSection returns a section's name as oslo.config compares it: in lower case,
// except DEFAULT, which must be written in capitals.
func normalSection(name string) string {
	if name == "DEFAULT" {
		return name
	}
	return strings.ToLower(name)
}
