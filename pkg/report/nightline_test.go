package report

import (
	"testing"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// The last line of a nightly run reports the state of the tags for every outcome.
func TestNightLine(t *testing.T) {
	named := func(name string) image.ID { return image.ID{Name: name} }
	failed := Summary{Results: []Result{
		{Result: build.Result{Image: named("base"), Status: build.StatusBuilt}},
		{Result: build.Result{Image: named("leaf"), Status: build.StatusError}},
		{Result: build.Result{Image: named("other"), Status: build.StatusUnmatched}},
		{Result: build.Result{Image: named("tgtd"), Status: build.StatusUnbuildable}, NotRequested: true},
	}}
	tags := []string{"t-2026-11-22", "t"}
	for want, run := range map[string]*Run{
		"1 of 2 images failed (leaf); no tag was changed": {Summary: failed,
			Outcome: OutcomeFailed},
		"1 of 2 images failed (leaf); published without leaf as t-2026-11-22 and t": {Summary: failed,
			Outcome: OutcomeFailed, Tags: tags, Left: []image.ID{named("leaf")}},
		"failed; published as t-2026-11-22 and t":                 {Outcome: OutcomeFailed, Tags: tags},
		"failed; not published, and 2 tags could not be restored": {Outcome: OutcomeFailed, Stuck: 2},
		"interrupted; no tag was changed":                         {Outcome: OutcomeInterrupted},
		"0 of 0 images built; published as t-2026-11-22 and t":    {Outcome: OutcomeOK, Tags: tags},
	} {
		if got := run.NightLine(true, ""); got != "nightly: "+want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
