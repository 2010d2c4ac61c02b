package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

func text(t *testing.T, s Summary, opts TextOptions) string {
	t.Helper()
	if opts.Getenv == nil {
		opts.Getenv = env("LANG=C.UTF-8")
	}
	var b bytes.Buffer
	if err := s.WriteText(&b, opts); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func demoSummary() Summary {
	return Summary{
		Results: results(), Duration: 201 * time.Second, AllowedToFail: []image.ID{named("keystone")},
		Next: []string{"What next:", "  kolla-build registry serve"},
	}
}

func TestSummaryText(t *testing.T) {
	s := demoSummary()
	golden(t, "summary.txt", text(t, s, TextOptions{}))
	golden(t, "summary_not_matched.txt", text(t, s,
		TextOptions{NotMatched: true, Getenv: env("LC_ALL=C", "LANG=C.UTF-8")}))
	for _, width := range []int{100, 80, 50, 30} {
		got := text(t, s, TextOptions{Width: width})
		golden(t, fmt.Sprintf("summary_%d.txt", width), got)
		table, _, _ := strings.Cut(got, "localhost:4000")
		for _, line := range strings.Split(table, "\n") {
			if ansi.StringWidth(line) > width {
				t.Errorf("%q is wider than %d", line, width)
			}
		}
	}
}

func TestSummaryNothingToDo(t *testing.T) {
	s := Summary{Duration: 400 * time.Millisecond}
	for _, name := range []string{"base", "cron", "nova-api"} {
		s.Results = append(s.Results, Result{Result: build.Result{Image: named(name), Status: build.StatusUnchanged}})
	}
	want := "✓ Nothing to do: 3 images unchanged in 0.4s.\n"
	if got := text(t, s, TextOptions{}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := text(t, Summary{}, TextOptions{}); got != "No images.\n" {
		t.Errorf("got %q", got)
	}
}

// Images of an interrupted run have not failed.
func TestSummaryOfAnInterruptedRun(t *testing.T) {
	interrupted := Result{Result: build.Result{Image: named("base"), Status: build.StatusCanceled, Reason: "interrupted"}}
	s := Summary{Results: []Result{interrupted}}
	var b strings.Builder
	if err := s.WriteText(&b, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "not finished") || strings.Contains(got, "failed to build") {
		t.Errorf("the summary is\n%s", got)
	}
}

// If a registry cannot be reached, each image fails in the same way. That is one
// cause, printed once.
func TestSummaryGroupsEqualCauses(t *testing.T) {
	var s Summary
	for i := range 30 {
		name := fmt.Sprintf("image%02d", i)
		ref := "localhost:4000/kolla/" + name + ":t"
		s.Results = append(s.Results,
			Result{Result: build.Result{Image: named(name), Reference: ref, Status: build.StatusPushError, Duration: time.Second,
				Failure: &build.Failure{Err: fmt.Errorf("pushing %s: connection refused", ref), Hint: "is the registry running?"}}})
	}
	s.Results = append(s.Results,
		Result{Result: build.Result{Image: named("few"), Status: build.StatusError,
			Failure: &build.Failure{Step: "RUN a", Err: errors.New("exit code: 1")}}},
		Result{Result: build.Result{Image: named("many"), Status: build.StatusError,
			Failure: &build.Failure{Step: "RUN a", Err: errors.New("exit code: 1")}}},
		Result{Result: build.Result{Image: named("many-a"), Parent: named("many"), Status: build.StatusParentError}},
		Result{Result: build.Result{Image: named("many-b"), Parent: named("many-a"), Status: build.StatusParentError}},
		Result{Result: build.Result{Image: named("lost"), Parent: named("unknown"), Status: build.StatusParentError,
			Reason: "skipped because unknown failed"}},
		Result{Result: build.Result{Image: named("looped"), Parent: named("looped"), Status: build.StatusParentError}},
		Result{Result: build.Result{Image: named("begun"), Status: build.StatusCanceled, Started: t0}},
		Result{Result: build.Result{Image: named("waiting"), Status: build.StatusCanceled}},
	)
	golden(t, "summary_causes.txt", text(t, s, TextOptions{Width: 80}))
}

func TestSummaryIsSafeToShow(t *testing.T) {
	evil := "x\x1b[2J\x07\u202e\n"
	s := Summary{Next: []string{"next"}, Results: []Result{
		{Result: build.Result{Image: named("a" + evil), Reference: evil, Digest: digest.Digest(evil),
			Status: build.StatusBuilt}},
		{Result: build.Result{Image: named("b" + evil), Reason: evil, Status: build.StatusError,
			Failure: &build.Failure{Err: errors.New(evil), Dockerfile: evil,
				Template: evil, Source: []string{evil}, Step: evil, Tail: []string{evil}, Hint: evil}}, Log: evil},
		{Result: build.Result{Image: named("c" + evil), Parent: named("b" + evil), Reason: evil,
			Status: build.StatusParentError}},
		{Result: build.Result{Image: named("d" + evil), Reason: evil, Status: build.StatusSkipped}},
		{Result: build.Result{Image: named("e" + evil), Reason: evil, Status: build.StatusCanceled}},
	}}
	for _, r := range strings.ReplaceAll(text(t, s, TextOptions{}), "\n", "") {
		if !printable.Rune(r) {
			t.Fatalf("%q reaches the terminal", r)
		}
	}
}

func TestSummaryJSON(t *testing.T) {
	s := demoSummary()
	s.Results = append(s.Results,
		Result{Result: build.Result{Image: named("begun"), Status: build.StatusCanceled, Started: t0}},
		Result{Result: build.Result{Image: named("waiting"), Status: build.StatusCanceled}})
	var b bytes.Buffer
	if err := s.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\n"); n != 1 || !strings.HasSuffix(b.String(), "\n") {
		t.Errorf("%d lines, want one", n)
	}
	path := filepath.Join(t.TempDir(), "summary.json")
	if err := s.WriteJSONFile(path); err != nil {
		t.Fatal(err)
	}
	golden(t, "summary.json", read(t, path))
	var first, second any
	if err := errors.Join(json.Unmarshal(b.Bytes(), &first), json.Unmarshal([]byte(read(t, path)), &second)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(first, second) {
		t.Error("the line and the file differ")
	}

	// The fields of upstream's summary.
	var up map[string][]struct{ Name, Status string }
	if err := json.Unmarshal(b.Bytes(), &up); err != nil {
		t.Fatal(err)
	}
	list := func(key string, status bool) string {
		var out []string
		for _, e := range up[key] {
			if status {
				e.Name += "=" + e.Status
			}
			out = append(out, e.Name)
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		key    string
		status bool
		want   string
	}{
		{"built", false, "base cron fluentd mariadb-base memcached openstack-base"},
		{"failed", true, "begun=building keystone=push_error mariadb-backup=parent_error mariadb-clustercheck=parent_error mariadb-server=error waiting=matched"},
		{"not_matched", false, "nova-base"},
		{"skipped", false, "zun-base"},
		{"unbuildable", false, "tgtd"},
	} {
		if got := list(c.key, c.status); got != c.want {
			t.Errorf("%s: %s, want %s", c.key, got, c.want)
		}
	}
	if len(up) != 5 {
		t.Errorf("%d fields, upstream has 5", len(up))
	}
	if n := s.Failed(); n != 5 { // keystone may fail
		t.Errorf("%d failed, want 5", n)
	}

	b.Reset()
	if err := (Summary{}).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if want := `{"built":[],"failed":[],"not_matched":[],"skipped":[],"unbuildable":[]}` + "\n"; b.String() != want {
		t.Errorf("of nothing: %s", b.String())
	}
}

func TestSummaryJSONFileIsAtomic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "summary.json")
	link := filepath.Join(dir, "link.json")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("summary.json", link); err != nil {
		t.Fatal(err)
	}
	err := atomicfile.Output(link, atomicfile.Options{}, func(w io.Writer) error {
		_, _ = w.Write([]byte("half"))
		return errors.New("no space")
	})
	if err == nil || read(t, path) != "old" {
		t.Errorf("after a failed write (%v) the file holds %q", err, read(t, path))
	}
	if err := demoSummary().WriteJSONFile(link); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Lstat(link); err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 ||
		!strings.HasPrefix(read(t, path), "{\n    \"built\"") {
		t.Errorf("the file was not replaced with its mode kept: %v", fi.Mode())
	}
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"link.json", "summary.json"}) {
		t.Errorf("left behind: %v", names)
	}
	err = demoSummary().WriteJSONFile(filepath.Join(dir, "missing", "summary.json"))
	if !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "writing the JSON summary: ") {
		t.Errorf("got %v", err)
	}
	if shm, err := os.MkdirTemp("/dev/shm", "kolla-build-*"); err == nil { // not everywhere
		defer os.RemoveAll(shm)
		path := filepath.Join(shm, "summary.json")
		if err := (Summary{}).WriteJSONFile(path); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if err := (Summary{}).WriteJSONFile("/dev/null"); err != nil {
		t.Error(err)
	}
}

