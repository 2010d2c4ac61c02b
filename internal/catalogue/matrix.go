package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/facts"
)

// column is a column of the matrix: a distribution with the type, and the targets of both
// architectures.
type column struct {
	title   string
	targets [2]Target // x86_64, aarch64
}

func columns() []column {
	master, _ := facts.LookupRelease(facts.Master)
	var out []column
	for _, d := range facts.Distros() {
		tags := []string{master.BaseTag(d.Name)}
		if d.Name == "debian" {
			tags = []string{"trixie", "bookworm"}
		}
		for _, tag := range tags {
			for _, installType := range []string{"binary", "source"} {
				c := column{title: d.Name + " " + tag + " " + installType}
				for i, arch := range []string{"x86_64", "aarch64"} {
					c.targets[i] = Target{Base: d.Name, Tag: tag, Arch: arch, InstallType: installType}
				}
				out = append(out, c)
			}
		}
	}
	return out
}

// Matrix returns docs/images.md, from the templates, the marks of what cannot be built, and
// the results of real builds.
func Matrix(ctx context.Context, resultsFile string) (string, error) {
	results, err := readResults(resultsFile)
	if err != nil {
		return "", err
	}
	built := map[string]Result{}
	for _, r := range results {
		built[r.key()] = r
	}
	cols := columns()
	byTarget := map[Target]map[string]Image{}
	var names []string
	for _, c := range cols {
		for _, to := range c.targets {
			images, err := Images(ctx, to)
			if err != nil {
				return "", fmt.Errorf("%v: %w", to, err)
			}
			byTarget[to] = map[string]Image{}
			var usual []string // repositories that all images have
			for _, im := range images {
				if im.Name == "base" || im.Name == "openstack-base" {
					usual = append(usual, im.Hosts...)
				}
				im.Hosts = slices.DeleteFunc(im.Hosts, func(h string) bool { return slices.Contains(usual, h) })
				byTarget[to][im.Name] = im
				names = append(names, im.Name)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)

	m := matrix{built: built}
	m.b.WriteString(`# Images

Written by ` + "`make catalogue`" + ` and checked by a test: do not edit. The marks come from ` + "`pkg/facts/data/unbuildable.conf`" + `, the
figures from ` + "[images.tsv](images.tsv)" + `, which ` + "`make catalogue`" + ` extends with each image that it builds.

✓ built for real and recorded · + can be built, not recorded · x only for x86_64 · a number: why it cannot be built, see the
list at the end · → needs packages from hosts
other than those of the distribution and of its OpenStack repository

## What can be built for what

| image |`)
	for _, c := range cols {
		fmt.Fprintf(&m.b, " %s |", c.title)
	}
	m.b.WriteString("\n|---|" + strings.Repeat("---|", len(cols)) + "\n")
	for _, name := range names {
		fmt.Fprintf(&m.b, "| `%s` |", name)
		for _, c := range cols {
			fmt.Fprintf(&m.b, " %s |", m.cell(c, byTarget[c.targets[0]][name], byTarget[c.targets[1]][name]))
		}
		m.b.WriteString("\n")
	}
	m.b.WriteString("\nReasons:\n\n")
	for i, reason := range m.reasons {
		fmt.Fprintf(&m.b, "%d. %s\n", i+1, reason)
	}
	m.figures(names, byTarget[Target{"debian", "trixie", "x86_64", "binary"}])
	m.besideKolla()
	return m.b.String(), nil
}

type matrix struct {
	b       strings.Builder
	built   map[string]Result
	reasons []string
}

// reason returns the number of a reason.
func (m *matrix) reason(text string) string {
	i := slices.Index(m.reasons, text)
	if i < 0 {
		i = len(m.reasons)
		m.reasons = append(m.reasons, text)
	}
	return fmt.Sprint(i + 1)
}

func (m *matrix) cell(c column, x86, arm Image) string {
	if x86.Reason != "" {
		return m.reason(x86.Reason)
	}
	to := c.targets[0]
	mark := "+"
	if to.InstallType == "binary" && len(x86.Hosts) > 0 {
		mark = "→"
	}
	if to.Base == "debian" && m.result(x86.Name, to).Status == "built" {
		mark = "✓"
	}
	if arm.Reason != "" {
		return mark + " x " + m.reason(arm.Reason)
	}
	return mark
}

func (m *matrix) result(name string, to Target) Result {
	return m.built[Result{Image: name, Suite: to.Tag, Type: to.InstallType, Arch: to.Arch}.key()]
}

// figures writes the table of real builds.
func (m *matrix) figures(names []string, images map[string]Image) {
	m.b.WriteString(`
## Real builds

On Debian, x86_64, one machine with two cores that did other work as well. The size is that of the compressed layers, those of
the parents included; in parentheses what the image adds to its parent. The contract counts rows that hold and rows that fail
([contract.md](contract.md)).

| image | trixie | | | bookworm | | | from source, trixie | | other hosts |
|---|---|---|---|---|---|---|---|---|---|
| | size | time | contract | size | time | contract | size | time | |
`)
	counts := map[string]int{}
	for _, name := range names {
		var cells []string
		hasFigures := false
		for _, to := range []Target{{"debian", "trixie", "x86_64", "binary"}, {"debian", "bookworm", "x86_64", "binary"}, {"debian", "trixie", "x86_64", "source"}} {
			r := m.result(name, to)
			size, seconds := "", ""
			switch {
			case r.Status == "built":
				hasFigures = true
				counts[to.Tag+" "+to.InstallType]++
				size = fmt.Sprintf("%s (%s)", units.Bytes(r.Size), units.Bytes(r.Own))
				seconds = fmt.Sprintf("%.0f s", r.Seconds)
			case r.Status != "":
				size = "failed: " + strings.ReplaceAll(r.Error, "|", "\\|")
			}
			cells = append(cells, size, seconds)
			if to.InstallType == "binary" {
				cells = append(cells, r.Contract)
			}
		}
		hosts := strings.Join(images[name].Hosts, ", ")
		if images[name].Reason != "" {
			hosts = ""
		}
		if hasFigures || hosts != "" {
			fmt.Fprintf(&m.b, "| `%s` | %s | %s |\n", name, strings.Join(cells, " | "), hosts)
		}
	}
	fmt.Fprintf(&m.b, "\nBuilt for real: %d images on trixie and %d on bookworm from packages, %d on trixie from source.\n",
		counts["trixie binary"], counts["bookworm binary"], counts["trixie source"])
}

// besideKolla compares the sizes of images that were also built from Kolla's own templates.
func (m *matrix) besideKolla() {
	m.b.WriteString(`
## Sizes beside Kolla's own templates

Built by the same builder from the same base image and the same packages, with the templates of Kolla's master branch and with
the built-in ones: ` + "`make catalogue TYPE=kolla KOLLA_CHECKOUT=DIR`" + `, where DIR is a checkout of openstack/kolla. Kolla's ` + "`base`" + `
fetches third parties' keys and enables an extra repository; the command leaves both out, so that no other host is needed.
Kolla installs OpenStack services from source alone, from tarballs.opendev.org and PyPI, so their sizes are not compared. The
size is that of all compressed layers, in parentheses what the image adds to its parent.

| image | Kolla's templates | built-in | ratio |
|---|---|---|---|
`)
	for _, name := range append([]string{"base"}, kollaImages...) {
		builtin := m.result(name, Target{"debian", "trixie", "x86_64", "binary"})
		kolla := m.result(name, Target{"debian", "trixie", "x86_64", kollaType})
		if builtin.Status != "built" || kolla.Status != "built" {
			continue
		}
		fmt.Fprintf(&m.b, "| `%s` | %s (%s) | %s (%s) | %.2f |\n", name, units.Bytes(kolla.Size), units.Bytes(kolla.Own),
			units.Bytes(builtin.Size), units.Bytes(builtin.Own), float64(builtin.Size)/float64(kolla.Size))
	}
}
