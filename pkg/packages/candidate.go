package packages

import (
	"context"
	"errors"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Source is a repository with its state.
type Source struct {
	Repository Repository
	Index      *Index
}

// Policy says which version of a package its manager would install, were it
// not installed: the candidate.
type Policy struct {
	sources []Source
	offers  []map[string][]string // by source
	pins    []pin
}

// NewPolicy loads what the sources offer, for an image with such contents.
func NewPolicy(ctx context.Context, c *Contents, sources []Source) (*Policy, error) {
	p := &Policy{sources: sources, pins: aptPins(c.Files)}
	for _, s := range sources {
		o, err := s.Index.Offers(ctx)
		if err != nil {
			// One that is off may be gone as well.
			var re *RepositoryError
			if !s.Repository.Disabled || !errors.As(err, &re) {
				return nil, err
			}
		}
		p.offers = append(p.offers, o)
	}
	return p, nil
}

// Candidate returns the version that would be installed today in place of an
// installed package, "" if no repository has it.
func (p *Policy) Candidate(installed Package) string {
	switch installed.Type {
	case Deb:
		return p.aptCandidate(installed.Name)
	case RPM:
		v := p.rpmCandidate(installed.Name, false)
		if v == "" || CompareVersions(RPM, v, installed.Version) < 0 {
			// It came from a repository that was on for one step.
			if all := p.rpmCandidate(installed.Name, true); all != "" {
				return all
			}
		}
		return v
	}
	return ""
}

// rpmCandidate is dnf's choice: of the repositories with the best priority that
// have the package, the newest.
func (p *Policy) rpmCandidate(name string, disabledToo bool) string {
	best, version := 0, ""
	for i, s := range p.sources {
		r := s.Repository
		if r.Type != RPM || r.Disabled && !disabledToo || matchAny(r.Exclude, name) || len(r.Include) > 0 && !matchAny(r.Include, name) {
			continue
		}
		for _, v := range p.offers[i][name] {
			if version == "" || r.Priority < best || r.Priority == best && CompareVersions(RPM, v, version) > 0 {
				best, version = r.Priority, v
			}
		}
	}
	return version
}

// aptCandidate is apt's choice, as apt_preferences(5) has it for a package that
// is not installed: the highest priority, and then the newest.
func (p *Policy) aptCandidate(name string) string {
	best, version := 0, ""
	for i, s := range p.sources {
		if s.Repository.Type != Deb {
			continue
		}
		for _, v := range p.offers[i][name] {
			prio := p.priority(name, v, s)
			if prio < 0 || version != "" && (prio < best || prio == best && CompareVersions(Deb, v, version) <= 0) {
				continue
			}
			best, version = prio, v
		}
	}
	return version
}

// priority is that of a version from one source: what a pin for the package
// says, else one for all packages, else what the archive wants for itself.
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
		u, err := url.Parse(s.Repository.URLs[0])
		return err == nil && glob(strings.Trim(p.value, `"`), u.Hostname())
	case "release":
		rel := s.Index.release
		field := map[string]string{"a": rel["suite"], "n": rel["codename"], "o": rel["origin"], "l": rel["label"], "v": rel["version"]}
		for _, cond := range strings.Split(p.value, ",") {
			k, v, ok := strings.Cut(strings.TrimSpace(cond), "=")
			v = strings.Trim(v, `"`)
			switch {
			case !ok: // "release trixie" is a suite or a codename
				if !glob(k, rel["suite"]) && !glob(k, rel["codename"]) {
					return false
				}
			case k == "c":
				if !slices.ContainsFunc(s.Repository.Components, func(c string) bool { return glob(v, c) }) {
					return false
				}
			case !glob(v, field[k]):
				return false
			}
		}
		return true
	}
	return false
}

// aptPins reads the preferences of an image, in apt's order: what comes first
// counts.
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
		paragraphs([]byte(files[name]), []string{"package"}, func(p map[string]string) {
			kind, value, _ := strings.Cut(p["pin"], " ")
			n, err := strconv.Atoi(p["pin-priority"])
			if err == nil && p["package"] != "" && kind != "" {
				out = append(out, pin{strings.Fields(p["package"]), strings.ToLower(kind), strings.TrimSpace(value), n})
			}
		})
	}
	return out
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return glob(p, name) })
}

// glob matches as shells do, but for "/", which is nothing special in versions.
func glob(pattern, s string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x01"), strings.ReplaceAll(s, "/", "\x01"))
	return ok && err == nil
}
