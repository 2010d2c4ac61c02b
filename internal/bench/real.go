package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// realCase is a build of the quickstart set, whose images install real Debian
// packages, after a change.
type realCase struct {
	name, what string
	target     string
	fresh      bool // no caches, and no image of the set in the registry
}

var realCases = []realCase{
	{name: "cold", what: "everything new", target: "0.6 of bake, 0.45 of Kolla", fresh: true},
	{name: "base", what: "one package more in base, everything rebuilt", target: "0.6 of bake, 0.45 of Kolla"},
	{name: "leaf", what: "one leaf changed (memcached)", target: "its own steps + 1 s"},
}

// basePackages are small packages; each build of the case "base" adds another one.
var basePackages = []string{"less", "file", "tree", "bc", "time", "rsync", "pv", "ed", "moreutils", "bsdextrautils"}

// contender is a program that builds and pushes the quickstart set.
type contender interface {
	name() string

	// reset removes what earlier builds have left: caches, images, the registry's
	// content.
	reset(ctx context.Context) error

	// build builds and pushes the set. The usage does not include work for the program,
	// such as rendering for programs that cannot render.
	build(ctx context.Context, override string) (usage, error)

	// pushed returns the bytes of all layers, configs and manifests in the registry.
	pushed() (int64, error)

	// clear removes the files of reset and of builds.
	clear()

	close()
}

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

// real measures builds of the quickstart set by this program, docker buildx bake
// and Kolla's own tool, taking turns.
func (b *bench) real(ctx context.Context) error {
	s := &realSet{
		b:     b,
		began: map[string]bool{},
		dir:   filepath.Join(b.dir, "real"),
		base:  filepath.Join(b.dir, "real", "base"),
	}
	if err := s.makeBase(ctx); err != nil {
		return err
	}
	contenders := s.contenders(ctx)
	defer func() {
		for _, c := range contenders {
			c.close()
		}
	}()
	results := map[string]map[string][]usage{}
	defer b.realTable(results)
	for _, c := range realCases {
		if !b.cases[c.name] {
			continue
		}
		results[c.name] = map[string][]usage{}
		for round := range b.repeat {
			override, err := s.change(c)
			if err != nil {
				return err
			}
			for _, tool := range slices.Clone(contenders) {
				if b.outOfTime(s.expected(c, tool.name(), results)) {
					b.note("%s, round %d: %s is not measured, because the time that -limit allows is over", c.what, round+1,
						tool.name())
					continue
				}
				u, err := s.measure(ctx, c, tool, override)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					if tool.name() == self {
						return err
					}
					b.note("%s is left out from here: %v", tool.name(), err)
					contenders = slices.DeleteFunc(contenders, func(o contender) bool { return o == tool })
					tool.close()
					continue
				}
				results[c.name][tool.name()] = append(results[c.name][tool.name()], u)
				if c.fresh && (round+1 < b.repeat || !b.cases["base"] && !b.cases["leaf"]) {
					tool.clear() // several gigabytes that no other build needs
					s.began[tool.name()] = false
				}
			}
		}
	}
	return nil
}

func (s *realSet) measure(ctx context.Context, c realCase, tool contender, override string) (usage, error) {
	if c.fresh || !s.began[tool.name()] {
		if err := tool.reset(ctx); err != nil {
			return usage{}, err
		}
	}
	if !c.fresh && !s.began[tool.name()] {
		progress("%s: everything new, which is not measured", tool.name())
		if _, err := tool.build(ctx, filepath.Join(s.dir, unchanged)); err != nil {
			return usage{}, err
		}
	}
	s.began[tool.name()] = true
	settle()
	before, err := tool.pushed()
	if err != nil {
		return usage{}, err
	}
	loadBefore := load()
	u, err := tool.build(ctx, override)
	if err != nil {
		return u, err
	}
	after, err := tool.pushed()
	if err != nil {
		return u, err
	}
	u.pushed = after - before
	progress("%s, %s: %s, load before %s", c.what, tool.name(), u.summary(), loadBefore)
	return u, nil
}

// settle writes all changes to disk and empties the kernel's caches. Otherwise a build
// pays for files that were removed before it: ext4 without a journal searches the
// inodes in memory for one that was not used recently.
func settle() {
	syscall.Sync()
	_ = os.WriteFile("/proc/sys/vm/drop_caches", []byte("1\n"), 0)
}

// summary is a line with all figures of a build.
func (u usage) summary() string {
	text := fmt.Sprintf("%s, %.0f s of CPU time, %s pushed, memory at most %s", seconds(u.wall), u.total.Seconds(),
		megabytes(u.pushed), megabytes(u.peak))
	if u.builderPeak > 0 {
		text += " and the builder " + megabytes(u.builderPeak)
	}
	if u.note != "" {
		text += ", " + u.note
	}
	return text
}

// expected estimates from the measurements so far how long the next build of a case and
// the unmeasured build before it take, 0 without measurements. A case that was not
// measured yet, other than a changed leaf, rebuilds everything.
func (s *realSet) expected(c realCase, tool string, results map[string]map[string][]usage) time.Duration {
	longestCold := longest(results["cold"][tool])
	if longestCold == 0 {
		longestCold = longest(results["cold"][self]) // the best guess for a peer that built nothing
	}
	next := longest(results[c.name][tool])
	if next == 0 && c.name != "leaf" {
		next = longestCold
	}
	if !c.fresh && !s.began[tool] {
		next += longestCold
	}
	return next
}

