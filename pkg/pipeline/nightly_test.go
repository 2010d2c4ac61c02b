package pipeline

import (
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// The last line of a night says what the tags name, however the night ended.
func TestNightLine(t *testing.T) {
	named := func(name string) image.ID { return image.ID{Name: name} }
	failed := report.Summary{Results: []report.Result{
		{Result: build.Result{Image: named("base"), Status: build.StatusBuilt}},
		{Result: build.Result{Image: named("leaf"), Status: build.StatusError}},
		{Result: build.Result{Image: named("other"), Status: build.StatusUnmatched}},
		{Result: build.Result{Image: named("tgtd"), Status: build.StatusUnbuildable}, NotRequested: true},
	}}
	tags := []string{"t-2026-11-22", "t"}
	for want, run := range map[string]*report.Run{
		"1 of 2 images failed (leaf); no tag was changed":                           {Summary: failed, Outcome: report.OutcomeFailed},
		"1 of 2 images failed (leaf); published without leaf as t-2026-11-22 and t": {Summary: failed, Outcome: report.OutcomeFailed, Tags: tags, Left: []image.ID{named("leaf")}},
		"failed; published as t-2026-11-22 and t":                                   {Outcome: report.OutcomeFailed, Tags: tags},
		"failed; not published, and 2 tags could not be restored":                   {Outcome: report.OutcomeFailed, Stuck: 2},
		"interrupted; no tag was changed":                                           {Outcome: report.OutcomeInterrupted},
		"0 of 0 images built; published as t-2026-11-22 and t":                      {Outcome: report.OutcomeOK, Tags: tags},
	} {
		if got := strings.Join(nightParts(run, true, false, ""), "; "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
