package page

import (
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// The timeline begins with the run, and shows the stages before the first build.
func TestTimelineBeforeTheFirstBuild(t *testing.T) {
	run := big(t, t.TempDir())
	run.Times = report.Times{
		Stages: []report.StageTime{{Name: "render <templates>", Start: run.Started, Took: 10 * time.Second}},
		Images: map[image.ID]map[report.Phase]time.Duration{
			named("base"):           {report.PhaseUnpack: 4 * time.Second, report.PhaseUpload: time.Second},
			named("openstack-base"): {report.PhaseParents: 5 * time.Second, report.PhaseUnpack: 2 * time.Second},
		},
	}
	tl := newTimeline(run, nil, nil)
	if tl.Rows[0].Name != "run" || !tl.Bars[0].Stage || tl.Bars[0].X != 0 {
		t.Errorf("first row %+v, first bar %+v", tl.Rows[0], tl.Bars[0])
	}
	for _, b := range tl.Bars[1:] {
		if b.X <= 0 || b.X+b.W > 100.01 {
			t.Errorf("%s is at %.1f to %.1f", b.Name, b.X, b.X+b.W)
		}
	}
	times := newTimes(run)
	if len(times.Rows) != 3 || len(times.Columns) != 3 {
		t.Fatalf("%d rows and %d columns", len(times.Rows), len(times.Columns))
	}
	if all := times.Rows[0]; all.ID != "" || all.Cells[1] != "6.0s" {
		t.Errorf("all images: %+v", all)
	}
	if base := times.Rows[1]; base.Name != "base" || base.Cells[0] != "" || base.Cells[1] != "4.0s" ||
		base.Cells[2] != "1.0s" {
		t.Errorf("base: %+v", base)
	}
}
