package pipeline

import (
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/synthetic"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

type benchWorld struct {
	cfg *config.Config
	env *console.Console
}

func newBenchWorld(b *testing.B, images int, extra ...string) *benchWorld {
	b.Helper()
	dir := b.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := synthetic.Write(tree, synthetic.Shape(images)); err != nil {
		b.Fatal(err)
	}
	base := filepath.Join(dir, "busybox")
	testenv.Program(b, "busybox", "busybox-static")
	if _, err := synthetic.WriteBase(base); err != nil {
		b.Fatal(err)
	}
	args := append([]string{"-b", "debian", "--images-dir", tree, "--base-image", "oci:" + base, "--tag", "t",
		"--data-dir", filepath.Join(dir, "data"), "--progress", "quiet", "--format", "none", "--quiet", "--engine", "none"},
		extra...)
	cfg, err := cli.Load(cli.Input{Args: args, Dir: dir, SystemFile: filepath.Join(dir, "none")})
	if err != nil {
		b.Fatal(err)
	}
	return &benchWorld{cfg: cfg, env: &console.Console{Stdout: io.Discard, Stderr: io.Discard}}
}

// BenchmarkSet builds and pushes 187 images to a registry on localhost: cold,
// and again with nothing changed.
func BenchmarkSet(b *testing.B) {
	server, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: filepath.Join(b.TempDir(), "registry")})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	w := newBenchWorld(b, 187, "--push", "--registry", server.Addr().String(), "--buildkitd", testenv.Buildkitd(b))
	b.Run("cold", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			if i > 0 {
				b.Skip("cold only once: -benchtime 1x")
			}
			if err := Build(b.Context(), w.cfg, w.env); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("nothing-changed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := Build(b.Context(), w.cfg, w.env); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPlan renders, converts, keys and plans without building.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{187, 1000, 10000} {
		b.Run(fmt.Sprintf("images=%d", n), func(b *testing.B) {
			w := newBenchWorld(b, n)
			b.ReportAllocs()
			for b.Loop() {
				s, rendered, err := open(b.Context(), w.cfg, w.env, runOptions{})
				if err == nil {
					_, err = s.plan(b.Context(), rendered)
				}
				if err != nil {
					b.Fatal(err)
				}
				stages{session: s, rendered: rendered}.close()
			}
		})
	}
}
