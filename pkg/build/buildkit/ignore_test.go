package buildkit

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/moby/buildkit/client"
	"github.com/tonistiigi/fsutil"
)

// TestIgnoreAsDockerDoes builds COPY . with BuildKit's own Dockerfile frontend and
// client, as docker build does, and compares the copied files with those that Ignore
// keeps.
func TestIgnoreAsDockerDoes(t *testing.T) {
	w := newWorld(t, t.TempDir())
	tree := []string{"Dockerfile", "README.md", "secret.key", "a/secret.key", "a/b/secret.key",
		"a/b/keep.txt", "a/b/c/deep.md",
		"docs/one.md", "docs/two.txt", "docs/empty/", "vendor/x/y", "vendor/keep/z", "space in name",
		"été/naïve.key", "#hash", "x[1]"}
	for _, tt := range []struct{ name, ignore string }{
		{"nothing", ""},
		{"comments and blanks", "# *.md\n\n   \n  README.md  \n"},
		{"top level only", "*.key\n"},
		{"any depth", "**/*.key\n"},
		{"leading slash and dot", "/a\n./docs\n"},
		{"exceptions", "*\n!a/b/keep.txt\n!docs\n"},
		{"exception of a wildcard", "**\n!**/*.md\n"},
		{"later patterns win", "docs\n!docs/*.md\ndocs/one.md\n"},
		{"an exception in an ignored directory", "vendor\n!vendor/keep\n"},
		{"question mark and class", "docs/tw?.txt\n[R]EADME.md\nx\\[1\\]\n"},
		{"names with spaces and accents", "space in name\nété\n"},
		{"the hash", "\\#hash\n"},
		{"byte order mark", "\xef\xbb\xbfREADME.md\nvendor\n"},
		{"carriage returns", "README.md\r\nvendor\r\n"},
		{"itself", ".dockerignore\nDockerfile\n"},
		{"all", "*\n"},
		{"parent directory", "docs/../README.md\n../x\n"},
	} {
		dir := t.TempDir()
		names := writeTree(t, dir, append(tree, ".dockerignore"))
		if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY . /\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ".dockerignore"), []byte(tt.ignore), 0o644); err != nil {
			t.Fatal(err)
		}
		ignore, err := dockerfile.ParseIgnore(".dockerignore", []byte(tt.ignore))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var got []string
		for name := range ignore.Kept(names) {
			got = append(got, name)
		}
		slices.Sort(got)
		if want := copiedByDocker(t, w, dir); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, got, want)
		}
	}
}

// writeTree writes empty files, and directories for names that end with a slash, and
// returns all paths.
func writeTree(t *testing.T, dir string, names []string) []string {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			path = filepath.Join(path, "x")
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "/") {
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return walk(t, dir)
}

// walk returns the paths in a directory, sorted.
func walk(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); rel != "." {
			names = append(names, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// copiedByDocker builds a Dockerfile with the frontend in the daemon.
func copiedByDocker(t *testing.T, w *world, dir string) []string {
	t.Helper()
	local, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	_, err = w.b.client.Solve(t.Context(), nil, client.SolveOpt{
		Frontend:    "dockerfile.v0",
		LocalMounts: map[string]fsutil.FS{"context": local, "dockerfile": local},
		Exports:     []client.ExportEntry{{Type: client.ExporterLocal, OutputDir: out}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return walk(t, out)
}
