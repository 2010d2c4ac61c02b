package packages

import (
	"context"
	"errors"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/internal/apt"
)

// Source is a repository and its current index.
type Source struct {
	Repository Repository
	Index      *Index
}

// Policy decides which version of a package its package manager would install if
// it were not installed yet: the candidate.
type Policy struct {
	sources []Source
	offers  []map[string][]string // per source: versions by package
	pins    []pin
}

// NewPolicy reads the lists of packages of the sources of an image. Errors are
// *RepositoryError, or the error of ctx.
func NewPolicy(ctx context.Context, c *Contents, sources []Source) (*Policy, error) {
	p := &Policy{sources: sources, pins: aptPins(c.Files)}
	for _, s := range sources {
		offers, err := s.Index.Offers(ctx)
		if err != nil {
			// A disabled repository may no longer exist.
			var re *RepositoryError
			if !s.Repository.Disabled || !errors.As(err, &re) {
				return nil, err
			}
		}
		p.offers = append(p.offers, offers)
	}
	return p, nil
}

// Candidate returns the version that would be installed today in place of an
// installed package, or "" if no repository has one.
func (p *Policy) Candidate(installed Package) string {
	switch installed.Type {
	case Deb:
		return p.aptCandidate(installed.Name)
	case RPM:
		v := p.rpmCandidate(installed.Name, false)
		if v == "" || CompareVersions(RPM, v, installed.Version) < 0 {
			// The package came from a repository that was enabled for one step only.
			if fromDisabled := p.rpmCandidate(installed.Name, true); fromDisabled != "" {
				return fromDisabled
			}
		}
		return v
	}
	return ""
}

// rpmCandidate decides like dnf: the newest version in the repositories with the
// best priority among those that have the package.
func (p *Policy) rpmCandidate(name string, includeDisabled bool) string {
	priority, version := 0, ""
	for i, s := range p.sources {
		r := s.Repository
		if r.Type != RPM || r.Disabled && !includeDisabled {
			continue
		}
		if matchAny(r.Exclude, name) || len(r.Include) > 0 && !matchAny(r.Include, name) {
			continue
		}
		for _, v := range p.offers[i][name] {
			if version == "" || r.Priority < priority || r.Priority == priority && CompareVersions(RPM, v, version) > 0 {
				priority, version = r.Priority, v
			}
		}
	}
	return version
}

// aptCandidate decides like apt for a package that is not installed, see
// apt_preferences(5): the highest priority, then the newest version.
func (p *Policy) aptCandidate(name string) string {
	bestPriority, version := 0, ""
	for i, s := range p.sources {
		if s.Repository.Type != Deb {
			continue
		}
		for _, v := range p.offers[i][name] {
			priority := p.priority(name, v, s)
			if priority < 0 {
				continue
			}
			if version == "" || priority > bestPriority ||
				priority == bestPriority && CompareVersions(Deb, v, version) > 0 {
				bestPriority, version = priority, v
			}
		}
	}
	return version
}

// priority returns the priority of a version from a source: that of a pin for the
// package, else of a pin for all packages, else the default of the archive.
func (p *Policy) priority(name, version string, s Source) int {
	for _, general := range []bool{false, true} {
		for _, pin := range p.pins {
			if pin.general() == general && pin.covers(name) && pin.matches(version, s) {
				return pin.priority
			}
		}
	}
	if s.Index.release["notautomatic"] == "yes" {
		if s.Index.release["butautomaticupgrades"] == "yes" {
			return 100
		}
		return 1
	}
	return 500
}

// pin is a paragraph of apt's preferences.
type pin struct {
	packages []string
	kind     string // release, origin or version
	value    string
	priority int
}

func (p pin) general() bool { return slices.Equal(p.packages, []string{"*"}) }

func (p pin) covers(name string) bool { return matchAny(p.packages, name) }

func (p pin) matches(version string, s Source) bool {
	switch p.kind {
	case "version":
		return glob(p.value, version)
	case "origin":
		if len(s.Repository.URLs) == 0 {
			return false
		}
		u, err := url.Parse(s.Repository.URLs[0])
		return err == nil && glob(strings.Trim(p.value, `"`), u.Hostname())
	case "release":
		rel := s.Index.release
		field := map[string]string{
			"a": rel["suite"],
			"n": rel["codename"],
			"o": rel["origin"],
			"l": rel["label"],
			"v": rel["version"],
		}
		for condition := range strings.SplitSeq(p.value, ",") {
			key, value, hasKey := strings.Cut(strings.TrimSpace(condition), "=")
			value = strings.Trim(value, `"`)
			switch {
			case !hasKey: // "release trixie": a suite or a codename
				if !glob(key, rel["suite"]) && !glob(key, rel["codename"]) {
					return false
				}
			case key == "c":
				if !slices.ContainsFunc(s.Repository.Components, func(c string) bool { return glob(value, c) }) {
					return false
				}
			case !glob(value, field[key]):
				return false
			}
		}
		return true
	}
	return false
}

// aptPins reads the preferences of an image in apt's order: the first match counts.
func aptPins(files map[string]string) []pin {
	var names []string
	for name := range files {
		ext := path.Ext(name)
		if path.Dir(name) == "etc/apt/preferences.d" && (ext == "" || ext == ".pref") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var out []pin
	for _, name := range append([]string{"etc/apt/preferences"}, names...) {
		apt.Paragraphs([]byte(files[name]), []string{"package"}, func(p apt.Paragraph) {
			kind, value, _ := strings.Cut(p["pin"], " ")
			priority, err := strconv.Atoi(p["pin-priority"])
			if err == nil && p["package"] != "" && kind != "" {
				out = append(out, pin{strings.Fields(p["package"]), strings.ToLower(kind), strings.TrimSpace(value), priority})
			}
		})
	}
	return out
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return glob(p, name) })
}

// glob matches like a shell, except that "/" is an ordinary character.
func glob(pattern, s string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x01"), strings.ReplaceAll(s, "/", "\x01"))
	return ok && err == nil
}
