package pipeline

import (
	"errors"
	"maps"
	"os"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// TestRedo: no image stays on a parent that is built anew, though the last run
// had done it.
func TestRedo(t *testing.T) {
	l := &lastRun{ended: map[image.ID]runLine{}}
	for name, status := range map[string]build.Status{"base": build.StatusBuilt, "nova-base": build.StatusPushError, "nova-api": build.StatusBuilt, "cron": build.StatusBuilt} {
		l.ended[image.ID{Name: name}] = runLine{Image: image.ID{Name: name}, Status: status}
	}
	inputs := []plan.Input{{Image: image.ID{Name: "base"}}, {Image: image.ID{Name: "nova-base"}, Needs: []image.ID{{Name: "base"}}}, {Image: image.ID{Name: "nova-api"}, Needs: []image.ID{{Name: "nova-base"}}},
		{Image: image.ID{Name: "cron"}, Needs: []image.ID{{Name: "base"}}}, {Image: image.ID{Name: "never-reached"}, Needs: []image.ID{{Name: "base"}}}}
	want := map[image.ID]bool{{Name: "base"}: false, {Name: "nova-base"}: true, {Name: "nova-api"}: true, {Name: "cron"}: false, {Name: "never-reached"}: true}
	if got := l.redo(&config.Config{}, inputs); !maps.Equal(got, want) {
		t.Errorf("with --nocache: %v, want %v", got, want)
	}
	if got := l.redo(&config.Config{Cache: true}, inputs); len(got) != 0 {
		t.Errorf("with the cache: %v", got)
	}
	if got := (*lastRun)(nil).redo(&config.Config{}, inputs); len(got) != 0 {
		t.Errorf("without --rerun-failed: %v", got)
	}
}

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

// A record that could not be written is told: --rerun-failed would go on from less.
func TestRunRecordOnFullDisk(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	j := &journal{file: f}
	defer j.close()
	if err := j.end(t.Context(), nil); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
}
