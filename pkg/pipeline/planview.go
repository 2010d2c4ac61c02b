package pipeline

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// planItem is an image of a plan as it is shown.
type planItem struct {
	*plan.Item
	Push   publish.Change `json:"push,omitempty"`   // "" without --push
	Tagged digest.Digest  `json:"tagged,omitempty"` // what the tag names in the registry
	Error  string         `json:"error,omitempty"`  // why it cannot be built
}

// leftOutItem is a requested image that a run does not build.
type leftOutItem struct {
	Image  image.ID `json:"image"`
	Status string   `json:"status"` // skipped or unbuildable
	Reason string   `json:"reason"`
}

// planView is what a run does, as it is shown.
type planView struct {
	Items    []planItem    `json:"items"` // parents before children
	LeftOut  []leftOutItem `json:"left_out"`
	Build    int           `json:"build"`
	Keep     int           `json:"keep"`
	Fail     int           `json:"fail"` // known to fail before anything is built
	Push     int           `json:"push"` // tags that are new or change
	Estimate time.Duration `json:"estimate_ns"`

	pushes bool // with --push
}

// Plan shows what Build does, as a table or as JSON. Base images and sources are
// fetched as for a build, since without them there are no keys. It returns
// ErrFailed if the run is known to fail: if an image that is not allowed to fail does.
func Plan(ctx context.Context, cfg *config.Config, c *console.Console, asJSON bool) error {
	s, rendered, err := open(ctx, cfg, c, nil, modePreview)
	defer stages{session: s, rendered: rendered}.close()
	if err != nil {
		return err
	}
	p, err := s.plan(ctx, rendered)
	if err != nil {
		return err
	}
	target := publish.Target{Console: c, Store: s.store, Registry: p.registry, AlsoTags: s.cfg.AlsoTag, Retention: s.retention}
	if err := target.PreviewExpiry(ctx, references(p.plan)); err != nil {
		return err
	}
	v := viewOf(p, cfg.Threads)
	if asJSON {
		err = c.PrintJSON(v)
	} else if err = v.write(c.Stdout); err == nil {
		c.Notice("%s", v.summary(cfg.Threads))
	}
	if mayFail := s.mayFail(p); err == nil && slices.ContainsFunc(v.Items, func(x planItem) bool { return x.Error != "" && !slices.Contains(mayFail, x.Image) }) {
		return ErrFailed
	}
	return err
}

// viewOf puts together what is shown of a plan.
func viewOf(p *planned, threads int) planView {
	v := planView{Items: []planItem{}, LeftOut: []leftOutItem{}, Estimate: p.plan.Estimate(threads), pushes: p.registry != nil}
	failing := map[image.ID]string{}
	for _, it := range p.plan.Items {
		x := planItem{Item: it}
		if err := p.defined.Image(it.Image).Err; err != nil {
			failing[it.Image] = usererr.FirstLine(err)
		}
		for _, n := range it.Needs {
			if _, ok := failing[n]; ok && failing[it.Image] == "" {
				failing[it.Image] = n.String() + " cannot be built"
			}
		}
		x.Error = failing[it.Image]
		switch {
		case x.Error != "":
			v.Fail++
		case it.Action == plan.Build:
			v.Build++
		default:
			v.Keep++
		}
		if v.pushes && x.Error == "" {
			x.Push, x.Tagged = p.registry.Change(it.Reference, it.Digest), p.registry.Current(it.Reference)
			if x.Push != publish.ChangeNone {
				v.Push++
			}
		}
		v.Items = append(v.Items, x)
	}
	for _, im := range p.rendered.LeftOut() {
		if im.Status == graph.Skipped || im.Status == graph.Unbuildable && im.Requested {
			v.LeftOut = append(v.LeftOut, leftOutItem{im.Image, string(im.Status), im.Reason})
		}
	}
	return v
}

func (v planView) write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(cells ...string) {
		if !v.pushes {
			cells = append(cells[:3], cells[4:]...)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	row("IMAGE", "ACTION", "ABOUT", "PUSH", "WHY")
	for _, x := range v.Items {
		name := x.Image.String()
		switch {
		case x.Error != "":
			row(name, "fail", "", "", report.Sanitize([]byte(x.Error)))
		case x.Action == plan.Build:
			row(name, string(x.Action), units.Duration(x.Estimate), string(x.Push), x.Reason)
		default:
			row(name, string(x.Action), "", string(x.Push), x.Reason)
		}
	}
	for _, x := range v.LeftOut {
		row(x.Image.String(), "skip", "", "", x.Reason)
	}
	return w.Flush()
}

// summary describes the plan in a sentence.
func (v planView) summary(threads int) string {
	s := fmt.Sprintf("nothing to do: %s unchanged", units.Count(v.Keep, "image"))
	if v.Build == 0 && v.Fail > 0 {
		s = "nothing would be built"
	}
	if v.Build > 0 {
		s = fmt.Sprintf("%d of %s would be built, in about %s with %s", v.Build, units.Count(len(v.Items), "image"), units.Duration(v.Estimate), units.Count(threads, "thread"))
	}
	if v.pushes {
		s += fmt.Sprintf("; %s would be new or change", units.Count(v.Push, "tag"))
	}
	if v.Fail > 0 {
		s += fmt.Sprintf("; %d cannot be built", v.Fail)
	}
	return s
}
