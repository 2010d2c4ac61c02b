package packages

import (
	"path"
	"slices"
	"strings"
)

// Repository is a package repository as an image's configuration names it.
type Repository struct {
	Type string `json:"type"`           // Deb or RPM
	Name string `json:"name,omitempty"` // RPM: its id
	// URLs are places of one repository, tried in order: the archive's root
	// for apt, the directory of repodata for rpm.
	URLs []string `json:"urls,omitempty"`
	// List is where an RPM repository's places are named: a mirror list or a
	// metalink.
	List string `json:"list,omitempty"`

	Suite      string   `json:"suite,omitempty"` // apt: a suite, or a directory that ends in "/"
	Components []string `json:"components,omitempty"`
	Arch       string   `json:"arch"` // as its packages have it: amd64, x86_64

	Disabled bool     `json:"disabled,omitempty"` // RPM: steps may enable it for themselves
	Priority int      `json:"priority,omitempty"` // RPM: less is better, 99 is usual
	Exclude  []string `json:"exclude,omitempty"`  // RPM: patterns of names
	Include  []string `json:"include,omitempty"`
}

// String names a repository for people: without user and password.
func (r Repository) String() string {
	at := r.List
	if len(r.URLs) > 0 {
		at = r.URLs[0]
	}
	s := withoutUser(at)
	if r.Suite != "" {
		s += " " + r.Suite
	}
	return s
}

// Repositories returns the repositories that an image is configured for. arch
// is Debian's name of the architecture, such as amd64.
func (c *Contents) Repositories(arch string) []Repository {
	var out []Repository
	names := make([]string, 0, len(c.Files))
	for name := range c.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		dir, ext := path.Dir(name), path.Ext(name)
		switch {
		case name == "etc/apt/sources.list" || dir == "etc/apt/sources.list.d" && ext == ".list":
			out = append(out, aptOneLine(c.Files[name], arch)...)
		case dir == "etc/apt/sources.list.d" && ext == ".sources":
			out = append(out, aptDeb822(c.Files[name], arch)...)
		case dir == "etc/yum.repos.d":
			out = append(out, c.rpmRepositories(c.Files[name], arch)...)
		}
	}
	return out
}

// aptOneLine reads "deb [option=value …] URI SUITE COMPONENT…" lines.
func aptOneLine(text, arch string) []Repository {
	var out []Repository
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || rest == "" || !strings.ContainsAny(rest[:1], " \t[") {
			continue
		}
		rest = strings.TrimSpace(rest)
		arches := ""
		if strings.HasPrefix(rest, "[") {
			options, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				continue
			}
			rest = after
			for _, o := range strings.Fields(options) {
				if k, v, _ := strings.Cut(o, "="); strings.EqualFold(k, "arch") {
					arches = strings.ReplaceAll(v, ",", " ")
				}
			}
		}
		if f := strings.Fields(rest); len(f) >= 2 {
			out = append(out, aptRepositories(f[:1], f[1:2], f[2:], arches, arch)...)
		}
	}
	return out
}

// aptDeb822 reads paragraphs with Types, URIs, Suites and Components.
func aptDeb822(text, arch string) []Repository {
	var out []Repository
	whole := []string{"types", "uris", "suites", "components", "architectures"}
	paragraphs([]byte(text), whole, func(p map[string]string) {
		no := strings.ToLower(p["enabled"])
		if !slices.Contains(strings.Fields(p["types"]), "deb") || no == "no" || no == "false" || no == "0" {
			return
		}
		out = append(out, aptRepositories(strings.Fields(p["uris"]), strings.Fields(p["suites"]), strings.Fields(p["components"]), p["architectures"], arch)...)
	})
	return out
}

func aptRepositories(uris, suites, components []string, arches, arch string) []Repository {
	if arches != "" && !slices.Contains(strings.Fields(arches), arch) {
		return nil
	}
	var out []Repository
	for _, uri := range uris {
		// What lies in the image itself moves with the image alone.
		if strings.HasPrefix(uri, "file:") || strings.HasPrefix(uri, "copy:") || strings.HasPrefix(uri, "cdrom:") {
			continue
		}
		for _, suite := range suites {
			suite = strings.ReplaceAll(suite, "$(ARCH)", arch)
			out = append(out, Repository{Type: Deb, URLs: []string{strings.TrimRight(strings.ReplaceAll(uri, "$(ARCH)", arch), "/")},
				Suite: suite, Components: components, Arch: arch})
		}
	}
	return out
}
