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

// The embedding leaves out files it does not like, such as those that git ignores
// not but a pattern does.
func TestTreeIsWhole(t *testing.T) {
	embedded := map[string]bool{}
	walk(t, func(name, _ string) { embedded[name] = true })
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !strings.HasSuffix(name, ".go") && name != "README.md" && !embedded[filepath.ToSlash(name)] {
			t.Errorf("%s is not embedded", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Users' overrides hold on to block names and on the order of things.
func TestTemplateConventions(t *testing.T) {
	// Upstream names these blocks otherwise than their images.
	blocks := map[string]string{"mariadb-server": "mariadb"}
	parent := regexp.MustCompile(`^FROM \{\{ namespace \}\}/\{\{ image_prefix \}\}([a-z0-9-]+):\{\{ tag \}\}\n`)
	images := map[string]string{}
	walk(t, func(name, content string) {
		if path.Base(name) != "Dockerfile.j2" {
			return
		}
		image := path.Base(path.Dir(name))
		if _, twice := images[image]; twice {
			t.Errorf("there are two images %s", image)
		}
		images[image] = ""
		if match := parent.FindStringSubmatch(content); match != nil {
			images[image] = match[1]
		} else if image != "base" {
			t.Errorf("%s: the first line is not FROM a parent", name)
		}
		block := blocks[image]
		if block == "" {
			block = strings.ReplaceAll(image, "-", "_")
		}
		for _, want := range []string{"{% block labels %}", "{% block " + block + "_header %}", "{% block " + block + "_footer %}",
			`{% import "macros.j2" as macros with context %}`, "{{ macros.kolla_patch_sources() }}"} {
			if strings.Count(content, want) != 1 {
				t.Errorf("%s: %s is not there once", name, want)
			}
		}
		isLeaf := image != "base" && !strings.HasSuffix(image, "-base")
		if strings.Contains(content, "{% block footer %}") != isLeaf {
			t.Errorf("%s: {%% block footer %%} belongs into images that run, and there alone", name)
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
		case strings.HasPrefix(content, "#!/usr/bin/python3"):
			check(name, testenv.Program(t, "python3", "python3"), "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())")
		case strings.HasSuffix(name, ".sh"):
			t.Errorf("%s: does not say who runs it", name)
		}
	})
}

// Debian's packages come from wherever the base image's sources say.
func TestNoDebianMirror(t *testing.T) {
	mirror := regexp.MustCompile(`(?i)\b(deb|ftp\.[a-z]+|security|snapshot|archive)\.debian\.org`)
	walk(t, func(name, content string) {
		if match := mirror.FindString(content); match != "" {
			t.Errorf("%s names the mirror %s", name, match)
		}
	})
}

// A service whose parts all are sourced must not end kolla_start by accident:
// under errexit and nounset an empty environment is survived.
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
