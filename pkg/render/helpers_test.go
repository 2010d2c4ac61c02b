package render

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// unpack writes a txtar archive to a new directory and returns its path. A file
// whose content is "-> TARGET" becomes a symbolic link.
func unpack(t testing.TB, archive string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(archive)).Files {
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(string(f.Data), "-> "); ok {
			if err := os.Symlink(strings.TrimSpace(target), name); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// openDirs opens directories as a tree, with the repositories of someRepos.
func openDirs(t testing.TB, dirs ...string) (*Tree, error) {
	t.Helper()
	o := TreeOptions{Repos: []byte(someRepos)}
	for _, d := range dirs {
		l, err := DirLayer(d)
		if err != nil {
			return nil, err
		}
		o.Layers = append(o.Layers, l)
	}
	tree, err := OpenTree(o)
	if err == nil {
		t.Cleanup(func() {
			if err := tree.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return tree, err
}

// mustOpen opens the parts of a txtar archive as one tree.
func mustOpen(t testing.TB, archive string) *Tree {
	t.Helper()
	tree, err := openDirs(t, unpack(t, archive))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// testConfig is the configuration of "-b debian" on an amd64 machine, as far as
// templates read it.
func testConfig() *config.Config {
	return &config.Config{
		Base: "debian", BaseImage: "debian", BaseTag: "bookworm", BaseArch: "x86_64", DebianArch: "amd64",
		BasePackageType: "deb", DistroPackageManager: "apt", InstallType: "binary",
		Namespace: "kolla", Tag: "t", Maintainer: "me", CleanPackageCache: true, UseDumbInit: true,
		OpenstackRelease: "master", OpenstackReleaseCodename: "Gazpacho",
		Users: map[string]config.User{"nova": {UID: 42436, GID: 42436, Group: "nova"}},
	}
}

// renderOne renders a template as the image "nova-api" and returns the result
// or "error: " and the message.
func renderOne(t testing.TB, template string, change func(*config.Config)) string {
	t.Helper()
	tree := mustOpen(t, "-- nova/nova-api/Dockerfile.j2 --\n"+template)
	c := testConfig()
	if change != nil {
		change(c)
	}
	out, err := Render(context.Background(), Options{Tree: tree, Config: c,
		Env: map[string]string{"HOME": "/h"}, Version: "1.2"})
	if err != nil {
		return "error: " + err.Error()
	}
	return string(out[0].Content)
}
