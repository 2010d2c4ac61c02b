package pipeline

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

// What a run would do with an image's tag in the registry.
const (
	pushThere = "there" // it names this image already
	pushMoves = "moves" // it names another one
	pushNew   = "new"
)

// planned is an image of a plan as it is shown.
type planned struct {
	*plan.Item
	Push   string `json:"push,omitempty"`   // there, moves or new; "" without --push
	Tagged string `json:"tagged,omitempty"` // what the tag names in the registry
	Error  string `json:"error,omitempty"`  // why it cannot be built
}

// leftOut is an image that was asked for and would not be built.
type leftOut struct {
	Image  image.ID `json:"image"`
	Status string   `json:"status"` // skipped or unbuildable
	Reason string   `json:"reason"`
}

// shownPlan is what a run would do.
type shownPlan struct {
	Items    []planned     `json:"items"` // parents before children
	LeftOut  []leftOut     `json:"left_out"`
	Build    int           `json:"build"`
	Keep     int           `json:"keep"`
	Fail     int           `json:"fail"` // known to fail before anything is built
	Push     int           `json:"push"` // tags that are new or move
	Estimate time.Duration `json:"estimate_ns"`
}

// Plan shows what Build would do, as a table or as JSON. Base images and
// sources are fetched for it as for a build: without them there is no key.
func Plan(ctx context.Context, cfg *config.Config, env Env, asJSON bool) error {
	r := &buildRun{cfg: cfg, env: env, dry: true}
	defer r.close()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.retain.foretell(ctx, r); err != nil {
		return err
	}
	p := r.shown()
	if asJSON {
		if err := env.PrintJSON(p); err != nil {
			return err
		}
		return p.err()
	}
	if err := p.write(env.Stdout, r.up != nil); err != nil {
		return err
	}
	env.Notice("%s", p.summary(r.cfg.Threads, r.up != nil))
	return p.err()
}

// err says that a run would fail, as far as that is known.
func (p shownPlan) err() error {
	if p.Fail > 0 {
		return ErrFailed
	}
	return nil
}

// shown puts together what is to be said of a plan.
func (r *buildRun) shown() shownPlan {
	p := shownPlan{Items: []planned{}, LeftOut: []leftOut{}, Estimate: r.plan.Estimate(r.cfg.Threads)}
	bad := map[image.ID]string{} // images that cannot be built, and why
	for _, it := range r.plan.Items {
		x := planned{Item: it}
		if err := r.defined.failed[it.Image]; err != nil {
			bad[it.Image] = firstLine(err)
		}
		for _, n := range it.Needs {
			if _, ok := bad[n]; ok && bad[it.Image] == "" {
				bad[it.Image] = n.String() + " cannot be built"
			}
		}
		x.Error = bad[it.Image]
		switch {
		case x.Error != "":
			p.Fail++
		case it.Action == plan.Build:
			p.Build++
		default:
			p.Keep++
		}
		if r.up != nil && x.Error == "" {
			x.Push, x.Tagged = r.up.would(it)
			if x.Push != pushThere {
				p.Push++
			}
		}
		p.Items = append(p.Items, x)
	}
	for _, im := range r.rendered.LeftOut() {
		if im.Status == graph.Skipped || im.Status == graph.Unbuildable && im.Requested {
			p.LeftOut = append(p.LeftOut, leftOut{im.Image, string(im.Status), im.Reason})
		}
	}
	return p
}

// would says what publication would do with the tags of an image, and what the
// first of them names now.
func (u *publisher) would(it *plan.Item) (push, tagged string) {
	push = pushThere
	for i, name := range namesOf(u.cfg, it.Reference) {
		at, there := u.have[name]
		switch {
		case !there && push == pushThere:
			push = pushNew
		case there && (it.Action != plan.Keep || at.String() != it.Digest.String()):
			push = pushMoves
		}
		if i == 0 && there {
			tagged = at.String()
		}
	}
	return push, tagged
}

func (p shownPlan) write(out io.Writer, push bool) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(cells ...string) {
		if !push {
			cells = append(cells[:3], cells[4:]...)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	row("IMAGE", "ACTION", "ABOUT", "PUSH", "WHY")
	for _, x := range p.Items {
		switch {
		case x.Error != "":
			row(x.Image.String(), "fail", "", "", x.Error)
		case x.Action == plan.Build:
			row(x.Image.String(), string(x.Action), units.Duration(x.Estimate), x.Push, x.Reason)
		default:
			row(x.Image.String(), string(x.Action), "", x.Push, x.Reason)
		}
	}
	for _, x := range p.LeftOut {
		row(x.Image.String(), "skip", "", "", x.Reason)
	}
	return w.Flush()
}

// summary says the plan in a sentence.
func (p shownPlan) summary(threads int, push bool) string {
	s := fmt.Sprintf("nothing to do: %d images unchanged", p.Keep)
	if p.Build == 0 && p.Fail > 0 {
		s = "nothing would be built"
	}
	if p.Build > 0 {
		s = fmt.Sprintf("%d of %d images would be built, in about %s with %d threads", p.Build, len(p.Items), units.Duration(p.Estimate), threads)
	}
	if push {
		s += fmt.Sprintf("; %d tags would be new or move", p.Push)
	}
	if p.Fail > 0 {
		s += fmt.Sprintf("; %d cannot be built", p.Fail)
	}
	return s
}
