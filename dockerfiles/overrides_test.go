package dockerfiles_test

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/dockerfiles"
)

var update = flag.Bool("update", false, "write testdata/overrides.txt")

var (
	comments     = regexp.MustCompile(`(?s)\{#.*?#\}`)
	blockNames   = regexp.MustCompile(`\{%-?\s*block\s+(\w+)`)
	customizable = regexp.MustCompile(`customizable\(\s*["']([^"']+)["']( \+)?`)
	extended     = regexp.MustCompile(`\{%-?\s*extends "image\.j2"`)
)

// overridable returns what an override of each image of a tree can set: names of blocks,
// and the ends of names of variables (packages for IMAGE_packages_append and so on). A
// name that is put together has an asterisk.
func overridable(t *testing.T, tree fs.FS) map[string][]string {
	t.Helper()
	common := ""
	if text, err := fs.ReadFile(tree, "image.j2"); err == nil {
		macros, err := fs.ReadFile(tree, "macros.j2")
		if err != nil {
			t.Fatal(err)
		}
		common = string(text) + string(macros)
	}
	out := map[string][]string{}
	err := fs.WalkDir(tree, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || path.Base(name) != "Dockerfile.j2" {
			return err
		}
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		text := string(data)
		if extended.MatchString(text) {
			text += common
		}
		text = comments.ReplaceAllString(text, "")
		var names []string
		for _, m := range blockNames.FindAllStringSubmatch(text, -1) {
			names = append(names, "block "+m[1])
		}
		for _, m := range customizable.FindAllStringSubmatch(text, -1) {
			if m[2] != "" {
				m[1] += "*"
			}
			names = append(names, "variable "+m[1])
		}
		slices.Sort(names)
		out[path.Base(path.Dir(name))] = slices.Compact(names)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Names that overrides use do not disappear unnoticed.
func TestOverrideNames(t *testing.T) {
	all := overridable(t, dockerfiles.Tree())
	usual := []string{"block content", "block footer", "block healthcheck_installation", "block image_footer",
		"block image_header", "block install",
		"block labels", "block source_install", "variable apache_packages", "variable build_packages", "variable packages",
		"variable pip_packages"}
	var b strings.Builder
	b.WriteString("# What overrides can set, written by go test ./dockerfiles -run TestOverrideNames -update.\n")
	fmt.Fprintf(&b, "# (usual): %s\n", strings.Join(usual, ", "))
	for _, image := range slices.Sorted(maps.Keys(all)) {
		names := all[image]
		has := func(name string) bool { return slices.Contains(names, name) }
		if !slices.ContainsFunc(usual, func(n string) bool { return !has(n) }) {
			names = append([]string{"(usual)"}, slices.DeleteFunc(slices.Clone(names),
				func(n string) bool { return slices.Contains(usual, n) })...)
		}
		fmt.Fprintf(&b, "%s: %s\n", image, strings.Join(names, ", "))
	}
	const golden = "testdata/overrides.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(b.String(), "\n")
	for _, line := range strings.Split(string(want), "\n") {
		if !slices.Contains(got, line) {
			t.Errorf("this line of %s does not hold any more: %s", golden, line)
		}
	}
	if string(want) != b.String() && !t.Failed() {
		t.Errorf("%s is not up to date: go test ./dockerfiles -run TestOverrideNames -update", golden)
	}
}

// notOurs are names of Kolla's templates that ours do not have, with the reason.
var notOurs = map[string]string{
	"mariadb-base: block mariadb_clustercheck_version": "our own clustercheck is not fetched, so an override would have no effect",
}

// Every block and every variable of Kolla's own templates is in ours, so that overrides
// made for Kolla work: KOLLA_TREE is its directory kolla/docker.
func TestKollaOverrideNames(t *testing.T) {
	tree := os.Getenv("KOLLA_TREE")
	if tree == "" {
		t.Skip("KOLLA_TREE is not set: no template tree of OpenStack Kolla to compare with")
	}
	theirs := overridable(t, os.DirFS(filepath.Clean(tree)))
	if len(theirs) < 150 {
		t.Fatalf("%s has %d images", tree, len(theirs))
	}
	ours := overridable(t, dockerfiles.Tree())
	for _, image := range slices.Sorted(maps.Keys(theirs)) {
		for _, name := range theirs[image] {
			// base has these as one: centos_packages for binary and for source.
			if image == "base" && (name == "variable centos_binary_packages" || name == "variable centos_source_packages") {
				name = "variable centos_*"
			}
			if !slices.Contains(ours[image], name) && notOurs[image+": "+name] == "" {
				t.Errorf("%s: no %s", image, name)
			}
		}
	}
}
