package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
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
