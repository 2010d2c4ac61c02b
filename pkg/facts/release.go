package facts

import (
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/kolla-build/kolla-build/internal/inifile"
)

// Master is the name of OpenStack's development branch.
const Master = "master"

// A release has the facts of the next newer one, changed by its own file: an
// empty value removes a key, and an empty type removes a whole source. Images that were
// added later keep their sources, so that newer templates can be built from an older
// release; plugins and additions, which would go into older images, do not. Tests
// compare all facts with Kolla's own branches.

// Names of the sections of a release's file that are not sources.
const (
	releaseSection     = "release"
	baseTagsSection    = "base-tags"
	prettyNamesSection = "pretty-names"
	unbuildablePrefix  = "unbuildable "
	userSuffix         = "-user"
)

// Release is an OpenStack release.
type Release struct {
	Name     string // master or a stable one such as 2025.1
	Codename string // its name in the package archives that Kolla's branch uses
	Branch   string // the branch in the names of source archives, such as stable-2025.1

	newer       string // the next newer release, "" for master
	wholeRepos  string // true or false, "" for the value of the newer release
	baseTags    map[string]string
	prettyNames map[string]string
	unbuildable []*inifile.Entry
	users       []*inifile.Entry
	sources     []*inifile.Entry
}

// releases has a function for each release, which reads its file once. Every start of the
// program needs a release, and few need the old ones, whose files are long.
var releases = sync.OnceValue(func() map[string]func() *Release {
	byName := map[string]func() *Release{}
	entries, _ := files.ReadDir("data/releases")
	for _, f := range entries {
		name := strings.TrimSuffix(f.Name(), ".conf")
		byName[name] = sync.OnceValue(func() *Release { return readRelease(name) })
	}
	return byName
})

func readRelease(name string) *Release {
	r := &Release{Name: name, Branch: stableBranch(name), baseTags: map[string]string{}, prettyNames: map[string]string{}}
	content, _ := parse(path.Join("data/releases", name+".conf"))
	for _, e := range content.Entries {
		image, unbuildable := strings.CutPrefix(e.Section, unbuildablePrefix)
		switch {
		case unbuildable:
			e.Section = image
			r.unbuildable = append(r.unbuildable, e)
		case strings.HasSuffix(e.Section, userSuffix):
			r.users = append(r.users, e)
		case e.Section == baseTagsSection:
			r.baseTags[e.Key] = e.Value
		case e.Section == prettyNamesSection:
			r.prettyNames[e.Key] = e.Value
		case e.Section != releaseSection:
			r.sources = append(r.sources, e)
		case e.Key == "newer":
			r.newer = e.Value
		case e.Key == "whole_repositories":
			r.wholeRepos = e.Value
		case e.Key == "codename":
			r.Codename = e.Value
		case e.Key == "branch":
			r.Branch = e.Value
		}
	}
	return r
}

func stableBranch(release string) string {
	if release == Master {
		return Master
	}
	return "stable-" + release
}

// Releases returns the names of the OpenStack releases that are known, newest first,
// beginning with master.
func Releases() []string {
	names := []string{Master}
	for range releases() {
		for name, read := range releases() {
			if read().newer == names[len(names)-1] {
				names = append(names, name)
				break
			}
		}
	}
	return names
}

// LookupRelease returns the OpenStack release of that name. An unknown one has master's
// facts and the branch name of a stable release.
func LookupRelease(name string) (Release, bool) {
	if read, ok := releases()[name]; ok {
		return *read(), true
	}
	r := *releases()[Master]()
	r.Name, r.Branch = name, stableBranch(name)
	return r, false
}

// chain returns the release and all newer ones, the oldest first.
func (r Release) chain() []*Release {
	byName := releases()
	chain := []*Release{&r}
	for read := byName[r.newer]; read != nil && len(chain) <= len(byName); read = byName[chain[len(chain)-1].newer] {
		chain = append(chain, read())
	}
	return chain
}

// BaseTag returns the default tag of a distribution's base image, "" for an unknown
// distribution.
func (r Release) BaseTag(distro string) string {
	for _, release := range r.chain() {
		if tag := release.baseTags[distro]; tag != "" {
			return tag
		}
	}
	return ""
}

// WholeRepositories reports whether a repository in the release's repos.yaml replaces
// one of a more general section as a whole, and a user's file the default one. Until
// 2025.1 the file has another format; since then fields are merged.
func (r Release) WholeRepositories() bool {
	for _, release := range r.chain() {
		if release.wholeRepos != "" {
			return release.wholeRepos == "true"
		}
	}
	return false
}

// DistroRelease returns the distribution's release that a tag of its base image
// contains. For an unknown tag, such as that of a user's own image, it is the release
// of the default tag.
func (r Release) DistroRelease(distro, tag string) DistroRelease {
	d, _ := LookupDistro(distro)
	if found, ok := d.Release(tag); ok {
		return found
	}
	found, _ := d.Release(r.BaseTag(distro))
	return found
}

// DefaultPrettyName returns the pattern for PRETTY_NAME of the distribution in Kolla's
// branch of the release, which does not depend on the tag.
func (r Release) DefaultPrettyName(distro string) string {
	if p := r.prettyNames[distro]; p != "" {
		return p
	}
	return r.DistroRelease(distro, "").PrettyName
}

// Sources returns the default sources of the release, as assignments of which later
// ones replace earlier ones and an empty value removes one. Removing the type removes
// the section.
func (r Release) Sources() []*inifile.Entry {
	f, _ := parse("data/sources.conf")
	out := slices.Clone(f.Entries)
	for _, release := range slices.Backward(r.chain()) {
		out = append(out, release.sources...)
	}
	return out
}

// Users returns the users, as assignments in sections NAME-user of which later ones
// replace earlier ones. An empty uid, after the ids, marks a user that Kolla's branch of
// the release does not have: one of newer releases or of the built-in images.
func (r Release) Users() []*inifile.Entry {
	kolla, _ := parse("data/users.conf")
	extra, _ := parse("data/users-extra.conf")
	out := slices.Concat(kolla.Entries, extra.Entries)
	for _, h := range extra.Headers {
		out = append(out, &inifile.Entry{File: extra.Path, Section: h.Name, Key: "uid", Line: h.Line})
	}
	for _, release := range slices.Backward(r.chain()) {
		out = append(out, release.users...)
	}
	return out
}
