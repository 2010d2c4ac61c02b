package packages

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The types of packages.
const (
	Deb    = "deb"
	RPM    = "rpm"
	Python = "python"
)

// Package is an installed package, or one that can be installed.
type Package struct {
	Type    string `json:"type"` // Deb, RPM or Python
	Name    string `json:"name"` // of Python packages, as PyPI normalizes it
	Version string `json:"version"`
	Arch    string `json:"arch,omitempty"`
}

// String returns the package as its own tools would write it.
func (p Package) String() string {
	switch p.Type {
	case RPM:
		return p.Name + "-" + p.Version + "." + p.Arch
	case Python:
		return p.Name + "==" + p.Version
	}
	return p.Name + "=" + p.Version
}

// compare orders packages by type, name, architecture and version.
func compare(a, b Package) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch),
		CompareVersions(a.Type, a.Version, b.Version), cmp.Compare(a.Version, b.Version))
}

// Change is one package that two images do not have alike.
type Change struct {
	Type string `json:"type"`
	Name string `json:"name"`
	Arch string `json:"arch,omitempty"`
	From string `json:"from,omitempty"` // version, "" if the package was added
	To   string `json:"to,omitempty"`   // version, "" if it was removed
}

// Kind says what happened: "added", "removed" or "changed".
func (c Change) Kind() string {
	switch {
	case c.From == "":
		return "added"
	case c.To == "":
		return "removed"
	}
	return "changed"
}

// String returns the change as people read it: "nova-api 3:26.0-1 → 3:26.1-1".
func (c Change) String() string {
	switch c.Kind() {
	case "added":
		return fmt.Sprintf("%s %s (added)", c.Name, c.To)
	case "removed":
		return fmt.Sprintf("%s %s (removed)", c.Name, c.From)
	}
	return fmt.Sprintf("%s %s → %s", c.Name, c.From, c.To)
}

// Changes lists what differs between two lists of packages, sorted by type and
// name. A package of which several versions are installed, as of kernels, is
// compared version by version.
func Changes(old, new []Package) []Change {
	before, after := group(old), group(new)
	var out []Change
	for id := range before {
		if _, ok := after[id]; !ok {
			after[id] = nil
		}
	}
	for id, now := range after {
		was := without(before[id], now)
		now = without(now, before[id])
		for i := range max(len(was), len(now)) {
			c := Change{Type: id.Type, Name: id.Name, Arch: id.Arch}
			if i < len(was) {
				c.From = was[i]
			}
			if i < len(now) {
				c.To = now[i]
			}
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.From, b.From))
	})
	return out
}

// group returns the versions of each package, sorted; its keys have none.
func group(list []Package) map[Package][]string {
	out := map[Package][]string{}
	for _, p := range list {
		id := Package{Type: p.Type, Name: p.Name, Arch: p.Arch}
		out[id] = append(out[id], p.Version)
	}
	for id, versions := range out {
		slices.SortFunc(versions, func(a, b string) int { return CompareVersions(id.Type, a, b) })
	}
	return out
}

// without returns the versions of a that b does not have.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(v string) bool { return slices.Contains(b, v) })
}

// Summary says changes in few words: the first, and how many more there are.
func Summary(changes []Change) string {
	switch len(changes) {
	case 0:
		return "no package changes"
	case 1:
		return "package " + changes[0].String()
	}
	return fmt.Sprintf("package %s (and %d more)", changes[0], len(changes)-1)
}

// normalName is a Python package's name as PyPI compares names (PEP 503).
func normalName(name string) string {
	return strings.ToLower(strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' }), "-"))
}
