package render

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// A file that a user names may be endless, or a pipe without a writer.
func TestUserFilesAreBounded(t *testing.T) {
	testenv.Slow(t)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	tree := openTestTree(t, fstest.MapFS{"base/Dockerfile.j2": {Data: []byte("FROM a:1\n")}})
	stop := errors.New("stop")
	for name, read := range map[string]func(ctx context.Context, path string) error{
		"override": func(ctx context.Context, path string) error {
			_, err := Render(ctx, Options{Tree: tree, Config: &config.Config{Base: "debian", TemplateOverride: []string{path}}})
			return err
		},
		"override of lint": func(ctx context.Context, path string) error {
			_, err := Lint(ctx, tree, []string{path})
			return err
		},
		"repositories": func(ctx context.Context, path string) error {
			_, err := Render(ctx, Options{Tree: tree, Config: &config.Config{Base: "debian", ReposYAML: path}})
			return err
		},
		"header": func(ctx context.Context, path string) error {
			_, err := Render(ctx, Options{Tree: tree, Config: &config.Config{Base: "debian", IncludeHeader: path}})
			return err
		},
		"variables": func(ctx context.Context, path string) error {
			_, _, err := RenderFile(ctx, FileOptions{Template: os.DevNull, VarsFile: path})
			return err
		},
	} {
		var large *inputfile.TooLargeError
		if err := read(t.Context(), "/dev/zero"); !errors.As(err, &large) || !strings.Contains(err.Error(), "/dev/zero") {
			t.Errorf("%s: /dev/zero: %v", name, err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error)
		go func() { done <- read(ctx, pipe) }()
		cancel(stop)
		if err := <-done; !errors.Is(err, stop) {
			t.Errorf("%s: a named pipe: %v", name, err)
		}
	}
	large := openTestTree(t, fstest.MapFS{"base/Dockerfile.j2": {Data: []byte("FROM a:1\n" + strings.Repeat("#\n",
		maxText/2))}})
	if _, err := Render(t.Context(), Options{Tree: large, Config: &config.Config{Base: "debian"}}); err == nil ||
		!strings.Contains(err.Error(), "more than") {
		t.Errorf("a large template: %v", err)
	}
}

// A few kilobytes of aliases can stand for billions of keys, and a number of a megabyte takes
// minutes to read.
func TestVariablesAndRepositoriesAreBounded(t *testing.T) {
	testenv.Slow(t)
	keys := func(n int, key string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, key, i)
		}
		return b.String()
	}
	aliases := "  <<: [" + strings.Repeat("*a,", 5000) + "*a]\n"
	for text, want := range map[string]string{
		"a: &a {" + keys(5000, "k%d: x, ") + "}\ndebian:\n" + aliases:                              "keys",
		"debian: &a\n" + keys(5000, "  k%d: {url: x}\n") + keys(5000, "d%d: *a\n"):                 "keys",
		"x:\n  y: &a {" + keys(5000, "k%d: x, ") + "}\n" + "debian:\n" + keys(5000, "  k%d: *a\n"): "keys",
		"x: &a [" + strings.Repeat("*a,", 10) + "]\n":                                              "mapping",
		"#" + strings.Repeat("x", maxYAML):                                                         "larger than 1.0 MiB",
		"debian:\n" + keys(maxRepoKeys/4, "  k%d: {url: x}\n"):                                     "",
	} {
		if _, err := parseRepos("repos.yaml", []byte(text)); want == "" && err != nil || want != "" &&
			(err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("repositories %.60q: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"a: &a {" + keys(5000, "k%d: x, ") + "}\nb:\n" + aliases:                           "too many",
		"a: [" + strings.Repeat("1,", maxValues) + "]":                                     "too many",
		`{"a": [` + strings.Repeat("1,", maxValues) + `1]}`:                                "too many",
		`{"a": ` + strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1) + "}": "too deeply",
		"a: " + strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1):          "too deeply",
		`{"a": ` + strings.Repeat("1", maxNumber+1) + `}`:                                  "4300 characters",
		`{"a": 0.` + strings.Repeat("1", maxNumber) + `}`:                                  "4300 characters",
		`{"a": 1e999999999}`:                            "",
		`{"a": ` + strings.Repeat("1", maxNumber) + `}`: "",
	} {
		if _, err := parseVars("x", []byte(text)); want == "" && err != nil || want != "" &&
			(err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("variables %.60q: %v, want %q", text, err, want)
		}
	}
}

func openTestTree(t *testing.T, files fstest.MapFS) *Tree {
	t.Helper()
	tree, err := OpenTree(TreeOptions{Layers: []Layer{{Name: "test", FS: files}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}
