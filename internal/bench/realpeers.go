package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// realBuildx is shared by the tools that build with buildx: a builder with the remote driver,
// which uses the same buildkitd as kolla-build, and a registry with the base image.
type realBuildx struct {
	s        *realSet
	dir      string
	buildx   string
	registry *realRegistry
}

const builderName = "bench"

func (s *realSet) newRealBuildx(ctx context.Context, dir string) (realBuildx, error) {
	p := realBuildx{s: s, dir: filepath.Join(s.dir, dir)}
	var err error
	if p.buildx, err = s.b.findBuildx(ctx); err != nil {
		return p, err
	}
	if s.b.buildx == "" {
		s.b.buildx = p.buildx // it is built once
		if v, err := exec.Command(p.buildx, "version").Output(); err == nil {
			s.b.note("buildx is %s, with a remote driver on the same buildkitd; "+
				"starting and stopping that is not in the time of %s and %s, and is in that of kolla-build",
				strings.Join(strings.Fields(string(v))[:2], " "), peerBake, peerKolla)
		}
	}
	return p, nil
}

func (p *realBuildx) close() { p.clear() }

func (p *realBuildx) clear() {
	if p.registry != nil {
		p.registry.stop()
	}
	os.RemoveAll(p.dir)
}

func (p *realBuildx) pushed() (int64, error) { return p.registry.size() }

func (p *realBuildx) reset(ctx context.Context) error {
	p.clear()
	if err := os.MkdirAll(filepath.Join(p.dir, "state"), 0o755); err != nil {
		return err
	}
	var err error
	p.registry, err = p.s.newRegistry(ctx, p.dir)
	return err
}

// environ is the environment of buildx.
func (p *realBuildx) environ() []string {
	return append(os.Environ(), "BUILDX_CONFIG="+filepath.Join(p.dir, "buildx-config"),
		"DOCKER_CONFIG="+filepath.Join(p.dir, "docker-config"),
		"BUILDX_BUILDER="+builderName,
		"BUILDX_BAKE_ENTITLEMENTS_FS=0") // our contexts are outside of the bake file's directory
}

