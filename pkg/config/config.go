package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/kolla-build/kolla-build/pkg/facts"
)

// Config is what one command was told, with every default filled in. Load makes
// it; from then on it is read-only. It has one field for each option of the
// table, named as the option in CamelCase (base-tag is BaseTag); Option.Field
// gives the name.
type Config struct {
	// What is built.
	Base                     string            // distribution: debian, ubuntu, centos, rocky, oraclelinux
	BaseTag                  string            // tag of the base image, never "latest" unless the user wrote another image
	BaseImage                string            // name of the base image without its tag
	BaseArch                 string            // x86_64 or aarch64
	DebianArch               string            // amd64 or arm64
	Platform                 string            // such as linux/arm64; several by comma
	InstallType              string            // source or binary
	OpenstackRelease         string            // "master" or a stable release such as "2025.2"
	OpenstackReleaseCodename string            // such as "Gazpacho"
	OpenstackBranch          string            // such as "stable-2025.2"
	OpenstackBranchSlashed   string            // such as "stable/2025.2"
	BuildArgs                map[string]string // build-time variables
	UseDumbInit              bool
	DockerHealthchecks       bool
	Maintainer               string // content of the maintainer label
	DistroPackageManager     string // apt, dnf or what the user set
	BasePackageType          string // deb, rpm or what the user set
	RPMSetupConfig           []string
	AptSourcesList           string
	AptPreferences           string
	CleanPackageCache        bool
	ReposYAML                string
	BaseMirror               string // package mirror for bootstrapping a base image
	Bootstrap                string // auto or never

	// Which images.
	Regex             []string // expressions given as positional arguments, or as regex in a file
	Profile           []string // names of profiles, all of them in Profiles
	SkipParents       bool
	SkipExisting      bool
	EnableUnbuildable bool
	AllowedToFail     []string

	// Templates and sources.
	ImagesDir        string   // template tree instead of the embedded one, "" for the embedded one
	DockerDir        []string // further trees laid over it
	TemplateOverride []string
	IncludeHeader    string
	IncludeFooter    string
	LocalsBase       string
	PatchesPath      string
	TarballsBase     string
	TarballsMirrors  []string // further places of what is under TarballsBase
	WorkDir          string

	// Names.
	Namespace       string
	Registry        string
	Tag             string
	AlsoTag         []string // further tags, which move with the set
	Retain          string   // a count or an age of dated sets, "" for all
	AllowPartial    bool
	ImageNamePrefix string
	InfraRename     bool

	// How it is built and published.
	Engine           string
	PodmanBaseURL    string
	Buildkit         bool
	BuildkitBuilder  string
	BuildkitAddr     string
	Buildkitd        string
	NetworkMode      string
	Cache            bool
	Refresh          bool
	ClampTimes       bool // files in layers carry no time after the created time
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
	RegistryInsecure []string // hosts spoken to in plain HTTP besides localhost
	DataDir          string

	// What is shown.
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

	// Files lists the configuration files that were read, in the order in which
	// they were applied: later ones won.
	Files []string
	// Command is Input.Command.
	Command string
	// Args holds the positional arguments as typed. For commands that take
	// regular expressions they are Regex as well.
	Args []string
	// Profiles maps a profile's name to its regular expressions: the caller's
	// defaults with the [profiles] sections of the files laid over them.
	Profiles map[string][]string
	// Users maps a user's name, without the "-user" of its section, to its ids.
	Users map[string]User
	// Sources maps a section's name, such as "keystone-base" or
	// "horizon-plugin-magnum-ui", to the source it describes. Values are as
	// written; ExpandSource puts the options' values in.
	Sources map[string]Source
	// Warnings are the things that the user should be told before work starts.
	Warnings []Warning

	origins  map[string]Origin
	resolver *resolver // nothing in it changes after Load
}

// NoID is the id of a user whose section gives none.
const NoID = -1

// User is a user of the images with its ids, from upstream's table of users or
// from a [<name>-user] section.
type User struct {
	UID, GID int
	Group    string // name of the user's group
	Origin   Origin
}

// Source says where an image's source comes from: one [<image>],
// [<image>-plugin-<name>] or [<image>-additions-<name>] section.
type Source struct {
	Name      string // the section's name
	Type      string // url, git, local or "" if the user gave none
	Location  string
	Reference string // git only: branch, tag or commit
	Version   string
	Enabled   bool
	SHA256    map[string]string // digests in hex by Debian architecture
	Mirrors   []string          // url only: further places of the same content
	Origin    Origin
}

// OriginKind says which kind of place a value came from.
type OriginKind string

// The kinds of places, weakest first.
const (
	OriginDefault OriginKind = "default"
	OriginFile    OriginKind = "file"
	OriginEnv     OriginKind = "env"
	OriginFlag    OriginKind = "flag"
)

// Origin is the place a value came from.
type Origin struct {
	Kind OriginKind
	File string // OriginFile: path of the file
	Line int    // OriginFile: 1-based line
	Text string // what was written there: the line, NAME=value, or the arguments
}

// String returns the origin as a reader would say it: "kolla-build.conf:3",
// "KOLLA_BUILD_BASE", "--base ubuntu" or "default".
func (o Origin) String() string {
	switch o.Kind {
	case OriginFile:
		return fmt.Sprintf("%s:%d", o.File, o.Line)
	case OriginEnv, OriginFlag:
		return o.Text
	}
	return string(OriginDefault)
}

// Origin tells where the value of an option came from. The option is named as in
// the table, with dashes or underscores; an unknown name yields a default origin.
func (c *Config) Origin(option string) Origin {
	if o := Lookup(option); o != nil {
		if origin, ok := c.origins[o.Name]; ok {
			return origin
		}
	}
	return Origin{Kind: OriginDefault}
}

// IsSet reports whether the user gave the option anywhere.
func (c *Config) IsSet(option string) bool {
	return c.Origin(option).Kind != OriginDefault
}

// Target returns what decides which images can be built.
func (c *Config) Target() facts.Target {
	return facts.Target{OpenStack: c.OpenstackRelease, Distro: c.Base, BaseTag: c.BaseTag, Arch: c.BaseArch, InstallType: c.InstallType}
}

// ProfileNames returns the names of all profiles, sorted.
func (c *Config) ProfileNames() []string {
	return slices.Sorted(maps.Keys(c.Profiles))
}

// Value returns the value of an option, in the type of its field; nil for an
// unknown name and for options without a field.
func (c *Config) Value(option string) any {
	o := Lookup(option)
	if o == nil || o.Field() == "" {
		return nil
	}
	return reflect.ValueOf(c).Elem().FieldByName(o.Field()).Interface()
}

// Text returns the value of an option as a user would write it.
func (c *Config) Text(option string) string {
	switch v := c.Value(option).(type) {
	case bool:
		return strconv.FormatBool(v)
	default:
		return format(v)
	}
}
