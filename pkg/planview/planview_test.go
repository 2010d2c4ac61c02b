package planview

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

func named(name string) image.ID { return image.ID{Name: name} }

// TestFailuresAreInherited checks that an image whose parent cannot be built is counted as one
// that cannot be built either, regardless of its own plan.
func TestFailuresAreInherited(t *testing.T) {
	p := &plan.Plan{Items: []*plan.Item{
		{Image: named("base"), Action: plan.Build, Estimate: time.Minute},
		{Image: named("broken"), Action: plan.Build, Needs: []image.ID{named("base")}},
		{Image: named("child"), Action: plan.Keep, Needs: []image.ID{named("broken")}},
		{Image: named("other"), Action: plan.Keep, Reason: "unchanged"},
	}}
	v := New(Input{Plan: p, Threads: 2,
		Failed: func(id image.ID) error {
			if id == named("broken") {
				return errors.New("no such base image\nsecond line")
			}
			return nil
		},
		LeftOut: []imageset.LeftOut{
			{Image: named("unwanted"), Status: graph.Unbuildable},
			{Image: named("wanted"), Status: graph.Unbuildable, Requested: true, Reason: "not for debian"},
			{Image: named("present"), Status: graph.Skipped, Reason: "exists"},
		}})
	if v.Build != 1 || v.Keep != 1 || v.Fail != 2 {
		t.Errorf("build %d, keep %d, fail %d", v.Build, v.Keep, v.Fail)
	}
	if got := v.Items[1].Error; got != "no such base image" {
		t.Errorf("broken: %q", got)
	}
	if got := v.Items[2].Error; !strings.Contains(got, "broken") {
		t.Errorf("child: %q", got)
	}
	if len(v.LeftOut) != 2 || v.LeftOut[0].Image != named("wanted") || v.LeftOut[1].Image != named("present") {
		t.Errorf("left out: %v", v.LeftOut)
	}
	for mayFail, want := range map[string]bool{"": true, "broken": true, "broken child": false} {
		var ids []image.ID
		for name := range strings.FieldsSeq(mayFail) {
			ids = append(ids, named(name))
		}
		if got := v.Fails(ids); got != want {
			t.Errorf("Fails(%s) = %v", mayFail, got)
		}
	}
	var out strings.Builder
	if err := v.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "PUSH") {
		t.Errorf("a column about pushes without --push:\n%s", &out)
	}
	for _, fields := range []string{"base build 1m", "broken fail", "child fail", "other keep",
		"wanted skip", "present skip"} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), fields) {
			t.Errorf("no %q in\n%s", fields, &out)
		}
	}
}
