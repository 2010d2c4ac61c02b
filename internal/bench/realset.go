package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// realSet is the quickstart set with the contenders that build it.
type realSet struct {
	b     *bench
	dir   string
	base  string // data directory with the base image in its store
	round int    // number of builds so far, which makes each change unique
	added int    // packages added to base so far
	leaf  int    // changes of the leaf so far

	began map[string]bool // contenders that have built everything
}

// basePackages are small packages; each build of the case "base" adds another one.
var basePackages = []string{"less", "file", "tree", "bc", "time", "rsync", "pv", "ed", "moreutils", "bsdextrautils"}

// unchanged is the name of an override file that changes nothing, and extends is how
// all override files begin.
const (
	unchanged = "unchanged.j2"
	extends   = "{% extends parent_template %}\n"
)

func (s *realSet) contenders(ctx context.Context) []contender {
	contenders := []contender{s.newRealSelf()}
	variants := []realBake{
		{flag: "bake", peer: peerBake},
		{flag: "bake-clamped", peer: peerClamped, clamp: true},
	}
	for _, variant := range variants {
		if !s.b.peers[variant.flag] {
			continue
		}
		if err := variant.init(ctx, s); err != nil {
			s.b.note("%s is left out: %v", variant.peer, err)
		} else {
			contenders = append(contenders, &variant)
		}
	}
	if s.b.peers["kolla"] {
		if c, err := s.newRealKolla(ctx); err != nil {
			s.b.note("%s is left out: %v", peerKolla, err)
		} else {
			contenders = append(contenders, c)
		}
	}
	return contenders
}

// makeBase makes the base image once, so that no measurement includes it.
func (s *realSet) makeBase(ctx context.Context) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	if free, required := freeSpace(s.dir), int64(10e9); s.b.regex == "" && free < required {
		return fmt.Errorf("%s of disk space are free in %s, and %s are needed; -dir names another directory",
			megabytes(free), s.dir, megabytes(required))
	}
	if err := os.WriteFile(filepath.Join(s.dir, unchanged), []byte(extends), 0o644); err != nil {
		return err
	}
	progress("making the base image")
	cmd := exec.Command(s.b.tool, "bootstrap", "--data-dir", s.base, "debian:trixie")
	cmd.Dir = s.dir
	_, err := measure(ctx, cmd)
	return err
}

func freeSpace(dir string) int64 {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}

// change writes the override file of the next build of a case. Changes accumulate,
// so that a build finds all others in its cache.
func (s *realSet) change(c realCase) (string, error) {
	switch c.name {
	case "base":
		if s.added == len(basePackages) {
			return "", fmt.Errorf("no more than %d rounds of this case are possible", len(basePackages))
		}
		s.added++
	case "leaf":
		s.leaf++
	}
	text := extends
	if s.added > 0 {
		text += "{% set base_apt_packages_append = ['" + strings.Join(basePackages[:s.added], "', '") + "'] %}\n"
	}
	if s.leaf > 0 {
		text += fmt.Sprintf("{%% block memcached_footer %%}\nRUN echo %d >/etc/changed\n{%% endblock %%}\n", s.leaf)
	}
	s.round++
	file := filepath.Join(s.dir, fmt.Sprintf("override-%d.j2", s.round))
	return file, os.WriteFile(file, []byte(text), 0o644)
}

// args are the options of kolla-build that all contenders' Dockerfiles are rendered
// with. The selection comes last.
func (s *realSet) args(host, override string) []string {
	args := []string{"-b", "debian", "-t", "binary", "--registry", host, "--tag", "t", "--template-override", override}
	if s.b.regex != "" {
		return append(args, s.b.regex)
	}
	return append(args, "--profile", "quickstart")
}

// rendered renders the set for other programs and returns the directory. The base
// image, which the programs do not make themselves, is named base.
func (s *realSet) rendered(ctx context.Context, host, override, base, out string) (string, error) {
	if err := os.RemoveAll(out); err != nil {
		return "", err
	}
	cmd := exec.Command(s.b.tool, append([]string{"--template-only", "--work-dir", out}, s.args(host, override)...)...)
	cmd.Dir = s.dir
	if _, err := measure(ctx, cmd); err != nil {
		return "", err
	}
	tree := filepath.Join(out, "docker")
	file := filepath.Join(tree, "base", "Dockerfile")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	if first != "FROM debian:trixie" {
		return "", fmt.Errorf("%s begins with %q", file, first)
	}
	return tree, os.WriteFile(file, []byte("FROM "+base+"\n"+rest), 0o644)
}
