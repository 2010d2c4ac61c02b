package page

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// times is the table of the times of a run.
type times struct {
	Sum     string
	Stages  []stage
	Columns []string
	Rows    []timesRow
}

type stage struct{ Name, Took string }

type timesRow struct {
	ID, Name string // of an image; the row of all images has no ID
	Cells    []string
}

// newTimes returns the table, nil if nothing was built.
func newTimes(run *report.Run) *times {
	t := run.Times
	if len(t.Images) == 0 {
		return nil
	}
	v := &times{Sum: fmt.Sprintf("%s in all: %s before the first build, and %s after the last one. "+
		"Several images are built at once, so the sums of all images are longer than the run.",
		units.Duration(run.Duration), units.Duration(t.BeforeBuilds), units.Duration(t.AfterBuilds))}
	for _, s := range t.Stages {
		v.Stages = append(v.Stages, stage{clean(s.Name), units.Duration(s.Took)})
	}
	total := t.Total()
	var used []report.Phase
	for _, p := range report.Phases {
		if total[p.Phase] > 0 {
			used = append(used, p.Phase)
			v.Columns = append(v.Columns, p.Title)
		}
	}
	cells := func(phases map[report.Phase]time.Duration) []string {
		var out []string
		for _, p := range used {
			text := ""
			if phases[p] > 0 {
				text = units.Duration(phases[p])
			}
			out = append(out, text)
		}
		return out
	}
	v.Rows = append(v.Rows, timesRow{Name: "all images", Cells: cells(total)})
	for _, im := range slices.SortedFunc(maps.Keys(t.Images), image.Compare) {
		v.Rows = append(v.Rows, timesRow{ID: id(im.String()), Name: clean(im.String()), Cells: cells(t.Images[im])})
	}
	return v
}
