package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/dockerfiles"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// Target is a distribution, type and architecture that the tree is rendered for.
type Target struct{ Base, Tag, Arch, InstallType string }

// Image is an image of the tree as one target has it.
type Image struct {
	Name   string
	Family string // the first directory of its template
	Parent string // "" for the first image
	// Reason is why the image cannot be built, "" if it can.
	Reason string
	// Hosts are those other than the distribution's that it or an ancestor needs.
	Hosts []string
}

// Images renders the built-in tree and returns its images, parents first.
func Images(ctx context.Context, to Target) ([]Image, error) {
	cfg, err := cli.Load(cli.Input{
		Args: []string{"--base", to.Base, "--base-tag", to.Tag, "--base-arch", to.Arch, "--type", to.InstallType},
		Dir:  "/", SystemFile: "/nonexistent", HostArch: "x86_64",
	})
	if err != nil {
		return nil, err
	}
	repos, err := fs.ReadFile(dockerfiles.Tree(), "repos.yaml")
	if err != nil {
		return nil, err
	}
	tree, err := render.OpenTree(render.TreeOptions{
		Layers: []render.Layer{
			{Name: "the built-in templates", FS: dockerfiles.Tree()},
		},
		Repos:     repos,
		ReposName: "repos.yaml",
	})
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	files, err := render.Render(ctx, render.Options{Tree: tree, Config: cfg})
	if err != nil {
		return nil, err
	}
	byName := map[string]render.Dockerfile{}
	byReference := map[string]string{}
	nodes := make([]graph.Image, len(files))
	for i, f := range files {
		byName[f.Name], byReference[f.Reference] = f, f.Name
		nodes[i] = graph.Image{Name: f.Name, Reference: f.Reference, From: f.From, File: f.Template}
	}
	g, err := graph.New(nodes, render.BaseReference(cfg))
	if err != nil {
		return nil, err
	}
	marks := facts.Unbuildable(cfg.Target())
	done := map[string]Image{}
	var out []Image
	for _, node := range g.Order() {
		if err := g.Missing(node.Name); err != nil {
			return nil, err
		}
		f := byName[node.Name]
		im := Image{Name: f.Name, Parent: byReference[f.From], Reason: marks[f.Name]}
		im.Family, _, _ = strings.Cut(f.Dir, "/")
		parent := done[im.Parent]
		if im.Reason == "" {
			im.Reason = parent.Reason
		}
		im.Hosts = slices.Concat(parent.Hosts, hosts(f, cfg))
		slices.Sort(im.Hosts)
		im.Hosts = slices.Compact(im.Hosts)
		done[im.Name] = im
		out = append(out, im)
	}
	return out, nil
}

var (
	address = regexp.MustCompile(`https?://[^\s'"\\]+`)
	archive = regexp.MustCompile(`(?m)^ADD ([a-z0-9-]+)-archive`)
)

// hosts returns the hosts that the instructions of a Dockerfile name, and those of the
// archives that it adds.
func hosts(f render.Dockerfile, cfg *config.Config) []string {
	var found []string
	add := func(location string) {
		if u, err := url.Parse(location); err == nil && u.Host != "" {
			found = append(found, u.Host)
		}
	}
	lines := bufio.NewScanner(bytes.NewReader(f.Content))
	lines.Buffer(nil, len(f.Content)+1)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "LABEL ") {
			continue
		}
		for _, location := range address.FindAllString(line, -1) {
			add(location)
		}
	}
	for _, m := range archive.FindAllSubmatch(f.Content, -1) {
		if s, ok := cfg.Sources[string(m[1])]; ok {
			add(s.Location)
		}
	}
	return found
}

// fromDistribution returns the images that can be built from the distribution's packages
// alone.
func fromDistribution(images []Image) []Image {
	return slices.DeleteFunc(slices.Clone(images), func(im Image) bool { return im.Reason != "" || len(im.Hosts) > 0 })
}

func (to Target) String() string {
	return fmt.Sprintf("%s:%s %s %s", to.Base, to.Tag, to.InstallType, to.Arch)
}
