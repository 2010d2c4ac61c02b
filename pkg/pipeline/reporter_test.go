package pipeline

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/offline"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// TestSummaryOnTerminal checks that the JSON summary is for programs: a person at a
// terminal sees the text summary only.
func TestSummaryOnTerminal(t *testing.T) {
	cfg := &config.Config{Format: "json"}
	var piped bytes.Buffer
	r := &reporter{cfg: cfg, console: &console.Console{Stdout: console.NewOutput(&piped)}}
	if err := r.writeJSON(report.Summary{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(piped.String(), `"built"`) {
		t.Errorf("a pipe got %q", piped.String())
	}

	master, terminal := testenv.PTY(t)
	r.console = &console.Console{Stdout: console.NewOutput(terminal)}
	if err := r.writeJSON(report.Summary{}); err != nil {
		t.Fatal(err)
	}
	if _, err := terminal.WriteString("end"); err != nil {
		t.Fatal(err)
	}
	if err := master.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	n, err := master.Read(got)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if string(got[:n]) != "end" {
		t.Errorf("the terminal got %q", got[:n])
	}
}

// TestNextKeepsRegistry checks that the suggestion to push does not name another registry
// than the configured one.
func TestNextKeepsRegistry(t *testing.T) {
	run := &report.Run{Summary: report.Summary{Results: make([]report.Result, 1)}}
	s := stages{session: &session{}, planned: &planned{}, built: &built{results: make([]build.Result, 1)}}
	for registry, localhost := range map[string]bool{"": true, "registry.example:4000": false} {
		r := &reporter{cfg: &config.Config{Registry: registry}}
		got := strings.Join(r.next(s, run), "\n")
		if !strings.Contains(got, "--push") || strings.Contains(got, "localhost:4000") != localhost {
			t.Errorf("registry %q: %s", registry, got)
		}
	}
}

// TestNextCarriesTheSet checks that the suggestion to save a published set selects it among
// the other tags, namespaces and registries of the store, and that lock suggests fetch.
func TestNextCarriesTheSet(t *testing.T) {
	run := &report.Run{Summary: report.Summary{Results: []report.Result{
		{Result: build.Result{Reference: "registry.example:4000/kolla/cron:t-2026-11-29"}}}}}
	s := stages{session: &session{}, planned: &planned{registry: &publish.Registry{}},
		built: &built{results: make([]build.Result, 1)}}
	r := &reporter{cfg: &config.Config{Registry: "registry.example:4000", Namespace: "kolla", Tag: "t"}}
	want := "kolla-build save --tag t-2026-11-29 --registry registry.example:4000 --namespace kolla --output set.tar"
	if got := strings.Join(r.next(s, run), "\n"); !strings.Contains(got, want) {
		t.Errorf("suggested\n%s", got)
	}
	s.session.recording, s.planned.registry = &offline.Recording{}, nil
	if got := strings.Join(r.next(s, run), "\n"); !strings.Contains(got, "kolla-build fetch ") ||
		strings.Contains(got, "push") {
		t.Errorf("lock suggested\n%s", got)
	}
}

// TestUnknownInputsAgree checks the notice about images whose inputs could not be
// compared, for one image and for several.
func TestUnknownInputsAgree(t *testing.T) {
	kept := &plan.Item{Action: plan.Keep, Note: "packages not compared"}
	for n, want := range map[int]string{0: "", 1: "1 image was kept", 2: "2 images were kept"} {
		var out bytes.Buffer
		r := &reporter{console: &console.Console{Stderr: console.NewOutput(&out)}}
		r.noteUnknownInputs(&plan.Plan{Items: slices.Repeat([]*plan.Item{kept}, n)})
		if got := out.String(); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%d images: %q", n, got)
		}
	}
}
