package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func cores() int { return runtime.NumCPU() }

func lineWith(text, prefix string) string {
	for line := range strings.Lines(text) {
		if i := strings.Index(line, prefix); i >= 0 {
			return strings.TrimSpace(line[i:])
		}
	}
	return ""
}

// buildxModule is built if docker has no buildx: the newest release, which users have
// today.
const buildxModule = "github.com/docker/buildx/cmd/buildx@latest"

// findBuildx returns a buildx that works as a separate program.
func (b *bench) findBuildx(ctx context.Context) (string, error) {
	if b.buildx != "" {
		return b.buildx, nil
	}
	for _, dir := range []string{"/usr/libexec", "/usr/lib"} {
		p := filepath.Join(dir, "docker/cli-plugins/docker-buildx")
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	progress("building buildx from its Go module")
	dir := filepath.Join(b.dir, "buildx")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module scratch\n"), 0o644); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "install", buildxModule)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building buildx: %w\n%s", err, lastLines(string(out), 3))
	}
	return filepath.Join(dir, "buildx"), nil
}

// bake is docker buildx bake with the same rendered Dockerfiles, the same kind of
// buildkitd and the same kind of registry.
type bake struct {
	b       *bench
	w       *world
	buildx  string
	host    string
	stops   []func()
	missing error
}

func (b *bench) newBake(ctx context.Context, w *world) *bake {
	p := &bake{b: b, w: w}
	if p.missing = p.open(ctx); p.missing != nil {
		b.note("%s is left out: %v", peerBake, p.missing)
	} else if v, err := exec.Command(p.buildx, "version").Output(); err == nil {
		b.note("%s is %s, with a remote driver on the same buildkitd; starting that is not in its time, and is in that of "+
			"kolla-build",
			peerBake, strings.Join(strings.Fields(string(v))[:2], " "))
	}
	return p
}

func (p *bake) close() {
	for _, stop := range p.stops {
		stop()
	}
}

// hostNetworkConfig is the configuration of a buildkitd whose steps use the host's network.
const hostNetworkConfig = `[worker.containerd]
  enabled = false
[worker.oci]
  enabled = true
  networkMode = "host"
`

func (p *bake) open(ctx context.Context) (err error) {
	if p.buildx, err = p.b.findBuildx(ctx); err != nil {
		return err
	}
	host, stop, err := p.b.registry(ctx, "registry-bake")
	if err != nil {
		return err
	}
	p.host, p.stops = host, append(p.stops, stop)
	state := filepath.Join(p.b.dir, "bake")
	if err := os.MkdirAll(state, 0o755); err != nil {
		return err
	}
	config := filepath.Join(state, "buildkitd.toml")
	if err := os.WriteFile(config, []byte(hostNetworkConfig), 0o644); err != nil {
		return err
	}
	run, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	p.stops = append(p.stops, func() { os.RemoveAll(run) })
	addr := "unix://" + filepath.Join(run, "b.sock")
	daemon := exec.Command(p.b.buildkitd, "--config", config, "--addr", addr, "--root", state,
		"--otel-socket-path", filepath.Join(run, "otel.sock"))
	stop, err = background(filepath.Join(p.b.dir, "bake-buildkitd.log"), daemon)
	if err != nil {
		return err
	}
	p.stops = append([]func(){stop}, p.stops...)
	if out, err := p.cmd(ctx, "create", "--name", "bench", "--driver", "remote", addr).CombinedOutput(); err != nil {
		return fmt.Errorf("buildx create: %w\n%s", err, out)
	}
	if out, err := p.cmd(ctx, "inspect", "--bootstrap", "bench").CombinedOutput(); err != nil {
		return fmt.Errorf("buildx inspect: %w\n%s", err, out)
	}
	ref, err := name.ParseReference(p.host + "/bench/base:t")
	if err != nil {
		return err
	}
	return remote.Write(ref, p.w.base, remote.WithContext(ctx))
}

func (p *bake) cmd(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.buildx, args...)
	cmd.Env = append(os.Environ(), "BUILDX_CONFIG="+filepath.Join(p.b.dir, "buildx-config"),
		"DOCKER_CONFIG="+filepath.Join(p.b.dir, "docker-config"),
		"BUILDX_BAKE_ENTITLEMENTS_FS=0") // our contexts are outside of the bake file's directory
	return cmd
}

