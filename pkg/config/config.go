package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/facts"
)

// Config is the configuration of one command, with all defaults. It is read-only after
// Load. Each option of the table has a field, named as the option in CamelCase (base-tag
// is BaseTag, see Option.Field).
type Config struct {
	// Distribution, release and templates' variables.
	Base                     string            // distribution: debian, ubuntu, centos, rocky, oraclelinux
	BaseTag                  string            // tag of the base image, "latest" only for a user's own image
	BaseImage                string            // name of the base image without its tag
	BaseArch                 string            // x86_64 or aarch64
	DebianArch               string            // amd64 or arm64
	Platform                 string            // such as linux/arm64; several are separated by commas
	InstallType              string            // source or binary
	OpenstackRelease         string            // "master" or a stable release such as "2025.2"
	OpenstackReleaseCodename string            // such as "Gazpacho"
	OpenstackBranch          string            // such as "stable-2025.2"
	OpenstackBranchSlashed   string            // such as "stable/2025.2"
	BuildArgs                map[string]string // build-time variables
	UseDumbInit              bool
	DockerHealthchecks       bool
	Maintainer               string // content of the maintainer label
	DistroPackageManager     string // apt, dnf or a user's value
	BasePackageType          string // deb, rpm or a user's value
	RPMSetupConfig           []string
	AptSourcesList           string
	AptPreferences           string
	CleanPackageCache        bool
	ReposYAML                string
	BaseMirror               string // package mirror for bootstrapping a base image
	Bootstrap                string // auto or never

	// Selection.
	Regex             []string // from positional arguments, or the key regex of a file
	Profile           []string // names of profiles, which are keys of Profiles
	SkipParents       bool
	SkipExisting      bool
	EnableUnbuildable bool
	AllowedToFail     []string

	// Templates and sources.
	ImagesDir        string   // template tree instead of the embedded one, "" for the embedded one
	DockerDir        []string // further trees, which take precedence over ImagesDir
	TemplateOverride []string
	IncludeHeader    string
	IncludeFooter    string
	LocalsBase       string
	PatchesPath      string
	TarballsBase     string
	TarballsMirrors  []string // mirrors of TarballsBase
	WorkDir          string

	// Names.
	Namespace       string
	Registry        string
	Tag             string
	AlsoTag         []string // further tags of the set
	Retain          string   // a number or age of the dated sets to keep, "" for all
	AllowPartial    bool
	ImageNamePrefix string
	InfraRename     bool

	// Building and publication.
	Engine           string
	PodmanBaseURL    string
	Buildkit         bool
	BuildkitBuilder  string
	BuildkitAddr     string
	Buildkitd        string
	NetworkMode      string
	Allow            []string // entitlements of steps: network.host, security.insecure
	Secret           []string // id=NAME,src=FILE or id=NAME,env=VARIABLE, see package buildkit
	SSH              []string // default, ID or ID=PATH
	Cache            bool
	Refresh          bool
	Offline          bool
	Inputs           string
	ClampTimes       bool   // files in layers are not newer than the created time
	Compression      string // see package compress
	Pull             bool
	Keep             bool
	Squash           bool
	SquashCleanup    bool
	SquashTmpDir     string
	Threads          int
	Retries          int
	Timeout          int // seconds
	FailFast         bool
	ImageTimeout     int // seconds, 0 for no limit
	StepTimeout      int // seconds, 0 for no limit
	RetryTime        int // seconds, 0 for no limit
	RerunFailed      bool
	ImageMemory      int64 // bytes, 0 for no bound
	CacheSize        int64 // bytes, 0 for the default
	MinFree          int64 // bytes, 0 for the default
	PackageCache     bool
	Push             bool
	PushThreads      int
	RegistryInsecure []string // hosts with plain HTTP, in addition to localhost
	DataDir          string

	// Output.
	TemplateOnly     bool
	DryRun           bool
	ListImages       bool
	ListDependencies bool
	SaveDependency   string
	Format           string
	Summary          bool
	SummaryJSONFile  string
	ReportHTML       string
	JUnitFile        string
	MetricsFile      string
	ReportDir        string
	LogsDir          string
	Quiet            bool
	Debug            bool
	Progress         string // auto, plain, tty, json or quiet
	GenerateConfig   bool

	// The configuration itself.
	ConfigFile []string // as given with --config-file
	ConfigDir  []string // as given with --config-dir
	Strict     bool

	// Files are the configuration files that were read; later ones take precedence.
	Files []string
	// Command is Input.Command.
	Command string
	// Args are the positional arguments as typed. They are Regex as well.
	Args []string
	// Profiles maps the names of profiles to their regular expressions: those of
	// Input, and those of the [profiles] sections of the files.
	Profiles map[string][]string
	// Users maps the names of users, without the "-user" of their sections, to their ids.
	Users map[string]User
	// Sources maps the names of sections, such as "keystone-base" or
	// "horizon-plugin-magnum-ui", to the sources they describe. Values are as written;
	// ExpandSource replaces references.
	Sources map[string]Source
	// Warnings are shown before the command starts its work.
	Warnings []Warning

	origins  map[string]Origin
	resolver *resolver // unchanged after Load
}

// NoID is the id of a user whose section has none.
const NoID = -1

// User is a user in the images, from the built-in table or a section [NAME-user].
type User struct {
	UID, GID int
	Group    string // name of the user's group
	// Absent is set for a user that Kolla's branch of the OpenStack release does not
	// have. It exists for newer templates and for the built-in ones.
	Absent bool
	Origin Origin
}

// Source is the place of an image's source: a section [IMAGE], [IMAGE-plugin-NAME] or
// [IMAGE-additions-NAME].
type Source struct {
	Name      string // the section's name
	Type      string // url, git, local or "" for none
	Location  string
	Reference string // git only: branch, tag or commit
	Version   string
	Enabled   bool
	SHA256    map[string]string // digests in hex by Debian architecture
	Mirrors   []string          // url only: further addresses of the same content
	Origin    Origin
}

