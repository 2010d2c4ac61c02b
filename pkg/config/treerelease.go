package config

import (
	"path/filepath"
	"regexp"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/pkg/facts"
)

// maxKollaConfig is the largest config.py that is read, in bytes. Kolla's has about 20 KiB.
const maxKollaConfig = 1 << 20

var kollaRelease = regexp.MustCompile(`(?m)^OPENSTACK_RELEASE\s*=\s*['"]([\w.-]{1,40})['"]`)

// deriveRelease returns the release of the Kolla that the template tree belongs to, or whose tool the
// program replaces: each branch of Kolla has its own release as the default. Other trees are for
// master, like the built-in one.
func deriveRelease(r *resolver) (string, error) {
	dir, err := r.string("images-dir")
	if err != nil {
		return "", err
	}
	var patterns []string
	if dir != "" {
		// A link to the tree leads to the checkout, so ".." must not be removed from the path.
		patterns = []string{
			globEscape(dir) + "/../kolla/common/config.py", // a checkout of a stable branch: the tree is docker
			globEscape(dir) + "/../common/config.py",       // master and its package: the tree is kolla/docker
		}
		patterns = append(patterns, installed(dir+"/../../..")...) // an older package: share/kolla/docker
	} else if r.program != "" {
		patterns = installed(filepath.Dir(r.program) + "/..")
	}
	for _, pattern := range patterns {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			if release := releaseIn(file); release != "" {
				return release, nil
			}
		}
	}
	return facts.Master, nil
}

// installed returns the patterns of config.py where pip and Debian's Python install Kolla.
func installed(prefix string) []string {
	lib := globEscape(prefix) + "/lib/python3*/"
	return []string{lib + "site-packages/kolla/common/config.py", lib + "dist-packages/kolla/common/config.py"}
}

// releaseIn returns the release in a config.py of Kolla, "" if there is none.
func releaseIn(file string) string {
	b, err := inputfile.ReadRegular(file, maxKollaConfig)
	if err != nil {
		return ""
	}
	if m := kollaRelease.FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return ""
}
