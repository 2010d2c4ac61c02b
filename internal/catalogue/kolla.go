package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// kollaType is the type, in images.tsv, of images built from Kolla's own templates.
const kollaType = "kolla"

// kollaImages are the images of Kolla that need only the distribution's packages, as long as
// base does not fetch keys. Kolla installs services from source only.
var kollaImages = []string{"cron", "dnsmasq", "haproxy", "iscsid", "memcached", "multipathd", "openvswitch-vswitchd",
	"ovn-controller", "tgtd"}

// kollaOverride leaves out the keys of third parties, which Kolla's base fetches for
// repositories that its images enable later.
const kollaOverride = `{% extends parent_template %}
{% set base_apt_keys_override = [] %}
{% set base_remote_apt_keys_override = [] %}
`

// prepareKolla copies the templates of a checkout of Kolla to the directory out, with the
// override out/override.j2 and without the instruction of base that enables Debian's extra
// repository of OpenStack, so that kollaImages can be built from the distribution's mirror.
func prepareKolla(checkout, out string) error {
	if checkout == "" || out == "" {
		return errors.New("kolla needs -checkout and -out")
	}
	templates := filepath.Join(checkout, "kolla", "docker")
	if _, err := os.Stat(templates); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is not a checkout of Kolla's master branch: it has no kolla/docker", checkout)
	}
	if err := os.CopyFS(filepath.Join(out, "kolla"), os.DirFS(filepath.Join(checkout, "kolla"))); err != nil {
		return fmt.Errorf("copying the templates: %w", err)
	}
	base := filepath.Join(out, "kolla", "docker", "base", "Dockerfile.j2")
	text, err := os.ReadFile(base)
	if err != nil {
		return err
	}
	if err := os.WriteFile(base, []byte(withoutRun(string(text), "extrepo")), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "override.j2"), []byte(kollaOverride), 0o644)
}

// withoutRun returns a Dockerfile without the RUN instructions that contain a word.
func withoutRun(dockerfile, word string) string {
	var remaining, instruction []string
	for line := range strings.Lines(dockerfile) {
		starts := strings.HasPrefix(line, "RUN ")
		if len(instruction) == 0 && !starts {
			remaining = append(remaining, line)
			continue
		}
		instruction = append(instruction, line)
		if strings.HasSuffix(strings.TrimSpace(line), `\`) {
			continue
		}
		if !slices.ContainsFunc(instruction, func(l string) bool { return strings.Contains(l, word) }) {
			remaining = append(remaining, instruction...)
		}
		instruction = nil
	}
	return strings.Join(append(remaining, instruction...), "")
}