// An image that cannot be built here is reported if it was requested. The
// JSON summary lists it in any case, as upstream does.
func TestUnbuildableImages(t *testing.T) {
	for requested, want := range map[bool]int{true: 2, false: 0} {
		run := Run{Outcome: OutcomeOK, Started: t0, Summary: Summary{Results: []Result{
			{Result: build.Result{Image: named("a"), Status: build.StatusBuilt}},
			{Result: build.Result{Image: named("b"), Status: build.StatusUnbuildable}, NotRequested: !requested}}}}
		var text, junit, metrics, summary strings.Builder
		for _, err := range []error{run.WriteText(&text, TextOptions{}), run.WriteJUnit(&junit),
			run.WriteOpenMetrics(&metrics), run.WriteJSON(&summary)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Count(text.String(), "buildable"); got != want {
			t.Errorf("requested %v: the summary has %d mentions, want %d\n%s", requested, got, want, text.String())
		}
		if got := strings.Contains(junit.String(), `name="b"`); got != requested {
			t.Errorf("requested %v: JUnit has a case for it: %v", requested, got)
		}
		if want := map[bool]string{true: "1.0", false: "0.0"}[requested]; !strings.Contains(metrics.String(),
			`kolla_build_images{status="unbuildable"} `+want) {
			t.Errorf("requested %v: want %s unbuildable image in the metrics\n%s", requested, want, metrics.String())
		}
		if got := len(run.Selected()); got != 1+want/2 {
			t.Errorf("requested %v: %d images are selected", requested, got)
		}
		if !strings.Contains(summary.String(), `"unbuildable":[{"name":"b"`) {
			t.Errorf("requested %v: the JSON summary does not list it: %s", requested, summary.String())
		}
	}
}

func TestSizesAddUpTheWholeSet(t *testing.T) {
	s := Summary{Results: []Result{
		{Result: build.Result{Image: named("a"), Status: build.StatusBuilt, Size: 1 << 20}},
		{Result: build.Result{Image: named("b"), Status: build.StatusUnchanged, Size: 2 << 20}}}}
	if got := text(t, s, TextOptions{}); !strings.Contains(got, "3.0 MiB") {
		t.Errorf("the sum of built and unchanged images is missing:\n%s", got)
	}
}
