package packages

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Types of packages.
const (
	Deb    = "deb"
	RPM    = "rpm"
	Python = "python"
)

// Package is an installed package, or one that can be installed.
type Package struct {
	Type    string `json:"type"` // Deb, RPM or Python
	Name    string `json:"name"` // a Python package has its normalized name (PEP 503)
	Version string `json:"version"`
	Arch    string `json:"arch,omitempty"`
}

// String returns the package in the notation of its package manager.
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

// Change is a package that differs between two images.
type Change struct {
	Type string `json:"type"`
	Name string `json:"name"`
	Arch string `json:"arch,omitempty"`
	From string `json:"from,omitempty"` // version, "" if the package was added
	To   string `json:"to,omitempty"`   // version, "" if it was removed
}

// Kind returns "added", "removed" or "changed".
func (c Change) Kind() string {
	switch {
	case c.From == "":
		return "added"
	case c.To == "":
		return "removed"
	}
	return "changed"
}

// String formats the change for people: "nova-api 3:26.0-1 → 3:26.1-1".
func (c Change) String() string {
	switch c.Kind() {
	case "added":
		return fmt.Sprintf("%s %s (added)", c.Name, c.To)
	case "removed":
		return fmt.Sprintf("%s %s (removed)", c.Name, c.From)
	}
	return fmt.Sprintf("%s %s → %s", c.Name, c.From, c.To)
}

// Changes returns the differences between two lists of packages, sorted by type and
// name. A package that is installed in several versions, such as a kernel, has a
// change per version.
func Changes(old, new []Package) []Change {
	before, after := versionsByPackage(old), versionsByPackage(new)
	var out []Change
	for id := range before {
		if _, ok := after[id]; !ok {
			after[id] = nil
		}
	}
	for id := range after {
		removed, added := difference(before[id], after[id]), difference(after[id], before[id])
		for i := range max(len(removed), len(added)) {
			c := Change{Type: id.Type, Name: id.Name, Arch: id.Arch}
			if i < len(removed) {
				c.From = removed[i]
			}
			if i < len(added) {
				c.To = added[i]
			}
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch),
			cmp.Compare(a.From, b.From))
	})
	return out
}

// versionsByPackage returns the sorted versions of each package. The keys have no
// version.
func versionsByPackage(list []Package) map[Package][]string {
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

// difference returns the elements of a that are not in b.
func difference(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(v string) bool { return slices.Contains(b, v) })
}

// normalName returns the normalized name of a Python package (PEP 503).
func normalName(name string) string {
	return strings.ToLower(
		strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' }), "-"))
}

// Compare returns the differences between the packages of two images.
func (r *Reader) Compare(ctx context.Context, from, to v1.Image) ([]Change, error) {
	before, err := r.Read(ctx, from)
	if err != nil {
		return nil, err
	}
	after, err := r.Read(ctx, to)
	if err != nil {
		return nil, err
	}
	return Changes(before.Packages, after.Packages), nil
}
