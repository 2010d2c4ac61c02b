package config

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
)

//go:embed data/unbuildable.conf
var unbuildableFile []byte

// Target is what decides whether an image can be built.
type Target struct {
	Base        string // the distribution's name
	Release     string // its release, see ReleaseName
	Arch        string // x86_64 or aarch64
	InstallType string // binary or source
}

// Target returns what the configuration builds for.
func (c *Config) Target() Target {
	return Target{Base: c.Base, Release: ReleaseName(c.Base, c.BaseTag), Arch: c.BaseArch, InstallType: c.InstallType}
}

// ReleaseName returns the short name of the release that a tag of a
// distribution's base image holds: its suite ("trixie", "noble") or, for the
// RHEL family, "el" and its major version ("el10"). An unknown tag, as of a
// user's own image, has the default release.
func ReleaseName(base, tag string) string {
	d, _ := LookupDistro(base)
	r, ok := d.Release(tag)
	if !ok {
		r, _ = d.Release("")
	}
	if r.Suite != "" || len(r.Tags) == 0 {
		return r.Suite
	}
	return "el" + strings.TrimPrefix(r.Tags[0], "stream")
}

// holds reports whether all words of a condition such as "deb+binary" hold.
func (t Target) holds(condition string) bool {
	d, _ := LookupDistro(t.Base)
	is := []string{"any", t.Base, d.PackageType, t.Release, t.Arch, t.InstallType}
	for word := range strings.SplitSeq(condition, "+") {
		if !slices.Contains(is, word) {
			return false
		}
	}
	return true
}

// unbuildable holds the marks of data/unbuildable.conf. A test holds the file to
// be well-formed.
var unbuildable = sync.OnceValue(func() []*entry {
	ini, err := parseINI("unbuildable.conf", unbuildableFile)
	if err != nil {
		return nil
	}
	return ini.entries
})

// Unbuildable returns the images that cannot be built for t, with the reason.
// Their descendants cannot be built either and are not listed.
func Unbuildable(t Target) map[string]string {
	images := map[string]string{}
	for _, e := range unbuildable() {
		if _, ok := images[e.section]; !ok && t.holds(e.key) {
			images[e.section] = e.value
		}
	}
	return images
}
