package dockerfiles_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/dockerfiles"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

// walk calls visit with each file of the tree that is not this package's Go.
func walk(t *testing.T, visit func(name, content string)) {
	t.Helper()
	tree := dockerfiles.Tree()
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(name, ".go") {
			return err
		}
		content, err := fs.ReadFile(tree, name)
		if err == nil {
			visit(name, string(content))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The embedded tree must contain all files of the templates.
func TestTreeIsWhole(t *testing.T) {
	embedded := map[string]bool{}
	walk(t, func(name, _ string) { embedded[name] = true })
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && name == "testdata" {
			return filepath.SkipDir
		}
		if err == nil && !entry.IsDir() && !strings.HasSuffix(name, ".go") && name != "README.md" &&
			!embedded[filepath.ToSlash(name)] {
			t.Errorf("%s is not embedded", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// imageNames returns the names of the tree's images, sorted by directory.
func imageNames(t *testing.T) []string {
	t.Helper()
	var names []string
	walk(t, func(name, _ string) {
		if path.Base(name) == "Dockerfile.j2" {
			names = append(names, path.Base(path.Dir(name)))
		}
	})
	return names
}

// A template either extends image.j2 or is written out. Both begin in a way
// that a reader recognizes.
func TestTemplateConventions(t *testing.T) {
	parents := regexp.MustCompile(`\AFROM \{\{ namespace \}\}/\{\{ image_prefix \}\}([a-z0-9-]+):\{\{ tag \}\}|\A\{% extends "image\.j2" %\}\n\n\{% set parent = "([a-z0-9-]+)" %\}\n`)
	images := map[string]string{}
	walk(t, func(name, content string) {
		if path.Base(name) != "Dockerfile.j2" {
			return
		}
		image := path.Base(path.Dir(name))
		if _, duplicate := images[image]; duplicate {
			t.Errorf("there are two images %s", image)
		}
		images[image] = ""
		if match := parents.FindStringSubmatch(content); match != nil {
			images[image] = match[1] + match[2]
		} else if image != "base" {
			t.Errorf(`%s begins neither with FROM a parent nor with {%% extends "image.j2" %%} and {%% set parent = "…" %%}`,
				name)
		}
		if strings.HasPrefix(content, "FROM") && strings.Count(content, "{{ macros.kolla_patch_sources() }}") != 1 {
			t.Errorf("%s: {{ macros.kolla_patch_sources() }} must occur once", name)
		}
	})
	for image, parent := range images {
		if _, ok := images[parent]; !ok && image != "base" {
			t.Errorf("%s: its parent %s is not in the tree", image, parent)
		}
	}
}

func TestScriptsParse(t *testing.T) {
	check := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], append(args[1:], filepath.FromSlash(name))...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	walk(t, func(name, content string) {
		switch {
		case strings.HasPrefix(content, "#!/bin/bash"):
			check(name, "bash", "-n")
		case strings.HasPrefix(content, "#!/bin/sh"):
			check(name, "sh", "-n")
		case strings.HasPrefix(content, "#!/usr/bin/python"):
			check(name, testenv.Program(t, "python3", "python3"), "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())")
		case strings.HasSuffix(name, ".sh"):
			t.Errorf("%s: does not say who runs it", name)
		}
	})
}

// Debian's packages come from the sources of the base image.
func TestNoDebianMirror(t *testing.T) {
	mirror := regexp.MustCompile(`(?i)\b(deb|ftp\.[a-z]+|security|snapshot|archive)\.debian\.org`)
	walk(t, func(name, content string) {
		if match := mirror.FindString(content); match != "" {
			t.Errorf("%s names the mirror %s", name, match)
		}
	})
}

// A service whose scripts are all sourced must not end kolla_start by accident: with
// errexit and nounset they work in an empty environment.
func TestExtendStartLibrary(t *testing.T) {
	lib, err := os.ReadFile("base/extend_start_lib.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := strings.ReplaceAll(string(lib), "/var/log/kolla", dir) + `
set -o errexit -o pipefail -o nounset
export EMPTY=
if kolla_is_set UNSET; then echo "UNSET is set"; exit 1; fi
if ! kolla_is_set EMPTY; then echo "EMPTY is not set"; exit 1; fi
kolla_log_dir nova
chmod 700 "` + dir + `/nova"
kolla_log_dir nova
`
	if out, err := exec.Command("bash", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(filepath.Join(dir, "nova"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the log directory: %v, %v", info, err)
	}
}
