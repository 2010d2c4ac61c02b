package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// NightLine describes a nightly run in one line, for the mail of a job. pushes means that the
// run reached the point where it knew what to push; page is the path of its report, "" for
// none.
func (run *Run) NightLine(pushes bool, page string) string {
	var parts []string
	selected := len(run.Selected())
	switch {
	case run.Outcome == OutcomeInterrupted:
		parts = append(parts, "interrupted")
	case run.Outcome == OutcomeFailed && run.Failed() > 0:
		parts = append(parts,
			fmt.Sprintf("%d of %s failed (%s)", run.Failed(), units.Count(selected, "image"), failedNames(run)))
	case run.Outcome == OutcomeFailed:
		parts = append(parts, "failed")
	case run.NothingNew:
		parts = append(parts, fmt.Sprintf("nothing changed, %s kept, nothing published", units.Count(selected, "image")))
	default:
		parts = append(parts, fmt.Sprintf("%d of %s built", run.Count(build.StatusBuilt), units.Count(selected, "image")))
		if names := packageNames(run); names != "" {
			parts = append(parts, names)
		}
	}
	switch {
	case len(run.Left) > 0:
		parts = append(parts,
			"published without "+units.List(image.Strings(run.Left), maxNamed)+" as "+strings.Join(run.Tags, " and "))
	case len(run.Tags) > 0:
		parts = append(parts, "published as "+strings.Join(run.Tags, " and "))
	case run.Stuck > 0:
		parts = append(parts, fmt.Sprintf("not published, and %s could not be restored", units.Count(run.Stuck, "tag")))
	case run.Outcome != OutcomeOK && pushes:
		parts = append(parts, "no tag was changed")
	}
	if page != "" {
		parts = append(parts, "report "+page)
	}
	return "nightly: " + strings.Join(parts, "; ")
}

// maxNamed is how many names a line has before it counts the others.
const maxNamed = 4

func failedNames(run *Run) string {
	var names []string
	for _, res := range run.Selected() {
		if res.Status.Bad() && res.Status != build.StatusParentError {
			names = append(names, res.Image.String())
		}
	}
	return units.List(names, maxNamed)
}

func packageNames(run *Run) string {
	var names []string
	for _, res := range run.Results {
		for _, c := range res.Packages {
			text := c.Name + " " + c.From + " → " + c.To
			switch {
			case c.From == "":
				text = c.Name + " " + c.To + " is new"
			case c.To == "":
				text = c.Name + " " + c.From + " was removed"
			}
			if !slices.Contains(names, text) {
				names = append(names, text)
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "packages: " + units.List(names, maxNamed)
}
