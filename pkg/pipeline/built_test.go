package pipeline

import (
	"testing"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// Images that were built before damage was found are new in the run.
func TestSecondAttemptKeepsWhatTheFirstBuilt(t *testing.T) {
	named := func(name string) image.ID { return image.ID{Name: name} }
	first := &built{logs: map[image.ID]string{named("base"): "base.log"}, results: []build.Result{
		{Image: named("base"), Status: build.StatusBuilt, Digest: "1", Reason: "new"},
		{Image: named("kept"), Status: build.StatusUnchanged, Digest: "2"},
		{Image: named("again"), Status: build.StatusBuilt, Digest: "3"}}}
	second := &built{logs: map[image.ID]string{}, results: []build.Result{
		{Image: named("base"), Status: build.StatusUnchanged, Digest: "1"},
		{Image: named("kept"), Status: build.StatusUnchanged, Digest: "2"},
		{Image: named("again"), Status: build.StatusBuilt, Digest: "4", Reason: "not in the store"}}}
	both := second.withFirstAttempt(first)
	for i, want := range []string{"new", "", "not in the store"} {
		res := both.results[i]
		if res.Reason != want || (res.Status == build.StatusBuilt) != (want != "") {
			t.Errorf("%s: %s, %q", res.Image, res.Status, res.Reason)
		}
	}
	if second.results[0].Status != build.StatusUnchanged {
		t.Error("the results of the second attempt were changed")
	}
	if both.logs[named("base")] != "base.log" {
		t.Errorf("the log of the first attempt is lost: %v", both.logs)
	}
}