// run measures a program that builds with the builder. The time does not include the
// start and end of the builder; the CPU time includes the builder and its steps.
func (p *realBuildx) run(ctx context.Context, cmd *exec.Cmd) (usage, error) {
	d, err := startBuilder(p.s.b.buildkitd, p.dir)
	if err != nil {
		return usage{}, err
	}
	defer d.stop()
	if _, err := os.Stat(filepath.Join(p.dir, "buildx-config")); err != nil {
		create := exec.CommandContext(ctx, p.buildx, "create", "--name", builderName, "--driver", "remote", d.addr)
		create.Env = p.environ()
		if out, err := create.CombinedOutput(); err != nil {
			return usage{}, fmt.Errorf("buildx create: %w\n%s", err, out)
		}
	}
	inspect := exec.CommandContext(ctx, p.buildx, "inspect", "--bootstrap", builderName)
	inspect.Env = p.environ()
	if out, err := inspect.CombinedOutput(); err != nil {
		return usage{}, fmt.Errorf("buildx inspect: %w\n%s", err, out)
	}
	stop := watchBuilder(filepath.Join(p.dir, "state"))
	u, err := measure(ctx, cmd)
	u.builderPeak = stop()
	if cmd.ProcessState != nil {
		u.total = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	u.total += d.stop()
	return u, err
}

// builderDaemon is a buildkitd.
type builderDaemon struct {
	addr string
	cmd  *exec.Cmd
	run  string
}

func startBuilder(buildkitd, dir string) (*builderDaemon, error) {
	config := filepath.Join(dir, "buildkitd.toml")
	// Kolla's tool builds with --network host, which must be allowed.
	settings := "insecure-entitlements = [\"network.host\"]\n" + hostNetworkConfig
	if err := os.WriteFile(config, []byte(settings), 0o644); err != nil {
		return nil, err
	}
	d := &builderDaemon{run: filepath.Join(os.TempDir(), fmt.Sprintf("bench-%d", os.Getpid()))}
	if err := os.MkdirAll(d.run, 0o700); err != nil {
		return nil, err
	}
	d.addr = "unix://" + filepath.Join(d.run, "b.sock")
	log, err := os.Create(filepath.Join(dir, "buildkitd.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.cmd = exec.Command(buildkitd, "--config", config, "--addr", d.addr, "--root", filepath.Join(dir, "state"),
		"--otel-socket-path", filepath.Join(d.run, "otel.sock"))
	d.cmd.Stdout, d.cmd.Stderr = log, log
	return d, d.cmd.Start()
}

// stop stops the daemon and returns the CPU time of it and of the steps that it ran.
func (d *builderDaemon) stop() time.Duration {
	if d.cmd.ProcessState == nil {
		_ = d.cmd.Process.Signal(os.Interrupt)
		_ = d.cmd.Wait()
		os.RemoveAll(d.run)
	}
	if d.cmd.ProcessState == nil {
		return 0
	}
	return d.cmd.ProcessState.UserTime() + d.cmd.ProcessState.SystemTime()
}

// tree renders the set with an override, "" for none, and returns its directory.
func (p *realBuildx) tree(ctx context.Context, override string) (string, error) {
	return p.s.rendered(ctx, p.registry.host, override, p.registry.baseName(), filepath.Join(p.dir, "rendered"))
}

// realBake is docker buildx bake with a target for each image, the target of the
// parent in place of its FROM.
type realBake struct {
	realBuildx
	flag, peer string // its names in -peers and in the table
	clamp      bool   // the builder rewrites the times of files, so that images are reproducible
}

func (p *realBake) init(ctx context.Context, s *realSet) (err error) {
	p.realBuildx, err = s.newRealBuildx(ctx, p.flag)
	return err
}

func (p *realBake) name() string { return p.peer }

func (p *realBake) build(ctx context.Context, override string) (usage, error) {
	tree, err := p.tree(ctx, override)
	if err != nil {
		return usage{}, err
	}
	file, err := p.bakeFile(tree)
	if err != nil {
		return usage{}, err
	}
	args := []string{"bake", "--progress", "plain", "--provenance=false", "-f", file}
	env := p.environ()
	if p.clamp {
		args = append(args, "--set", "*.output=type=image,push=true,rewrite-timestamp=true")
		env = append(env, "SOURCE_DATE_EPOCH=1700000000")
	} else {
		args = append(args, "--push")
	}
	cmd := exec.Command(p.buildx, args...)
	cmd.Env, cmd.Dir = env, p.dir
	return p.run(ctx, cmd)
}

func (p *realBake) bakeFile(tree string) (string, error) {
	type target struct {
		Context    string            `json:"context"`
		Contexts   map[string]string `json:"contexts,omitempty"`
		Args       map[string]string `json:"args,omitempty"`
		Tags       []string          `json:"tags"`
		Dockerfile string            `json:"dockerfile"`
	}
	targets := map[string]target{}
	var images []string
	dirs, err := renderedImages(tree)
	if err != nil {
		return "", err
	}
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
		if err != nil {
			return "", err
		}
		first, _, _ := strings.Cut(string(text), "\n")
		from := strings.TrimPrefix(first, "FROM ")
		contexts := map[string]string{}
		if parent, ok := strings.CutPrefix(from, p.registry.host+"/kolla/"); ok && from != p.registry.baseName() {
			contexts[from] = "target:" + strings.TrimSuffix(parent, ":t")
		}
		image := filepath.Base(dir)
		targets[image] = target{
			Context:    dir,
			Contexts:   contexts,
			Args:       proxyArgs(),
			Tags:       []string{p.registry.host + "/kolla/" + image + ":t"},
			Dockerfile: "Dockerfile",
		}
		images = append(images, image)
	}
	data, err := json.Marshal(map[string]any{
		"group":  map[string]any{"default": map[string]any{"targets": images}},
		"target": targets,
	})
	if err != nil {
		return "", err
	}
	file := filepath.Join(p.dir, "docker-bake.json")
	return file, os.WriteFile(file, data, 0o644)
}

// renderedImages returns the directories of a rendered tree with a Dockerfile.
func renderedImages(tree string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(tree, "*", "Dockerfile"))
	if err != nil {
		return nil, err
	}
	nested, err := filepath.Glob(filepath.Join(tree, "*", "*", "Dockerfile"))
	if err != nil {
		return nil, err
	}
	files = append(files, nested...)
	if len(files) == 0 {
		return nil, errors.New("no Dockerfiles in " + tree)
	}
	for i, f := range files {
		files[i] = filepath.Dir(f)
	}
	return files, nil
}

// proxyArgs are the proxy variables of the environment, which this program and
// Kolla's pass to the steps.
func proxyArgs() map[string]string {
	args := map[string]string{}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		if v := os.Getenv(name); v != "" {
			args[name] = v
		}
	}
	return args
}
