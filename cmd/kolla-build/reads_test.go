package main

import (
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/optionuse"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

const modulePath = "github.com/kolla-build/kolla-build/"

// defaultsFrom lists the options whose defaults follow from others: a command that
// reads one of them may declare the others.
var defaultsFrom = map[string]string{
	"base-image":                 "base",
	"base-tag":                   "base openstack-release",
	"base_package_type":          "base",
	"buildkit-addr":              "buildkit-builder",
	"debian-arch":                "base-arch",
	"distro_package_manager":     "base",
	"openstack-branch":           "openstack-release",
	"openstack-branch-slashed":   "openstack-release",
	"openstack-release-codename": "openstack-release",
	"tag":                        "openstack-release base base-tag",
}

// decided lists options that a command's code reads and the command itself sets: registry
// serve --load pushes to the registry that it runs.
var decided = map[string]string{
	"registry": "registry push registry-insecure engine podman_base_url retries",
}

// TestCommandsDeclareWhatTheyRead compares the options that each command declares, and
// that its help, completion and manual page show, with those that its code reads.
func TestCommandsDeclareWhatTheyRead(t *testing.T) {
	testenv.Slow(t) // it type-checks the program
	root := testenv.RepoRoot(t)
	program, err := optionuse.Load(root, modulePath+"pkg/config.Config", []string{"Origin", "IsSet", "Value", "Text"},
		"./cmd/kolla-build", "./pkg/...", "./internal/...", "./dockerfiles", "./profiles")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range table() {
		if c.Hidden {
			continue
		}
		t.Run("command "+c.Name, func(t *testing.T) {
			constructor := c.Name + "Command"
			if c.Name == "" {
				constructor = "buildCommand"
			}
			// Commands that describe all commands do not read their options.
			reads, err := program.Reads(modulePath+"cmd/kolla-build", constructor, "table")
			if err != nil {
				t.Fatal(err)
			}
			place := map[string]string{}
			for name, pos := range reads {
				if o := optionOfField(name); o != nil {
					place[o.Name] = path.Base(path.Dir(pos.Filename)) + "/" + path.Base(pos.Filename)
				}
			}
			for _, name := range slices.Sorted(maps.Keys(place)) {
				if slices.Contains(strings.Fields(decided[c.Name]), name) {
					continue
				}
				if o := config.Lookup(name); !c.Reads(o) && !o.Positional {
					t.Errorf("reads --%s in %s and does not declare it", name, place[name])
				}
			}
			permitted := map[string]bool{}
			for name := range place {
				permitted[name] = true
				for range 2 { // a default of a default
					for n := range permitted {
						for from := range strings.FieldsSeq(defaultsFrom[n]) {
							permitted[from] = true
						}
					}
				}
			}
			for _, o := range config.Options() {
				if !c.Reads(o) || slices.Contains(cli.Everywhere, o.Name) || permitted[o.Name] {
					continue
				}
				if slices.Contains(noteOptions, o.Name) && o.Note != "" && (c.Name == "" || c.Name == "nightly") {
					continue
				}
				t.Errorf("declares --%s and does not read it", o.Name)
			}
			for _, name := range c.Options {
				if o := config.Lookup(name); o == nil || o.Name != name {
					t.Errorf("declares --%s, which does not exist", name)
				}
			}
		})
	}
}

// optionOfField returns the option whose field in Config has that name, or whose name
// it is.
func optionOfField(name string) *config.Option {
	for _, o := range config.Options() {
		if o.Field() == name && name != "" {
			return o
		}
	}
	return config.Lookup(name)
}
