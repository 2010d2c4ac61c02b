package report

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// apt is the output of an installation, with the seconds at which it comes.
var apt = []struct {
	at   float64
	text string
}{
	{1, "Reading package lists...\n"},
	{2, "Get:1 http://deb.example/debian trixie/main amd64 less amd64 668-1 [161 kB]\n"},
	{5, "Fetched 161 kB in 3s (53.7 kB/s)\n"},
	{6, "Selecting previously unselected package less.\nUnpacking less (668-1) ...\n"},
	{10, "Setting up less (668-1) ...\n"},
	{12, "a message of a maintainer script\n"},
	{14, "Processing triggers for libc-bin (2.41-12) ...\n"},
}

func TestTimesOfAnImage(t *testing.T) {
	var r Recorder
	base, leaf := image.ID{Name: "base"}, image.ID{Name: "leaf"}
	event := func(s float64, e build.Event) {
		e.Time = t0.Add(time.Duration(s * float64(time.Second)))
		r.Handle(e)
	}
	event(1, build.Event{Kind: build.EventRunStart})
	event(1, build.Event{Kind: build.EventImageStart, Image: base})
	event(11, build.Event{Kind: build.EventImageEnd, Image: base,
		Result: &build.Result{Started: at(1), Duration: 10 * time.Second}})
	event(13, build.Event{Kind: build.EventImageStart, Image: leaf})
	install := build.Step{ID: "run", Kind: build.StepCommand, Name: "RUN apt-get install less"}
	event(14, build.Event{Kind: build.EventStepStart, Image: leaf, Step: install})
	for _, o := range apt {
		event(14+o.at, build.Event{Kind: build.EventLog, Image: leaf, Step: install, Data: []byte(o.text)})
	}
	install.Duration = 15 * time.Second
	event(29, build.Event{Kind: build.EventStepEnd, Image: leaf, Step: install})
	export := build.Step{ID: "export", Kind: build.StepExport, Name: "exporting to oci image format"}
	event(30, build.Event{Kind: build.EventStepStart, Image: leaf, Step: export})
	export.Duration = 2 * time.Second
	event(32, build.Event{Kind: build.EventStepEnd, Image: leaf, Step: export})
	compress := build.Step{ID: "compress", Kind: build.StepCompress, Name: "compress layers with gzip:6"}
	event(33, build.Event{Kind: build.EventStepStart, Image: leaf, Step: compress})
	compress.Duration = 3 * time.Second
	event(36, build.Event{Kind: build.EventStepEnd, Image: leaf, Step: compress})
	event(37, build.Event{Kind: build.EventPushStart, Image: leaf})
	event(38, build.Event{Kind: build.EventPushEnd, Image: leaf})
	event(38, build.Event{Kind: build.EventImageEnd, Image: leaf,
		Result: &build.Result{Started: at(13), Duration: 20 * time.Second}})

	times := r.Times(map[image.ID][]image.ID{leaf: {base}}, t0, at(40))
	want := map[Phase]float64{PhaseParents: 10, PhaseSlot: 2, PhaseDownload: 3, PhaseUnpack: 4,
		PhaseScripts: 4, PhaseTriggers: 1,
		PhaseCommands: 3, PhaseSnapshots: 3, PhaseExport: 2, PhaseCompression: 3, PhaseUploadWait: 1, PhaseUpload: 1}
	got := times.Images[leaf]
	for _, p := range Phases {
		if s := got[p.Phase].Seconds(); s < want[p.Phase]-0.001 || s > want[p.Phase]+0.001 {
			t.Errorf("%s: %.3f s, want %.3f", p.Phase, s, want[p.Phase])
		}
	}
	if times.BeforeBuilds != time.Second || times.AfterBuilds != 7*time.Second {
		t.Errorf("%v before the builds and %v after them", times.BeforeBuilds, times.AfterBuilds)
	}
	// The waits, the build and what follows are the whole time from the scheduler's
	// start to the end of the image.
	var sum time.Duration
	for _, d := range got {
		sum += d
	}
	if sum != 37*time.Second {
		t.Errorf("the phases add up to %v, not 37s", sum)
	}
}

// Each phase of a summary in JSON is one that Phases names, in seconds.
func TestTimesInJSON(t *testing.T) {
	id := image.ID{Name: "base"}
	s := Summary{Duration: 9 * time.Second,
		Results: []Result{{Result: build.Result{Image: id, Status: build.StatusBuilt, Duration: 3 * time.Second}}},
		Times: Times{BeforeBuilds: time.Second, Stages: []StageTime{{Name: "render templates", Start: t0,
			Took: 500 * time.Millisecond}},
			Images: map[image.ID]map[Phase]time.Duration{id: {PhaseUnpack: 1500 * time.Millisecond}}}}
	var b strings.Builder
	if err := s.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Built []struct {
			Phases map[string]float64
		}
		Times struct {
			Total, Before_First_Build float64
			Stages                    []struct{ Duration float64 }
			Phases                    map[string]float64
		}
	}
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Built[0].Phases["unpacking"] != 1.5 || got.Times.Phases["unpacking"] != 1.5 || got.Times.Total != 9 ||
		got.Times.Before_First_Build != 1 || got.Times.Stages[0].Duration != 0.5 {
		t.Errorf("%s", b.String())
	}
}
