package config

import (
	"io"
	"os"
	"path/filepath"
	"regexp"

	"github.com/kolla-build/kolla-build/pkg/facts"
)

// maxKollaConfig is how much of Kolla's config.py is read, in bytes. Kolla's own has about 20 KiB,
// and the release is near its start.
const maxKollaConfig = 64 << 10

var kollaRelease = regexp.MustCompile(`(?m)^OPENSTACK_RELEASE\s*=\s*['"]([\w.-]{1,40})['"]`)

// deriveRelease returns the release of the Kolla that the template tree belongs to, or in whose place
// the program is: each branch of Kolla has its release as the default. Other trees are for master, as
// the built-in one is.
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
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKollaConfig))
	if err != nil {
		return ""
	}
	if m := kollaRelease.FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return ""
}
