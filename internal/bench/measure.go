package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/kolla-build/kolla-build/internal/synthetic"
)

// rendering measures rendering only: of the synthetic set and of the built-in tree.
func (b *bench) rendering(ctx context.Context) error {
	w, err := b.newWorld("render", b.images)
	if err != nil {
		return err
	}
	u, err := measure(ctx, w.tool("--template-only", "--work-dir", w.path("out")))
	if err != nil {
		return err
	}
	b.add(fmt.Sprintf("rendering %d synthetic templates (--template-only)", b.images), "", seconds(u.wall))
	cmd := exec.Command(b.tool, "-b", "debian", "--template-only", "--work-dir", w.path("builtin"))
	cmd.Dir = w.dir
	if u, err = measure(ctx, cmd); err != nil {
		return err
	}
	b.add("rendering the built-in tree", "", seconds(u.wall))
	return b.kollaRendering(ctx, w)
}

// planning measures plans of growing sets, in seconds and memory.
func (b *bench) planning(ctx context.Context) error {
	for _, n := range []int{b.images, 1000, 5000, 10000} {
		w, err := b.newWorld(fmt.Sprintf("plan%d", n), n)
		if err != nil {
			return err
		}
		// The first run creates the store and fills the page cache.
		if _, err := measure(ctx, w.tool("plan", "--list-images")); err != nil {
			progress("%v", err)
		}
		u, err := measure(ctx, w.tool("plan"))
		if err != nil {
			return err
		}
		target := ""
		if n == 10000 {
			target = "2 s, 300 MB"
		}
		b.add(fmt.Sprintf("planning %d images: render, graph, keys, plan", n), target,
			seconds(u.wall)+", "+megabytes(u.peak)+" ("+seconds(u.cpu)+" of CPU time)")
		os.RemoveAll(w.dir)
	}
	return nil
}

// set measures builds of the synthetic set, with and without changes, pushed to a
// registry on localhost, and docker buildx bake for comparison.
func (b *bench) set(ctx context.Context) error {
	w, err := b.newWorld("set", b.images)
	if err != nil {
		return err
	}
	host, stop, err := b.registry(ctx, "registry-kolla-build")
	if err != nil {
		return err
	}
	defer stop()
	peer := b.newBake(ctx, w)
	defer peer.close()

	leaf, parent := w.images[len(w.images)-1], w.images[2]
	parentChanged := fmt.Sprintf("one parent changed (%s, %d images)", parent.Name, subtree(w.images, parent.Name))
	cases := []struct {
		label, target string
		prepare       func() error
		full          bool
	}{
		{"everything new, built and pushed", "a quarter of bake", nil, true},
		{"nothing changed, with --push", "1 s, no builder", nil, false},
		{"one leaf changed (" + leaf.Name + ")", "its own time + 1 s", func() error { return w.change(leaf) }, false},
		{parentChanged, "its subtree", func() error { return w.change(parent) }, false},
	}
	for _, c := range cases {
		if c.prepare != nil {
			if err := c.prepare(); err != nil {
				return err
			}
		}
		log := filepath.Join(w.dir, "data/buildkit/buildkitd.log")
		before := modified(log)
		u, s, err := w.build(ctx, host)
		if err != nil {
			return err
		}
		buildTime := seconds(u.wall)
		switch {
		case c.full:
			buildTime += fmt.Sprintf(" (%d built)", s.built)
		case s.built == 0 && modified(log).Equal(before):
			buildTime += " (no builder started)"
		default:
			buildTime += fmt.Sprintf(" (%d built, the longest in %s)", s.built, seconds(s.longest))
		}
		r := b.add(fmt.Sprintf("%d images: %s", b.images, c.label), c.target, buildTime)
		r.peers[peerBake] = peer.measure(ctx, u.wall)
		if !c.full {
			continue
		}
		b.add("— of that, without a running build or upload", "5 %", s.own(u))
		b.add("— the tool's memory at most", "150 MB", megabytes(u.peak))
		cpuShare := 100 * u.cpu.Seconds() / u.wall.Seconds() / float64(cores())
		b.add("— the tool's own CPU time, transfers included", "",
			seconds(u.cpu)+fmt.Sprintf(" (%.0f %% of %d cores)", cpuShare, cores()))
	}
	return nil
}

// built is the summary of a run.
type built struct {
	built   int
	longest time.Duration
	timing  string
}

// own is the time of a run during which no build and no upload is running.
func (s built) own(u usage) string {
	const timingFormat = "time: %f s in all, %f s without a running build or upload, " +
		"%f s of them for the builder to start and end"
	var idle, starting, total float64
	if _, err := fmt.Sscanf(s.timing, timingFormat, &total, &idle, &starting); err != nil {
		return "unknown: " + s.timing
	}
	return fmt.Sprintf("%.2f s (%.1f %%), %.2f s of it the builder's start and end", idle, 100*idle/u.wall.Seconds(),
		starting)
}

func (w *world) build(ctx context.Context, host string) (usage, built, error) {
	summary := w.path("summary.json")
	u, err := measure(ctx, w.tool("--push", "--registry", host, "--progress", "plain", "--debug", "--format", "json",
		"--summary-json-file", summary))
	if err != nil {
		return u, built{}, err
	}
	data, err := os.ReadFile(summary)
	if err != nil {
		return u, built{}, err
	}
	var s struct {
		Built []struct {
			Unchanged bool    `json:"unchanged"`
			Pushed    bool    `json:"pushed"`
			Duration  float64 `json:"duration"`
		} `json:"built"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return u, built{}, err
	}
	out := built{timing: lineWith(u.out, "time: ")}
	for _, im := range s.Built {
		if !im.Pushed {
			return u, out, fmt.Errorf("an image was not pushed:\n%s", lastLines(u.out, 20))
		}
		if !im.Unchanged {
			out.built++
			out.longest = max(out.longest, time.Duration(im.Duration*float64(time.Second)))
		}
	}
	if len(s.Built) != len(w.images) {
		return u, out, fmt.Errorf("%d of %d images are there", len(s.Built), len(w.images))
	}
	return u, out, nil
}

func subtree(images []synthetic.Image, root string) int {
	in := map[string]bool{root: true}
	for _, im := range images {
		if in[im.Parent] {
			in[im.Name] = true
		}
	}
	return len(in)
}

func modified(path string) time.Time {
	st, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}