// measure bakes the world as it is, and compares the time with that of kolla-build.
func (p *bake) measure(ctx context.Context, kollaBuildTime time.Duration) string {
	if p.missing != nil {
		return "left out"
	}
	file, err := p.write(ctx)
	if err != nil {
		p.b.note("%s: %v", peerBake, err)
		return "failed"
	}
	u, err := measure(ctx, p.cmd(ctx, "bake", "--builder", "bench", "--progress", "plain", "--push", "--provenance=false",
		"-f", file))
	if err != nil {
		p.b.note("%s: %v", peerBake, err)
		return "failed"
	}
	s := fmt.Sprintf("%s (%.1f times kolla-build)", seconds(u.wall), u.wall.Seconds()/kollaBuildTime.Seconds())
	progress("%s: %s", peerBake, s)
	return s
}

// write renders the world and writes the bake file: a target per image, with the
// target of its parent in place of its FROM.
func (p *bake) write(ctx context.Context) (string, error) {
	out := p.w.path("baked")
	if _, err := measure(ctx, p.w.tool("--template-only", "--work-dir", out, "--registry", p.host)); err != nil {
		return "", err
	}
	type target struct {
		Context    string            `json:"context"`
		Contexts   map[string]string `json:"contexts"`
		Tags       []string          `json:"tags"`
		Dockerfile string            `json:"dockerfile"`
	}
	targets := map[string]target{}
	var all []string
	for _, im := range p.w.images {
		dir := filepath.Join(out, "docker", im.Dir)
		text, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
		if err != nil {
			return "", err
		}
		first, _, _ := strings.Cut(string(text), "\n")
		from, ok := strings.CutPrefix(first, "FROM ")
		if !ok {
			return "", errors.New("no FROM in " + dir)
		}
		contexts := map[string]string{from: "target:" + im.Parent}
		if im.Parent == "" {
			// The name of an OCI layout, which only our program understands.
			contexts = nil
			text = []byte("FROM " + p.host + "/bench/base:t\n" + strings.TrimPrefix(string(text), first+"\n"))
			if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), text, 0o644); err != nil {
				return "", err
			}
		}
		targets[im.Name] = target{Context: dir, Contexts: contexts,
			Tags: []string{p.host + "/kolla/" + im.Name + ":t"}, Dockerfile: "Dockerfile"}
		all = append(all, im.Name)
	}
	data, err := json.Marshal(map[string]any{
		"group":  map[string]any{"default": map[string]any{"targets": all}},
		"target": targets,
	})
	if err != nil {
		return "", err
	}
	file := p.w.path("docker-bake.json")
	return file, os.WriteFile(file, data, 0o644)
}

// kollaRendering measures the rendering of Kolla's tree by the Python tool.
func (b *bench) kollaRendering(ctx context.Context, w *world) error {
	if b.checkout == "" {
		b.note("%s is left out: KOLLA_CHECKOUT names no checkout of it", peerKolla)
		return nil
	}
	python := func() *exec.Cmd {
		cmd := exec.Command("/usr/bin/python3", "-c", // the one that Debian has modules for
			"import sys; from kolla.cmd.build import main; sys.exit(main())",
			"--base", "debian", "--template-only", "--work-dir", w.path("python"))
		cmd.Dir, cmd.Env = b.checkout, append(os.Environ(), "PYTHONPATH="+b.checkout, "PBR_VERSION=1.0.0")
		return cmd
	}
	u, err := measure(ctx, python())
	if err != nil {
		b.note("%s is left out: it does not run here: %s", peerKolla, lastLines(err.Error(), 1))
		return nil
	}
	templates := "docker" // where older releases have them
	if _, err := os.Stat(filepath.Join(b.checkout, "kolla/docker")); err == nil {
		templates = "kolla/docker"
	}
	cmd := exec.Command(b.tool, "-b", "debian", "--images-dir", filepath.Join(b.checkout, templates), "--template-only",
		"--work-dir", w.path("kolla"))
	cmd.Dir = w.dir
	kollaBuild, err := measure(ctx, cmd)
	if err != nil {
		return err
	}
	b.add("rendering Kolla's own tree", "", seconds(kollaBuild.wall)).peers[peerKolla] = seconds(u.wall)
	return nil
}
