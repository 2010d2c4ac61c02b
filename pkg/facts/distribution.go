package facts

import (
	"embed"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/kolla-build/kolla-build/internal/inifile"
)

//go:embed data
var files embed.FS

// Distro is a base distribution.
type Distro struct {
	Name           string
	PackageType    string // deb or rpm
	PackageManager string // apt or dnf
	Image          string // default base image, without its tag
	Releases       []DistroRelease
}

// DistroRelease is one release of a distribution.
type DistroRelease struct {
	// Name is the suite, or for the RHEL family "el" and the major version: trixie,
	// noble, el10.
	Name string
	// Tags are the tags of the base image that contain this release. Tags of its
	// minor releases, dates and variants begin with one of them.
	Tags []string
	// Suite is the name of the release in the package archive, "" for
	// distributions without suites.
	Suite string
	// PrettyName is a shell pattern for the beginning of PRETTY_NAME in
	// /etc/os-release.
	PrettyName string
	// Python is the version of the python3 package, such as "3.13".
	Python string
}

// distros are the distributions, sorted by name. A test checks that every file can
// be read.
var distros = sync.OnceValue(func() []Distro {
	var distros []Distro
	entries, _ := files.ReadDir("data/distributions")
	for _, f := range entries {
		d := Distro{Name: strings.TrimSuffix(f.Name(), ".conf")}
		content, _ := parse(path.Join("data/distributions", f.Name()))
		for _, h := range content.Headers {
			if h.Name != "distribution" {
				d.Releases = append(d.Releases, DistroRelease{Name: h.Name})
			}
		}
		at, section := -1, "distribution"
		for _, e := range content.Entries {
			if e.Section != section {
				at, section = at+1, e.Section
			}
			if at < 0 {
				*map[string]*string{
					"image":           &d.Image,
					"package_type":    &d.PackageType,
					"package_manager": &d.PackageManager,
				}[e.Key] = e.Value
				continue
			}
			r := &d.Releases[at]
			switch e.Key {
			case "tags":
				r.Tags = strings.Split(e.Value, ",")
			case "suite":
				r.Suite = e.Value
			case "pretty_name":
				r.PrettyName = e.Value
			case "python":
				r.Python = e.Value
			}
		}
		distros = append(distros, d)
	}
	return distros
})

// Distros returns the distributions, sorted by name. Callers must not change them.
func Distros() []Distro { return distros() }

// DistroNames returns the names of the distributions, sorted.
func DistroNames() []string {
	var names []string
	entries, _ := files.ReadDir("data/distributions")
	for _, f := range entries {
		names = append(names, strings.TrimSuffix(f.Name(), ".conf"))
	}
	return names
}

// LookupDistro returns the distribution of that name.
func LookupDistro(name string) (Distro, bool) {
	for _, d := range distros() {
		if d.Name == name {
			return d, true
		}
	}
	return Distro{}, false
}

// Release returns the release for a tag of the base image or a suite: trixie, 13.1,
// bookworm-20250428, 9.5.20241118, 12-slim. A digest after the tag is ignored.
func (d Distro) Release(tag string) (DistroRelease, bool) {
	tag, _, _ = strings.Cut(tag, "@")
	for _, r := range d.Releases {
		for _, t := range r.Tags {
			rest, ok := strings.CutPrefix(tag, t)
			if ok && (rest == "" || rest[0] == '.' || rest[0] == '-') {
				return r, true
			}
		}
	}
	return DistroRelease{}, false
}

// Current reports whether a tag names the current state of the release, not a date or a
// minor release.
func (r DistroRelease) Current(tag string) bool {
	tag = strings.TrimSuffix(tag, "-slim")
	return r.Suite == tag || slices.Contains(r.Tags, tag)
}

// parse reads a data file. An error gives an empty file; tests check that all of them
// can be read.
func parse(name string) (*inifile.File, error) {
	data, err := files.ReadFile(name)
	if err != nil {
		return &inifile.File{}, err
	}
	f, err := inifile.Parse(path.Base(name), data)
	if err != nil {
		return &inifile.File{}, err
	}
	return f, nil
}