func longest(runs []usage) time.Duration {
	var d time.Duration
	for _, u := range runs {
		d = max(d, u.wall)
	}
	return d
}

// outOfTime reports whether a measurement would end after the time that -limit allows.
func (b *bench) outOfTime(expected time.Duration) bool {
	return b.limit > 0 && time.Since(b.started)+expected > b.limit
}

// realTable adds the medians of the measurements to the table.
func (b *bench) realTable(results map[string]map[string][]usage) {
	for _, c := range realCases {
		own := results[c.name][self]
		if len(own) == 0 {
			continue
		}
		m := median(own)
		r := b.add(b.realName()+": "+c.what, c.target, m.summary()+rounds(own))
		for _, peer := range allPeers {
			if others := results[c.name][peer]; len(others) > 0 {
				t := median(others)
				r.peers[peer] = fmt.Sprintf("%s%s; kolla-build takes %.2f of its time", t.summary(), rounds(others),
					m.wall.Seconds()/t.wall.Seconds())
			}
		}
	}
}

func (b *bench) realName() string {
	if b.regex != "" {
		return "images " + b.regex
	}
	return "quickstart set"
}

// median returns the run with the median time.
func median(runs []usage) usage {
	sorted := slices.SortedFunc(slices.Values(runs), func(a, b usage) int { return cmp.Compare(a.wall, b.wall) })
	return sorted[(len(sorted)-1)/2]
}

func rounds(runs []usage) string {
	if len(runs) == 1 {
		return " (1 run)"
	}
	var walls []string
	for _, u := range runs {
		walls = append(walls, seconds(u.wall))
	}
	return fmt.Sprintf(" (median of %s)", strings.Join(walls, ", "))
}

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

// unchanged is the name of an override file that changes nothing, and extends is how
// all override files begin.
const (
	unchanged = "unchanged.j2"
	extends   = "{% extends parent_template %}\n"
)

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

// newRealSelf returns this program as a contender.
func (s *realSet) newRealSelf() *realSelf {
	return &realSelf{s: s, dir: filepath.Join(s.dir, "kolla-build")}
}

const self = "kolla-build"

type realSelf struct {
	s        *realSet
	dir      string
	registry *realRegistry
}

func (o *realSelf) name() string { return self }

func (o *realSelf) reset(ctx context.Context) error {
	o.clear()
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(o.dir, "data"), os.DirFS(o.s.base)); err != nil {
		return err
	}
	var err error
	o.registry, err = o.s.newRegistry(ctx, o.dir)
	return err
}

// failedOutput is the output of a run that failed, without the list of images that
// were not selected.
func failedOutput(out string) string {
	out, _, _ = strings.Cut(out, "Images not matched")
	return lastLines(out, 30)
}

func (o *realSelf) build(ctx context.Context, override string) (usage, error) {
	data := filepath.Join(o.dir, "data")
	args := []string{
		"--push", "--engine", "none", "--progress", "plain", "--debug",
		"--data-dir", data, "--buildkitd", o.s.b.buildkitd,
	}
	cmd := exec.Command(o.s.b.tool, append(args, o.s.args(o.registry.host, override)...)...)
	cmd.Dir = o.dir
	stop := watchBuilder(data)
	u, err := measure(ctx, cmd)
	u.builderPeak = stop()
	if cmd.ProcessState != nil {
		u.total = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	u.note = lineWith(u.out, "time: ")
	if err != nil {
		err = fmt.Errorf("%s failed:\n%s", self, failedOutput(u.out))
	}
	return u, err
}

func (o *realSelf) pushed() (int64, error) { return o.registry.size() }

func (o *realSelf) close() { o.clear() }

func (o *realSelf) clear() {
	if o.registry != nil {
		o.registry.stop()
	}
	os.RemoveAll(o.dir)
}

// realRegistry is a registry with its own directory.
type realRegistry struct {
	host string
	dir  string
	stop func()
}

func (s *realSet) newRegistry(ctx context.Context, dir string) (*realRegistry, error) {
	r := &realRegistry{dir: filepath.Join(dir, "registry")}
	relative, err := filepath.Rel(s.b.dir, r.dir)
	if err != nil {
		return nil, err
	}
	if r.host, r.stop, err = s.b.registry(ctx, relative); err != nil {
		return nil, err
	}
	return r, s.pushBase(ctx, r.baseName())
}

// baseName is the name of the base image in the registry, where all contenders have it:
// it does not count as pushed.
func (r *realRegistry) baseName() string { return r.host + "/kolla/debian:trixie" }

func (s *realSet) pushBase(ctx context.Context, reference string) error {
	index, err := layout.ImageIndexFromPath(filepath.Join(s.base, "store"))
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	if len(manifest.Manifests) != 1 {
		return fmt.Errorf("%d base images, not 1", len(manifest.Manifests))
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return err
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		return err
	}
	return remote.Write(ref, image, remote.WithContext(ctx))
}

// size returns the bytes of the registry's blobs. Blobs that repositories share count
// once.
func (r *realRegistry) size() (int64, error) {
	var total int64
	err := filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the file of an upload, which has ended
		}
		if err != nil || e.Name() != "data" || e.IsDir() {
			return err
		}
		st, err := e.Info()
		if err == nil {
			total += st.Size()
		}
		return err
	})
	return total, err
}
