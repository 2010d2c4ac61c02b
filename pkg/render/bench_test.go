package render

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// kollaConfig is the configuration of "-b BASE" for Kolla's tree.
func kollaConfig(b *testing.B, base string) *config.Config {
	b.Helper()
	c, err := cli.Load(cli.Input{Args: []string{"-b", base}, Dir: b.TempDir(),
		SystemFile: filepath.Join(b.TempDir(), "none"), HostArch: "x86_64"})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func renderAll(b *testing.B, tree *Tree, c *config.Config) {
	b.Helper()
	if _, err := Render(context.Background(), Options{Tree: tree, Config: c, Threads: 1}); err != nil {
		b.Fatal(err)
	}
}

// checkout returns a work tree of openstack/kolla, from KOLLA_CHECKOUT.
func checkout(b testing.TB) string {
	b.Helper()
	dir := os.Getenv("KOLLA_CHECKOUT")
	if dir == "" {
		b.Skip("KOLLA_CHECKOUT does not name a checkout of openstack/kolla")
	}
	return dir
}

// Reads, parses and renders Kolla's tree for one distribution.
func BenchmarkKollaCold(b *testing.B) {
	kolla := checkout(b)
	c := kollaConfig(b, "debian")
	b.ReportAllocs()
	for b.Loop() {
		tree, err := openDirs(b, filepath.Join(kolla, "kolla", "docker"))
		if err != nil {
			b.Fatal(err)
		}
		renderAll(b, tree, c)
	}
}

// Renders a second distribution, with the templates parsed before.
func BenchmarkKollaWarm(b *testing.B) {
	kolla := checkout(b)
	tree, err := openDirs(b, filepath.Join(kolla, "kolla", "docker"))
	if err != nil {
		b.Fatal(err)
	}
	renderAll(b, tree, kollaConfig(b, "debian"))
	c := kollaConfig(b, "rocky")
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		renderAll(b, tree, c)
	}
}
