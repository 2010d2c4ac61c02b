package config

import (
	"slices"
)

// Distro holds the facts about a base distribution. Image, tag and pretty names
// are those that Kolla's master of July 2026 and its stable branches name; Oracle
// Linux is from its releases before 2020, brought up to the present release.
type Distro struct {
	Name           string
	PackageType    string // deb or rpm
	PackageManager string // apt or dnf
	Image          string // default base image, without its tag
	Tag            string // default tag
	Releases       []DistroRelease
}

// DistroRelease is one release of a distribution.
type DistroRelease struct {
	// Tags are the tags of the base image that hold this release.
	Tags []string
	// Suite is the release's name in the package archive, "" for distributions
	// without suites.
	Suite string
	// PrettyName is a shell pattern for the start of PRETTY_NAME in
	// /etc/os-release.
	PrettyName string
}

var distros = []Distro{
	{Name: "centos", PackageType: "rpm", PackageManager: "dnf", Image: "quay.io/centos/centos", Tag: "stream10",
		Releases: []DistroRelease{
			{Tags: []string{"stream10"}, PrettyName: "CentOS Stream 10"},
			{Tags: []string{"stream9"}, PrettyName: "CentOS Stream 9"},
		}},
	{Name: "debian", PackageType: "deb", PackageManager: "apt", Image: "debian", Tag: "trixie",
		Releases: []DistroRelease{
			{Tags: []string{"trixie", "13", "trixie-slim", "13-slim"}, Suite: "trixie", PrettyName: "Debian GNU/Linux 13 (trixie)"},
			{Tags: []string{"bookworm", "12", "bookworm-slim", "12-slim"}, Suite: "bookworm", PrettyName: "Debian GNU/Linux 12 (bookworm)"},
			{Tags: []string{"bullseye", "11", "bullseye-slim", "11-slim"}, Suite: "bullseye", PrettyName: "Debian GNU/Linux 11 (bullseye)"},
		}},
	{Name: "oraclelinux", PackageType: "rpm", PackageManager: "dnf", Image: "oraclelinux", Tag: "10",
		Releases: []DistroRelease{
			{Tags: []string{"10"}, PrettyName: "Oracle Linux Server 10.*"},
			{Tags: []string{"9"}, PrettyName: "Oracle Linux Server 9.*"},
		}},
	{Name: "rocky", PackageType: "rpm", PackageManager: "dnf", Image: "quay.io/rockylinux/rockylinux", Tag: "10",
		Releases: []DistroRelease{
			{Tags: []string{"10"}, PrettyName: "Rocky Linux 10.* (Red Quartz)"},
			{Tags: []string{"9"}, PrettyName: "Rocky Linux 9.* (Blue Onyx)"},
		}},
	{Name: "ubuntu", PackageType: "deb", PackageManager: "apt", Image: "ubuntu", Tag: "24.04",
		Releases: []DistroRelease{
			{Tags: []string{"24.04", "noble"}, Suite: "noble", PrettyName: "Ubuntu 24.04.* LTS"},
			{Tags: []string{"22.04", "jammy"}, Suite: "jammy", PrettyName: "Ubuntu 22.04.* LTS"},
			{Tags: []string{"20.04", "focal"}, Suite: "focal", PrettyName: "Ubuntu 20.04.* LTS"},
		}},
}

// Distros returns the distributions, sorted by name.
func Distros() []Distro { return distros }

// LookupDistro returns the facts about the distribution of that name.
func LookupDistro(name string) (Distro, bool) {
	for _, d := range distros {
		if d.Name == name {
			return d, true
		}
	}
	return Distro{}, false
}

// Release returns the release that a tag of the base image holds, or that a suite
// names. An empty tag and "latest" stand for the default tag.
func (d Distro) Release(tag string) (DistroRelease, bool) {
	if tag == "" || tag == "latest" {
		tag = d.Tag
	}
	for _, r := range d.Releases {
		if r.Suite == tag || slices.Contains(r.Tags, tag) {
			return r, true
		}
	}
	return DistroRelease{}, false
}

// PrettyName returns the pattern for PRETTY_NAME of the release that the tag
// holds; for a tag that is not known, as of an image of the user's own, that of
// the default release. Kolla knows the default release's only.
func (d Distro) PrettyName(tag string) string {
	if r, ok := d.Release(tag); ok {
		return r.PrettyName
	}
	r, _ := d.Release("")
	return r.PrettyName
}

func distroNames() []string {
	var names []string
	for _, d := range distros {
		names = append(names, d.Name)
	}
	return names
}
