package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	prom "github.com/prometheus/common/model"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	digest "github.com/opencontainers/go-digest"
)

// runs are runs of every outcome: with every kind of image, successful, interrupted,
// ended before any image, and with hostile names and texts.
func runs() map[string]*Run {
	rec := &Recorder{}
	for _, e := range recorded() {
		rec.Handle(e)
	}
	failed := &Run{Summary: Summary{Results: results(), Duration: 201 * time.Second,
		AllowedToFail: []image.ID{named("keystone")}},
		Title: "debian 12, binary", Version: "1.0",
		Started: t0, Slots: 8, Outcome: OutcomeFailed, Activities: rec.Activities(at(201)),
		Past: []Record{{Started: t0.Add(-24 * time.Hour), Seconds: 100, Outcome: OutcomeOK,
			Images: map[image.ID]ImageRecord{named("base"): {Size: 50 << 20}, named("openstack-base"): {Size: 401 << 20}}}}}
	good := &Run{Summary: Summary{Results: results()[:2], Duration: time.Minute}, Title: "debian 12, binary", Started: t0,
		Outcome: OutcomeOK, Registry: "localhost:4000", Tags: []string{"t", "nightly"}}
	evil := "a\"}\n# EOF\n\x00\x1b]0;x\x07<b>&'\\" + "\xff\ufffe\uffff"
	return map[string]*Run{
		"failed": failed, "good": good,
		"interrupted": {Summary: Summary{Results: []Result{{Result: build.Result{Image: named("base"),
			Status: build.StatusCanceled, Reason: "interrupted"}}}}, Title: "t", Started: t0, Outcome: OutcomeInterrupted},
		"early": {Title: "t", Started: t0, Outcome: OutcomeFailed,
			Summary: Summary{Err: errors.New("builder x: no such file\n  hint: make one")}},
		"hostile": {Title: evil, Started: t0, Outcome: OutcomeFailed, Tags: []string{evil}, Registry: evil,
			Summary: Summary{Results: []Result{{Result: build.Result{Image: named(evil), Status: build.StatusError, Size: 1,
				Duration: time.Second, Failure: &build.Failure{Err: errors.New("]]>" + evil), Tail: []string{"]]><x>" + evil}}}}}}},
	}
}

func TestJUnitIsValid(t *testing.T) {
	testenv.Inputs(t, "pkg/report/testdata/junit.xsd")
	xmllint := testenv.Program(t, "xmllint", "libxml2-utils")
	for name, run := range runs() {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "junit.xml")
			if err := run.WriteJUnitFile(file); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(xmllint, "--noout", "--nonet", "--schema", "testdata/junit.xsd",
				file).CombinedOutput(); err != nil {
				data, _ := os.ReadFile(file)
				t.Errorf("%s\n%s", out, data)
			}
		})
	}
}

// The schema rejects invalid documents.
func TestJUnitSchemaRefuses(t *testing.T) {
	testenv.Inputs(t, "pkg/report/testdata/junit.xsd")
	xmllint := testenv.Program(t, "xmllint", "libxml2-utils")
	var b bytes.Buffer
	if err := runs()["failed"].WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	for _, broken := range [][2]string{{` tests="`, ` count="`}, {`type="error"`, ``}, {`<system-out></system-out>`, ``},
		{`2026-11-20T01:02:03`, `20.11.2026`}, {`name="memcached"`, `name="base"`}} {
		text := strings.Replace(b.String(), broken[0], broken[1], 1)
		if text == b.String() {
			t.Fatalf("%q is not in it", broken[0])
		}
		cmd := exec.Command(xmllint, "--noout", "--nonet", "--schema", "testdata/junit.xsd", "-")
		cmd.Stdin = strings.NewReader(text)
		if cmd.Run() == nil {
			t.Errorf("valid without %q", broken[0])
		}
	}
}

func TestJUnitGolden(t *testing.T) {
	var b bytes.Buffer
	if err := runs()["failed"].WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	golden(t, "junit.xml", strings.Replace(b.String(), `hostname="`+host+`"`, `hostname="HOST"`, 1))
}

