package packages

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/apt"
	"github.com/kolla-build/kolla-build/internal/redact"
)

// Repository is a package repository in the configuration of an image.
type Repository struct {
	Type string `json:"type"`           // Deb or RPM
	Name string `json:"name,omitempty"` // RPM: the ID
	// URLs are locations of the same repository, in the order in which they are
	// tried: the root of the archive for apt, the parent of repodata for rpm.
	URLs []string `json:"urls,omitempty"`
	// List is the URL of a mirror list or metalink, from which the locations of an
	// RPM repository come if URLs is empty.
	List string `json:"list,omitempty"`

	Suite      string   `json:"suite,omitempty"` // apt: a suite, or a directory that ends in "/"
	Components []string `json:"components,omitempty"`
	Arch       string   `json:"arch"` // in the notation of its packages: amd64, x86_64

	Disabled bool     `json:"disabled,omitempty"` // RPM: a step may enable it for itself
	Priority int      `json:"priority,omitempty"` // RPM: lower is better, 99 is the default
	Exclude  []string `json:"exclude,omitempty"`  // RPM: patterns of package names
	Include  []string `json:"include,omitempty"`
}

// String names the repository for people, without credentials.
func (r Repository) String() string {
	at := r.List
	if len(r.URLs) > 0 {
		at = r.URLs[0]
	}
	s := redact.Variable("", at) // the query of a mirror list is not secret
	if r.Suite != "" {
		s += " " + r.Suite
	}
	return s
}

// Repositories returns the repositories that an image is configured for. arch is
// the Debian name of the architecture, such as amd64.
func (c *Contents) Repositories(arch string) []Repository {
	var out []Repository
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		switch {
		case apt.IsSourcesFile(name):
			for _, s := range apt.ParseSources(name, c.Files[name]) {
				out = append(out, aptRepositories(s, arch)...)
			}
		case path.Dir(name) == "etc/yum.repos.d":
			out = append(out, c.rpmRepositories(c.Files[name], arch)...)
		}
	}
	return out
}

func aptRepositories(s apt.Source, arch string) []Repository {
	if len(s.Architectures) > 0 && !slices.Contains(s.Architectures, arch) {
		return nil
	}
	var out []Repository
	for _, uri := range s.URIs {
		// A repository within the image changes only together with the image.
		if strings.HasPrefix(uri, "file:") || strings.HasPrefix(uri, "copy:") || strings.HasPrefix(uri, "cdrom:") {
			continue
		}
		for _, suite := range s.Suites {
			out = append(out, Repository{
				Type:       Deb,
				URLs:       []string{strings.TrimRight(strings.ReplaceAll(uri, "$(ARCH)", arch), "/")},
				Suite:      strings.ReplaceAll(suite, "$(ARCH)", arch),
				Components: s.Components,
				Arch:       arch,
			})
		}
	}
	return out
}
