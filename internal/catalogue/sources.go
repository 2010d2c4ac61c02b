package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/untar"
	"github.com/kolla-build/kolla-build/pkg/facts"
)

// sourceProjects are the projects whose tarballs Debian's mirrors serve, by their source
// package.
var sourceProjects = map[string]struct {
	image string // installs the tarball
	built string // the image of the family that is built
}{
	"designate": {"designate-base", "designate-central"},
	"glance":    {"glance-base", "glance-api"},
	"horizon":   {"horizon", "horizon"},
	"ironic":    {"ironic-base", "ironic-conductor"},
	"keystone":  {"keystone-base", "keystone"},
	"mistral":   {"mistral-base", "mistral-engine"},
	"neutron":   {"neutron-base", "neutron-server"},
	"nova":      {"nova-base", "nova-conductor"},
	"octavia":   {"octavia-base", "octavia-worker"},
	"swift":     {"swift-base", "swift-object"},
	"zaqar":     {"zaqar-base", "zaqar"},
}

// sourceImages returns the images that are built from source: one of each project.
func sourceImages() []string {
	var names []string
	for _, project := range sourceProjects {
		names = append(names, project.built)
	}
	slices.Sort(names)
	return names
}

// pluginSections returns the sections of the plugins of an image.
func pluginSections(image string) []string {
	master, _ := facts.LookupRelease(facts.Master)
	var sections []string
	for _, e := range master.Sources() {
		if strings.HasPrefix(e.Section, image+"-plugin-") {
			sections = append(sections, e.Section)
		}
	}
	slices.Sort(sections)
	return slices.Compact(sections)
}

// printSources prints the sections of sources for tarballs of Debian's source packages.
// Plugins are disabled: no Debian mirror has their archives.
func printSources(ctx context.Context, mirror, suite string, w io.Writer) error {
	if mirror == "" {
		return errors.New("sources needs -mirror")
	}
	mirror = strings.TrimRight(mirror, "/")
	index := mirror + "/dists/" + suite + "/main/source/Sources.xz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, index, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", index, resp.Status)
	}
	text, err := untar.Decompress(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", index, err)
	}
	defer text.Close()
	found, err := tarballs(text)
	if err != nil {
		return fmt.Errorf("%s: %w", index, err)
	}
	for _, name := range slices.Sorted(maps.Keys(sourceProjects)) {
		t, ok := found[name]
		if !ok {
			return fmt.Errorf("%s has no source package %s", index, name)
		}
		project := sourceProjects[name]
		fmt.Fprintf(w, "[%s]\ntype = url\nlocation = %s/%s\nsha256 = amd64:%s\n\n", project.image, mirror, t.path, t.sha256)
		plugins := pluginSections(project.image)
		if project.built != project.image {
			plugins = append(plugins, pluginSections(project.built)...)
		}
		for _, section := range plugins {
			fmt.Fprintf(w, "[%s]\nenabled = false\n\n", section)
		}
	}
	return nil
}

type tarball struct{ path, sha256 string }

// tarballs returns the original tarballs of source packages in an index, by package.
func tarballs(index io.Reader) (map[string]tarball, error) {
	out := map[string]tarball{}
	var name, directory, field string
	var t tarball
	flush := func() {
		if name != "" && t.path != "" {
			t.path = path.Join(directory, t.path)
			out[name] = t
		}
		name, directory, field, t = "", "", "", tarball{}
	}
	lines := bufio.NewScanner(index)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "":
			flush()
		case strings.HasPrefix(line, " "):
			if f := strings.Fields(line); field == "Checksums-Sha256" && len(f) == 3 &&
				strings.Contains(f[2], ".orig.tar.") && !strings.HasSuffix(f[2], ".asc") {
				t = tarball{f[2], f[0]}
			}
		default:
			k, v, _ := strings.Cut(line, ":")
			field = k
			switch v = strings.TrimSpace(v); k {
			case "Package":
				name = v
			case "Directory":
				directory = v
			}
		}
	}
	flush()
	return out, lines.Err()
}
