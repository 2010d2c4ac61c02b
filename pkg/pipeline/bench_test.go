package pipeline

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// syntheticTree writes a tree of n images in the shape of Kolla's own: base,
// openstack-base, then services of a base with five images each, every image
// with one COPY and two trivial RUNs.
func syntheticTree(t testing.TB, dir string, n int) {
	t.Helper()
	made := 0
	image := func(path, parent string) string {
		made++
		name := filepath.Base(path)
		from := "{{ namespace }}/{{ image_prefix }}" + parent + ":{{ tag }}"
		if parent == "" {
			from = "{{ base_image }}:{{ base_distro_tag }}"
		}
		d := filepath.Join(dir, path)
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("FROM %s\n{%% block labels %%}\nLABEL maintainer=\"{{ maintainer }}\" name=\"{{ image_name }}\"\n{%% endblock %%}\nCOPY extend_start.sh /usr/local/bin/%s\nRUN echo %s > /var/%s\nRUN echo two >> /var/%s\n{%% block footer %%}{%% endblock %%}\n", from, name, name, name, name)
		if err := os.WriteFile(filepath.Join(d, "Dockerfile.j2"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "extend_start.sh"), []byte("#!/bin/sh\necho "+name+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return name
	}
	base := image("base", "")
	openstack := image("openstack-base", base)
	for svc := 0; made < n; svc++ {
		up := image(fmt.Sprintf("svc%d/svc%d-base", svc, svc), openstack)
		for i := 0; i < 5 && made < n; i++ {
			image(fmt.Sprintf("svc%d/svc%d-part%d", svc, svc, i), up)
		}
	}
}

type benchWorld struct {
	cfg *config.Config
	env Env
}

func newBenchWorld(b *testing.B, images int, extra ...string) *benchWorld {
	b.Helper()
	dir := b.TempDir()
	tree := filepath.Join(dir, "tree")
	syntheticTree(b, tree, images)
	base := filepath.Join(dir, "busybox")
	p, err := layout.Write(base, empty.Index)
	if err != nil {
		b.Fatal(err)
	}
	if err := p.AppendImage(testenv.Busybox(b, nil)); err != nil {
		b.Fatal(err)
	}
	args := append([]string{"-b", "debian", "--images-dir", tree, "--base-image", "oci:" + base, "--tag", "t",
		"--data-dir", filepath.Join(dir, "data"), "--progress", "quiet", "--format", "none", "--quiet"}, extra...)
	cfg, err := config.Load(config.Input{Args: args, Dir: dir, SystemFile: filepath.Join(dir, "none")})
	if err != nil {
		b.Fatal(err)
	}
	return &benchWorld{cfg: cfg, env: Env{Stdout: io.Discard, Stderr: io.Discard}}
}

// BenchmarkSet builds and pushes 187 images to a registry on localhost: cold,
// and again with nothing changed.
func BenchmarkSet(b *testing.B) {
	server, err := registry.Start(registry.ServeOptions{Addr: "127.0.0.1:0", Dir: filepath.Join(b.TempDir(), "registry")})
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
		b.Run(strings.ReplaceAll(fmt.Sprintf("images=%d", n), " ", ""), func(b *testing.B) {
			w := newBenchWorld(b, n)
			b.ReportAllocs()
			for b.Loop() {
				r := &buildRun{cfg: w.cfg, env: w.env}
				if err := r.prepare(b.Context()); err != nil {
					b.Fatal(err)
				}
				r.close()
			}
		})
	}
}
