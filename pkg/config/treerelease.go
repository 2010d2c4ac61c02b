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

// deriveRelease returns the release of the template tree if that is Kolla's: each branch of Kolla
// has its release as the default. Other trees are for master, as the built-in one is.
func deriveRelease(r *resolver) (string, error) {
	dir, err := r.string("images-dir")
	if err != nil || dir == "" {
		return facts.Master, err
	}
	for _, pattern := range []string{
		"../kolla/common/config.py", // a checkout of a stable branch: the tree is docker
		"../common/config.py",       // master and its package: the tree is kolla/docker
		"../../../lib/python3*/site-packages/kolla/common/config.py", // an older package: share/kolla/docker
		"../../../lib/python3*/dist-packages/kolla/common/config.py",
	} {
		// A link to the tree leads to the checkout, so Join must not remove "..".
		files, _ := filepath.Glob(globEscape(dir) + "/" + pattern)
		for _, file := range files {
			if release := releaseIn(file); release != "" {
				return release, nil
			}
		}
	}
	return facts.Master, nil
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
