package pipeline

import (
	"testing"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// The night's last line says what the tags name now, however the night ended.
func TestNightLine(t *testing.T) {
	r := &buildRun{up: &publisher{}}
	bad := report.Summary{Results: []report.Result{{Result: build.Result{Image: image.ID{Name: "base"}, Status: build.StatusBuilt}}, {Result: build.Result{Image: image.ID{Name: "leaf"}, Status: build.StatusError}}}}
	tags := []string{"t-2026-11-22", "t"}
	for want, run := range map[string]*report.Run{
		"nightly: 1 of 2 images failed (leaf); tags name what they named before":             {Summary: bad, Outcome: report.OutcomeFailed},
		"nightly: 1 of 2 images failed (leaf); published without leaf as t-2026-11-22 and t": {Summary: bad, Outcome: report.OutcomeFailed, Tags: tags, Left: []image.ID{{Name: "leaf"}}},
		"nightly: failed; published as t-2026-11-22 and t":                                   {Outcome: report.OutcomeFailed, Tags: tags},
		"nightly: failed; not published, and 2 tags could not be put back":                   {Outcome: report.OutcomeFailed, Stuck: 2},
		"nightly: interrupted; tags name what they named before":                             {Outcome: report.OutcomeInterrupted},
		"nightly: 0 of 0 images built; published as t-2026-11-22 and t":                      {Outcome: report.OutcomeOK, Tags: tags},
	} {
		if got := (&night{}).line(r, run, ""); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
