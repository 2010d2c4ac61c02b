package lock

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/units"
)

// PackageOf returns the name and version of the package at a URL, by the conventions of
// Debian, RPM and Python.
func PackageOf(location string) (name, version string, ok bool) {
	u, err := url.Parse(location)
	if err != nil {
		return "", "", false
	}
	file := path.Base(u.Path)
	for _, form := range packageForms {
		if m := form.FindStringSubmatch(file); m != nil {
			v, err := url.PathUnescape(m[2]) // Debian escapes the colon of an epoch
			if err != nil {
				v = m[2]
			}
			return m[1], v, true
		}
	}
	return "", "", false
}

var packageForms = []*regexp.Regexp{
	regexp.MustCompile(`^([^_]+)_([^_]+)_[^_]+\.(?:u?deb)$`),
	regexp.MustCompile(`^(.+)-([^-]+-[^-]+)\.[^.-]+\.rpm$`),
	regexp.MustCompile(`^([^-]+)-([^-]+)(?:-[^-]+)+\.whl$`),
	regexp.MustCompile(`^(.+)-([0-9][^-]*)\.(?:tar\.(?:gz|bz2|xz)|tgz|zip)$`),
}

// Change is a difference between two locks.
type Change struct {
	What     string // "base image debian:trixie"
	Old, New string // "" for none
	Images   []string
}

func (c Change) String() string {
	s := "  " + c.What + " "
	switch {
	case c.Old == "":
		s += "added: " + c.New
	case c.New == "":
		s += "removed: " + c.Old
	default:
		s += c.Old + " → " + c.New
	}
	if len(c.Images) > 0 {
		s += " (" + units.List(c.Images, 4) + ")"
	}
	return s
}

// changesBetween returns the differences between an older and a newer lock: base images,
// sources, versions of packages, and other files.
func changesBetween(older, newer *Lock) []Change {
	var out []Change
	out = append(out, compare("base image", basesOf(older), basesOf(newer))...)
	out = append(out, compare("source", sourcesOf(older), sourcesOf(newer))...)
	oldPackages, oldFiles := packagesOf(older)
	newPackages, newFiles := packagesOf(newer)
	out = append(out, compare("package", oldPackages, newPackages)...)
	out = append(out, compare("file", oldFiles, newFiles)...)
	if older.Compatibility != newer.Compatibility {
		out = append(out, Change{
			What: "compatibility-version",
			Old:  fmt.Sprint(older.Compatibility),
			New:  fmt.Sprint(newer.Compatibility),
		})
	}
	return out
}

// Summary returns the changes between two locks as lines.
func Summary(older, newer *Lock) []string {
	changes := changesBetween(older, newer)
	if len(changes) == 0 {
		return []string{"no input changed"}
	}
	lines := []string{units.Count(len(changes), "input") + " changed:"}
	for _, c := range changes {
		lines = append(lines, c.String())
	}
	return lines
}

// versioned is something with versions and the images that use it.
type versioned struct {
	versions []string
	digests  []string
	images   []string
}

func compare(kind string, older, newer map[string]versioned) []Change {
	names := map[string]bool{}
	for _, m := range []map[string]versioned{older, newer} {
		for name := range m {
			names[name] = true
		}
	}
	var out []Change
	for name := range names {
		o, n := older[name], newer[name]
		c := Change{
			What:   kind + " " + name,
			Old:    strings.Join(o.versions, ", "),
			New:    strings.Join(n.versions, ", "),
			Images: n.images,
		}
		if c.New == "" {
			c.Images = o.images
		}
		if c.Old == c.New && !slices.Equal(o.digests, n.digests) {
			// A file that was replaced under its name.
			c.Old, c.New = strings.Join(append(o.versions, o.digests...), " "), strings.Join(append(n.versions, n.digests...),
				" ")
		}
		if c.Old != c.New {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Change) int { return cmp.Compare(a.What, b.What) })
	return out
}

func (v *versioned) add(version, hex string, images []string) {
	v.versions, v.digests, v.images = union(v.versions, version), union(v.digests, short(hex)), union(v.images, images...)
}

// union returns the sorted elements of both, each once.
func union(list []string, others ...string) []string {
	list = append(list, others...)
	slices.Sort(list)
	return slices.Compact(list)
}

func basesOf(l *Lock) map[string]versioned {
	out := map[string]versioned{}
	for _, b := range l.Bases {
		v := out[b.Name+" "+b.Platform]
		v.add(short(b.Digest.Encoded()), b.Digest.Encoded(), nil)
		out[b.Name+" "+b.Platform] = v
	}
	return out
}

func sourcesOf(l *Lock) map[string]versioned {
	out := map[string]versioned{}
	for _, s := range l.Sources {
		v := out[s.Section]
		v.add(path.Base(s.Location)+" "+strings.TrimSpace(s.Reference+" "+short(cmp.Or(s.Commit, s.Digest.Encoded()))),
			s.Digest.Encoded(), nil)
		out[s.Section] = v
	}
	return out
}

// packagesOf returns the packages among the files, and the other files.
func packagesOf(l *Lock) (packages, files map[string]versioned) {
	packages, files = map[string]versioned{}, map[string]versioned{}
	for _, f := range l.Files {
		name, version, ok := PackageOf(f.URL)
		in := packages
		if !ok {
			// Indexes are often named after their digest.
			in, name, version = files, f.URL, short(f.Digest.Encoded())
			if i := strings.Index(f.URL, "/by-hash/"); i >= 0 {
				name = f.URL[:i] + "/by-hash"
			}
		}
		v := in[name]
		v.add(version, f.Digest.Encoded(), f.Images)
		in[name] = v
	}
	return packages, files
}

func short(hex string) string { return hex[:min(12, len(hex))] }
