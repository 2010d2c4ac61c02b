package pipeline

import (
	"errors"
	"maps"
	"os"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

// TestRedo: no image stays on a parent that is built anew, though the last run
// had done it.
func TestRedo(t *testing.T) {
	l := &lastRun{ended: map[string]runLine{}}
	for image, status := range map[string]build.Status{"base": build.StatusBuilt, "nova-base": build.StatusPushError, "nova-api": build.StatusBuilt, "cron": build.StatusBuilt} {
		l.ended[image] = runLine{Image: image, Status: status}
	}
	inputs := []plan.Input{{Image: "base"}, {Image: "nova-base", Needs: []string{"base"}}, {Image: "nova-api", Needs: []string{"nova-base"}},
		{Image: "cron", Needs: []string{"base"}}, {Image: "never-reached", Needs: []string{"base"}}}
	want := map[string]bool{"base": false, "nova-base": true, "nova-api": true, "cron": false, "never-reached": true}
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
	first := []*build.Result{{Image: "base", Status: build.StatusBuilt, Digest: "1", Reason: "new"}, {Image: "kept", Status: build.StatusUnchanged, Digest: "2"}, {Image: "again", Status: build.StatusBuilt, Digest: "3"}}
	second := []*build.Result{{Image: "base", Status: build.StatusUnchanged, Digest: "1"}, {Image: "kept", Status: build.StatusUnchanged, Digest: "2"}, {Image: "again", Status: build.StatusBuilt, Digest: "4", Reason: "not in the store"}}
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
