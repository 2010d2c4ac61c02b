package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// realKolla is Kolla's own tool with its buildx engine. Its templates are the
// rendered Dockerfiles, so that it builds the same images.
type realKolla struct {
	realBuildx
	dockerHost string
	stopDocker func()
}

func (s *realSet) newRealKolla(ctx context.Context) (*realKolla, error) {
	if s.b.checkout == "" {
		return nil, errors.New("KOLLA_CHECKOUT names no checkout of it")
	}
	options, err := os.ReadFile(filepath.Join(s.b.checkout, "kolla/common/config.py"))
	if err != nil {
		return nil, err
	}
	if !strings.Contains(string(options), "buildkit-builder") {
		return nil, errors.New("this release of it has no buildx engine")
	}
	common, err := s.newRealBuildx(ctx, "kolla")
	if err != nil {
		return nil, err
	}
	k := &realKolla{realBuildx: common}
	return k, k.startDocker()
}

// startDocker starts a Docker daemon, which the tool asks for its version. The builds
// and pushes do not use it.
func (k *realKolla) startDocker() error {
	dir := filepath.Join(k.s.dir, "docker")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	run, err := os.MkdirTemp("", "bench-docker-")
	if err != nil {
		return err
	}
	socket := filepath.Join(run, "d.sock")
	k.dockerHost = "unix://" + socket
	stop, err := background(filepath.Join(dir, "dockerd.log"),
		exec.Command("dockerd", "--host", k.dockerHost, "--data-root", filepath.Join(dir, "data"),
			"--exec-root", filepath.Join(run, "exec"), "--pidfile", filepath.Join(run, "pid"), "--bridge", "none",
			"--iptables=false", "--ip6tables=false"))
	if err != nil {
		os.RemoveAll(run)
		return fmt.Errorf("its tool needs a Docker daemon: %w", err)
	}
	k.stopDocker = func() { stop(); os.RemoveAll(run); os.RemoveAll(dir) }
	for range 300 {
		if exec.Command("curl", "-fsS", "--max-time", "1", "--unix-socket", socket, "http://docker/_ping").Run() == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(dir, "dockerd.log"))
	k.stopDocker()
	k.stopDocker = nil
	return errors.New("its tool needs a Docker daemon, which does not start: " + lastLines(string(log), 1))
}

func (k *realKolla) name() string { return peerKolla }

func (k *realKolla) close() {
	if k.stopDocker != nil {
		k.stopDocker()
		k.stopDocker = nil
	}
	k.realBuildx.close()
}

func (k *realKolla) build(ctx context.Context, override string) (usage, error) {
	tree, err := k.tree(ctx, override)
	if err != nil {
		return usage{}, err
	}
	checkout, err := k.copyTool(tree)
	if err != nil {
		return usage{}, err
	}
	bin, err := k.dockerCommand()
	if err != nil {
		return usage{}, err
	}
	cmd := exec.Command("/usr/bin/python3", "-c", // the one that Debian has modules for
		"import sys; from kolla.cmd.build import main; sys.exit(main())",
		"--base", "debian", "--registry", k.registry.host, "--namespace", "kolla", "--tag", "t", "--push",
		"--engine", "docker", "--buildkit", "--buildkit-builder", builderName, "--work-dir", filepath.Join(k.dir, "work"))
	if err := os.MkdirAll(filepath.Join(k.dir, "work"), 0o755); err != nil {
		return usage{}, err
	}
	cmd.Dir = checkout
	cmd.Env = append(k.environ(), "PYTHONPATH="+checkout, "PBR_VERSION=1.0.0", "DOCKER_HOST="+k.dockerHost,
		"PATH="+bin+":"+os.Getenv("PATH"))
	u, err := k.run(ctx, cmd)
	built := strings.Contains(u.out, "Images that were successfully built") ||
		strings.Contains(u.out, "Successfully built images")
	if err == nil && !built {
		err = fmt.Errorf("it built nothing: %s", lastLines(u.out, 5))
	}
	return u, err
}

// copyTool makes a copy of the tool whose only templates are the Dockerfiles of the
// rendered tree.
func (k *realKolla) copyTool(tree string) (string, error) {
	checkout := filepath.Join(k.dir, "checkout")
	for _, dir := range []string{checkout, filepath.Join(k.dir, "work")} {
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
	}
	if err := os.CopyFS(filepath.Join(checkout, "kolla"), os.DirFS(filepath.Join(k.s.b.checkout, "kolla"))); err != nil {
		return "", err
	}
	templates := filepath.Join(checkout, "kolla", "docker")
	if err := os.RemoveAll(templates); err != nil {
		return "", err
	}
	if err := os.CopyFS(templates, os.DirFS(tree)); err != nil {
		return "", err
	}
	// The rendered Dockerfiles use no source archives, which the tool fetches for images
	// of these names all the same.
	sources := filepath.Join(checkout, "kolla", "common", "sources.py")
	if err := os.WriteFile(sources, []byte("SOURCES = {}\n"), 0o644); err != nil {
		return "", err
	}
	dirs, err := renderedImages(templates)
	if err != nil {
		return "", err
	}
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
		if err != nil {
			return "", err
		}
		template := "{% raw %}" + string(text) + "\n{% endraw %}\n"
		if err := os.WriteFile(filepath.Join(dir, "Dockerfile.j2"), []byte(template), 0o644); err != nil {
			return "", err
		}
	}
	return checkout, nil
}

// dockerCommand makes a directory with a docker command that has nothing but buildx.
func (k *realKolla) dockerCommand() (string, error) {
	bin := filepath.Join(k.dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	return bin, os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\nshift\nexec '"+k.buildx+"' \"$@\"\n"), 0o755)
}
