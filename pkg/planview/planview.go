// Package planview shows a plan before it is run: for each image whether it is built, kept or
// fails, what happens to its tag, and why. It receives the plan and the results of the stages
// before it, and must not know how they were made.
package planview

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// Input describes a run before it builds anything.
type Input struct {
	Plan     *plan.Plan
	Failed   func(image.ID) error // why an image cannot be built, nil if it can
	LeftOut  []imageset.LeftOut
	Registry *publish.Registry // nil if nothing is pushed
	Threads  int               // number of concurrent builds
}

// Item is an image of a plan.
type Item struct {
	*plan.Item
	Push   publish.Change `json:"push,omitempty"`   // "" without --push
	Tagged digest.Digest  `json:"tagged,omitempty"` // the image that the tag names in the registry
	Error  string         `json:"error,omitempty"`  // why it cannot be built
}

// LeftOut is a requested image that a run does not build.
type LeftOut struct {
	Image  image.ID `json:"image"`
	Status string   `json:"status"` // skipped or unbuildable
	Reason string   `json:"reason"`
}

// View is the printable form of a plan, as JSON or with WriteText and Summary.
type View struct {
	Items    []Item        `json:"items"` // parents before children
	LeftOut  []LeftOut     `json:"left_out"`
	Build    int           `json:"build"`
	Keep     int           `json:"keep"`
	Fail     int           `json:"fail"` // known to fail before anything is built
	Push     int           `json:"push"` // number of new or changed tags
	Estimate time.Duration `json:"estimate_ns"`

	threads int
	pushes  bool // with --push
}

// New returns the view of a plan.
func New(in Input) View {
	v := View{
		Items:    []Item{},
		LeftOut:  []LeftOut{},
		Estimate: in.Plan.Estimate(in.Threads),
		threads:  in.Threads,
		pushes:   in.Registry != nil,
	}
	failing := map[image.ID]string{}
	for _, it := range in.Plan.Items {
		x := Item{Item: it}
		if err := in.Failed(it.Image); err != nil {
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
			x.Push, x.Tagged = in.Registry.Change(it.Reference, it.Digest), in.Registry.Current(it.Reference)
			if x.Push != publish.ChangeNone {
				v.Push++
			}
		}
		v.Items = append(v.Items, x)
	}
	for _, im := range in.LeftOut {
		if im.Status == graph.Skipped || im.Status == graph.Unbuildable && im.Requested {
			v.LeftOut = append(v.LeftOut, LeftOut{im.Image, string(im.Status), im.Reason})
		}
	}
	return v
}

// Fails reports whether the run is known to fail, because an image outside mayFail
// cannot be built.
func (v View) Fails(mayFail []image.ID) bool {
	return slices.ContainsFunc(v.Items, func(x Item) bool { return x.Error != "" && !slices.Contains(mayFail, x.Image) })
}

// WriteText writes the view as a table.
func (v View) WriteText(out io.Writer) error {
	w := console.NewTable(out)
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

// Summary describes the plan in a sentence.
func (v View) Summary() string {
	s := fmt.Sprintf("nothing to do: %s unchanged", units.Count(v.Keep, "image"))
	if v.Build == 0 && v.Fail > 0 {
		s = "nothing would be built"
	}
	if v.Build > 0 {
		s = fmt.Sprintf("%d of %s would be built, in about %s with %s",
			v.Build, units.Count(len(v.Items), "image"), units.Duration(v.Estimate), units.Count(v.threads, "thread"))
	}
	if v.pushes {
		s += fmt.Sprintf("; %s would be new or change", units.Count(v.Push, "tag"))
	}
	if v.Fail > 0 {
		s += fmt.Sprintf("; %d cannot be built", v.Fail)
	}
	return s
}