// OriginKind is the kind of place that a value comes from.
type OriginKind string

// The kinds of places, weakest first.
const (
	OriginDefault OriginKind = "default"
	OriginFile    OriginKind = "file"
	OriginEnv     OriginKind = "env"
	OriginFlag    OriginKind = "flag"
)

// Origin is the place that a value comes from.
type Origin struct {
	Kind OriginKind
	File string // OriginFile: path of the file
	Line int    // OriginFile: 1-based line
	Text string // the text at that place: the line, NAME=value, or the arguments
}

// String returns the origin for people: "kolla-build.conf:3",
// "KOLLA_BUILD_BASE=debian", "--base ubuntu" or "default".
func (o Origin) String() string {
	switch o.Kind {
	case OriginFile:
		return fmt.Sprintf("%s:%d", o.File, o.Line)
	case OriginEnv, OriginFlag:
		return o.Text
	}
	return string(OriginDefault)
}

// Origin returns the origin of an option's value. The name can have dashes or
// underscores. An unknown name has the default origin.
func (c *Config) Origin(option string) Origin {
	if o := Lookup(option); o != nil {
		if origin, ok := c.origins[o.Name]; ok {
			return origin
		}
	}
	return Origin{Kind: OriginDefault}
}

// IsSet reports whether the user set the option anywhere.
func (c *Config) IsSet(option string) bool {
	return c.Origin(option).Kind != OriginDefault
}

// Target returns the settings that decide which images can be built.
func (c *Config) Target() facts.Target {
	return facts.Target{
		OpenStack:   c.OpenstackRelease,
		Distro:      c.Base,
		BaseTag:     c.BaseTag,
		Arch:        c.BaseArch,
		InstallType: c.InstallType,
		BuiltIn:     c.ImagesDir == "",
	}
}

// ProfileNames returns the names of all profiles, sorted.
func (c *Config) ProfileNames() []string {
	return slices.Sorted(maps.Keys(c.Profiles))
}

// Mistake returns the error for a value of an option that cannot be used, at the place
// where it was set. On the command line it is a usage error.
func (c *Config) Mistake(option, hint, message string) *Error {
	e := &Error{Option: option, Message: option + ": " + message, Hint: hint}
	switch origin := c.Origin(option); origin.Kind {
	case OriginFile:
		e.File, e.Line, e.SourceLine = origin.File, origin.Line, origin.Text
	case OriginFlag, OriginEnv:
		e.SourceLine, e.Message = origin.Text, redact.InPlace(strings.TrimSpace(origin.Text))+": "+message
	}
	return e
}

// ProfileMistake returns an error about an expression of a profile, with the place of the profile
// if a file defines it.
func (c *Config) ProfileMistake(name, hint, message string) *Error {
	g := c.resolver.lastGiven(profilesSection, name)
	if g.origin.Kind != OriginFile {
		return &Error{Message: "profile " + name + ": " + message, Hint: hint}
	}
	return g.err("profile "+name, message, hint)
}

// UsageIfTyped marks an error about an option as a usage error if the option was given
// on the command line. It returns nil for a nil error.
func (c *Config) UsageIfTyped(option string, err error) error {
	if c.Origin(option).Kind == OriginFlag {
		return usererr.Usage(err)
	}
	return err
}

// UsageIfUnreadable is UsageIfTyped for errors of opening the file or directory that an option
// names, and adds the place in a configuration file; other errors are returned as they are.
func (c *Config) UsageIfUnreadable(option string, err error) error {
	unreadable := func(target error) bool { return errors.Is(err, target) }
	if !slices.ContainsFunc([]error{fs.ErrNotExist, fs.ErrPermission, syscall.EISDIR, syscall.ENOTDIR}, unreadable) {
		return err
	}
	if origin := c.Origin(option); origin.Kind == OriginFile {
		return &Error{File: origin.File, Line: origin.Line, SourceLine: origin.Text, Option: option, Message: err.Error(),
			Hint: cmp.Or(usererr.Hint(err), c.RelativeHint(option))}
	}
	return c.UsageIfTyped(option, err)
}

// RelativeHint returns a hint about the first missing path of an option that a configuration file
// sets and that is relative to that file, or to the file that a link in its place leads to; "" if
// there is none.
func (c *Config) RelativeHint(option string) string {
	origin := c.Origin(option)
	if origin.Kind != OriginFile {
		return ""
	}
	var paths []string
	switch v := c.Value(option).(type) {
	case string:
		paths = []string{v}
	case []string:
		paths = v
	}
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil || path == "" || filepath.IsAbs(path) {
			continue
		}
		resolved, err := filepath.EvalSymlinks(origin.File)
		if err != nil {
			resolved = origin.File
		}
		for _, file := range []string{origin.File, resolved} {
			candidate, err := filepath.Abs(filepath.Join(filepath.Dir(file), path))
			if _, missing := os.Stat(candidate); err == nil && missing == nil {
				return "relative paths start at the working directory; did you mean " + candidate + "?"
			}
		}
	}
	return ""
}

// Value returns the value of an option in the type of its field, nil for an unknown
// name and for options without a field.
func (c *Config) Value(option string) any {
	o := Lookup(option)
	if o == nil || o.Field() == "" {
		return nil
	}
	return reflect.ValueOf(c).Elem().FieldByName(o.Field()).Interface()
}

// Text returns the value of an option in the form in which users write it.
func (c *Config) Text(option string) string {
	switch v := c.Value(option).(type) {
	case bool:
		return strconv.FormatBool(v)
	default:
		return format(v)
	}
}
