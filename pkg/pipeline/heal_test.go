package pipeline

import (
	"testing"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// TestBuiltBefore: what was built before damage was found is new in the run, for
// its summary, its reports and the line of a night.
func TestBuiltBefore(t *testing.T) {
	first := []*report.Result{{Result: build.Result{Image: image.ID{Name: "base"}, Status: build.StatusBuilt, Digest: "1", Reason: "new"}}, {Result: build.Result{Image: image.ID{Name: "kept"}, Status: build.StatusUnchanged, Digest: "2"}}, {Result: build.Result{Image: image.ID{Name: "again"}, Status: build.StatusBuilt, Digest: "3"}}}
	second := []*report.Result{{Result: build.Result{Image: image.ID{Name: "base"}, Status: build.StatusUnchanged, Digest: "1"}}, {Result: build.Result{Image: image.ID{Name: "kept"}, Status: build.StatusUnchanged, Digest: "2"}}, {Result: build.Result{Image: image.ID{Name: "again"}, Status: build.StatusBuilt, Digest: "4", Reason: "not in the store"}}}
	builtBefore(first, second)
	for i, want := range []string{"new", "", "not in the store"} {
		if second[i].Reason != want || (second[i].Status == build.StatusBuilt) != (want != "") {
			t.Errorf("%s: %s, %q", second[i].Image, second[i].Status, second[i].Reason)
		}
	}
}