// TestOpenMetricsParses reads the text with the reference implementation's strict
// parser, and with the one that node_exporter's textfile collector uses.
func TestOpenMetricsParses(t *testing.T) {
	testenv.Slow(t)
	// Debian's: another one on PATH does not have Debian's modules.
	python := testenv.Program(t, "/usr/bin/python3", "python3")
	if exec.Command(python, "-c", "import prometheus_client").Run() != nil {
		testenv.Missing(t, "prometheus_client is not installed: apt-get install python3-prometheus-client")
	}
	for name, run := range runs() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := run.WriteOpenMetrics(&b); err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(b.String(), "\n# EOF\n") {
				t.Errorf("it does not end with # EOF")
			}
			cmd := exec.Command(python, "-c", `
import sys, json
from prometheus_client.openmetrics.parser import text_string_to_metric_families
out = {}
for f in text_string_to_metric_families(sys.stdin.read()):
    for s in f.samples:
        out[s.name + json.dumps(s.labels, sort_keys=True)] = s.value
        assert s.timestamp is None, s
print(json.dumps(out))`)
			cmd.Stdin = bytes.NewReader(b.Bytes())
			var output bytes.Buffer
			cmd.Stderr = &output
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s\n%s", output.String(), b.String())
			}
			strict := map[string]float64{}
			if err := json.Unmarshal(out, &strict); err != nil {
				t.Fatal(err)
			}
			parser := expfmt.NewTextParser(prom.UTF8Validation)
			families, err := parser.TextToMetricFamilies(&b)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, f := range families {
				n += len(f.Metric)
			}
			if n != len(strict) || n == 0 {
				t.Errorf("one parser finds %d samples, the other %d", n, len(strict))
			}
			if name != "failed" {
				return
			}
			for k, want := range map[string]float64{
				`kolla_build_success{}`: 0, `kolla_build_images{"status": "built"}`: 4, `kolla_build_duration_seconds{}`: 201,
				`kolla_build_image_size_change_bytes{"image": "base"}`:           1 << 20,
				`kolla_build_image_size_change_bytes{"image": "openstack-base"}`: -1 << 20,
				`kolla_build_image_failed{"image": "mariadb-backup"}`:            1, `kolla_build_package_changes{}`: 2,
				`kolla_build_last_success_timestamp_seconds{}`: float64(t0.Add(-24*time.Hour).Unix() + 100),
			} {
				if got, ok := strict[k]; !ok || got != want {
					t.Errorf("%s is %v (%v), want %v", k, got, ok, want)
				}
			}
		})
	}
}

func TestCriticalPath(t *testing.T) {
	var acts []Activity
	add := func(name string, from, to float64) {
		acts = append(acts, Activity{Image: named(name), Start: at(from), End: at(to)})
	}
	add("base", 0, 10)
	add("long", 10, 40)
	add("mid", 10, 20)
	add("leaf", 50, 75) // on mid, and waits for a slot: 45 s in all
	add("end", 40, 48)  // on long: 48 s in all
	needs := map[image.ID][]image.ID{named("long"): {named("base")}, named("mid"): {named("base")},
		named("leaf"): {named("mid")},
		named("end"):  {named("long"), named("unchanged")}}
	var names []string
	for _, l := range CriticalPath(acts, needs) {
		names = append(names, l.Image.Name)
	}
	if got := strings.Join(names, " "); got != "base long end" {
		t.Errorf("critical path %q", got)
	}
	assignSlots(acts)
	for _, a := range acts {
		for _, b := range acts {
			if a.Image != b.Image && a.Slot == b.Slot && a.Start.Before(b.End) && b.Start.Before(a.End) {
				t.Errorf("%s and %s share slot %d", a.Image, b.Image, a.Slot)
			}
		}
	}
	needs[named("base")] = []image.ID{named("end")} // a cycle
	if p := CriticalPath(acts, needs); len(p) == 0 {
		t.Error("no path where parents form a cycle")
	}
}

func TestHistory(t *testing.T) {
	h := History{Path: filepath.Join(t.TempDir(), "runs", "x.jsonl")}
	if earlier, err := h.Load(); err != nil || earlier != nil {
		t.Fatalf("%v, %v", earlier, err)
	}
	for i := range keepRecords + 5 {
		run := &Run{Started: t0.Add(time.Duration(i) * time.Hour),
			Summary: Summary{Results: []Result{{Result: build.Result{Image: named("base"), Status: build.StatusBuilt,
				Size: int64(i + 1), Digest: digest.Digest(fmt.Sprint(i))}}}}}
		if err := h.Add(run.Record()); err != nil {
			t.Fatal(err)
		}
	}
	earlier, err := h.Load()
	if err != nil || len(earlier) != keepRecords || earlier[0].Images[named("base")].Size != keepRecords+5 {
		t.Fatalf("%d records, %v", len(earlier), err)
	}
	// A run that is killed while it writes leaves an incomplete line.
	f, err := os.OpenFile(h.Path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString(`{"started":"2026`)
	_ = f.Close()
	if earlier, err = h.Load(); err != nil || len(earlier) != keepRecords {
		t.Errorf("%d records with half a line, %v", len(earlier), err)
	}
	r := &Run{Past: earlier}
	if before, ok := r.Before(named("base")); !ok || before.Size != keepRecords+5 {
		t.Errorf("before: %v %v", before, ok)
	}
	if _, ok := r.Before(named("other")); ok {
		t.Error("a figure of an image that never was")
	}
}
