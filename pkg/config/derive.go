package config

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/facts"
)

// The defaults in this file follow from other options, as in Kolla's config.parse.

func deriveBaseTag(r *resolver) (string, error) {
	base, err := r.string("base")
	if err != nil {
		return "", err
	}
	release, err := r.release()
	return release.BaseTag(base), err
}

func deriveBaseImage(r *resolver) (string, error) {
	base, err := r.string("base")
	if err != nil {
		return "", err
	}
	d, _ := facts.LookupDistro(base)
	return d.Image, nil
}

func deriveDebianArch(r *resolver) (string, error) {
	arch, err := r.string("base-arch")
	if err != nil {
		return "", err
	}
	if arch == "aarch64" {
		return "arm64", nil
	}
	return "amd64", nil
}

func deriveDistro(fact func(facts.Distro) string) func(*resolver) (string, error) {
	return func(r *resolver) (string, error) {
		base, err := r.string("base")
		if err != nil {
			return "", err
		}
		d, _ := facts.LookupDistro(base)
		return fact(d), nil
	}
}

// release returns the OpenStack release that the options name.
func (r *resolver) release() (facts.Release, error) {
	name, err := r.string("openstack-release")
	release, _ := facts.LookupRelease(name)
	return release, err
}

func deriveCodename(r *resolver) (string, error) {
	release, err := r.release()
	return release.Codename, err
}

func deriveBranch(separator string) func(*resolver) (string, error) {
	return func(r *resolver) (string, error) {
		release, err := r.release()
		return strings.ReplaceAll(release.Branch, "-", separator), err
	}
}

func deriveTag(r *resolver) (string, error) {
	var parts []string
	for _, name := range []string{"openstack-release", "base", "base-tag"} {
		part, err := r.string(name)
		if err != nil {
			return "", err
		}
		part, _, _ = strings.Cut(part, "@") // without the digest that pins the base image
		parts = append(parts, part)
	}
	return strings.Join(parts, "-"), nil
}

// derivePushThreads differs from Kolla's default of one, which is due to Docker.
func derivePushThreads(r *resolver) (string, error) {
	v, err := r.value(Lookup("threads"))
	return format(v), err
}

func deriveBuildkitAddr(r *resolver) (string, error) {
	builder, err := r.string("buildkit-builder")
	if err != nil || builder == "" {
		return "", err
	}
	// The name of the container of a builder's first node in buildx.
	return "docker-container://buildx_buildkit_" + builder + "0", nil
}

func deriveDataDir(r *resolver) (string, error) {
	switch {
	case r.root:
		return "/var/lib/kolla-build", nil
	case filepath.IsAbs(r.env["XDG_DATA_HOME"]):
		return filepath.Join(r.env["XDG_DATA_HOME"], "kolla-build"), nil
	case r.env["HOME"] != "":
		return filepath.Join(r.env["HOME"], ".local/share/kolla-build"), nil
	}
	return "", nil // commands that use no data directory work without a home directory
}

var retention = regexp.MustCompile(`^[0-9]+[hdw]?$`)

// keepMeansRetain distinguishes Kolla's switch --keep from a number of sets to keep. 0
// and 1 remain booleans, as in oslo.config.
func keepMeansRetain(value string) string {
	if _, err := parseBool(value); err != nil && retention.MatchString(value) {
		return "retain"
	}
	return ""
}
