package runstate

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

func id(name string) image.ID { return image.ID{Name: name} }

func ended(name string, status build.Status) build.Event {
	return build.Event{Kind: build.EventImageEnd, Image: id(name), Result: &build.Result{Image: id(name), Status: status}}
}

func TestRecord(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	scope := Scope{Base: "debian", InstallType: "source", Arch: "x86_64", Namespace: "kolla", Tag: "t"}
	images := []image.ID{id("base"), id("nova-base"), id("nova-api"), {Name: "nova-api", Platform: "linux/arm64"}}
	r, err := Begin(dir, scope, images)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Handle(build.Event{Kind: build.EventImageStart, Image: id("base")})
	r.Handle(ended("base", build.StatusBuilt))
	r.Handle(ended("nova-base", build.StatusError))
	r.Handle(ended("nova-base", build.StatusBuilt)) // a second attempt

	l, err := ReadLastRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	if l.Scope != scope || !slices.Equal(l.Images, images) || l.Started.IsZero() {
		t.Errorf("read %+v", l)
	}
	for name, want := range map[string]bool{"base": true, "nova-base": true, "nova-api": false, "unknown": false} {
		if l.completed(id(name)) != want {
			t.Errorf("%s is not completed: %t", name, want)
		}
	}
	if text := l.Describe(l.Images); !strings.Contains(text, "2 of 4 images") {
		t.Errorf("described as %q", text)
	}
	if err := l.CheckScope(scope); err != nil {
		t.Error(err)
	}
	scope.Tag = "u"
	if err := l.CheckScope(scope); err == nil || !strings.Contains(err.Error(), "--tag") || usererr.Hint(err) == "" {
		t.Errorf("another tag: %v", err)
	}

	r.Handle(ended("nova-api", build.StatusBuilt))
	r.End(false)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if l, err = ReadLastRun(dir); err != nil {
		t.Fatal(err)
	}
	if text := l.Describe(images[:3]); !strings.Contains(text, "not publish") {
		t.Errorf("described as %q", text)
	}
}

// TestKilledRun truncates the record at every byte: the rest is read, and only images
// with a complete entry count as completed.
func TestKilledRun(t *testing.T) {
	dir := t.TempDir()
	r, err := Begin(dir, Scope{Base: "debian"}, []image.ID{id("base"), id("cron")})
	if err != nil {
		t.Fatal(err)
	}
	r.Handle(ended("base", build.StatusBuilt))
	r.Handle(ended("cron", build.StatusBuilt))
	r.Close()
	path := filepath.Join(dir, recordFile)
	intact, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.Collect(strings.Lines(string(intact)))
	for n := range len(intact) {
		if err := os.WriteFile(path, intact[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := ReadLastRun(dir)
		if headerEnd := len(lines[0]) - 1; (err == nil) != (n >= headerEnd) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
		if err != nil {
			continue
		}
		if end := len(lines[0]) + len(lines[1]) - 1; l.completed(id("base")) != (n >= end) {
			t.Errorf("cut after %d bytes: base is completed: %t", n, l.completed(id("base")))
		}
	}
}

func TestNoLastRun(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadLastRun(dir); err == nil || !strings.Contains(usererr.Hint(err), "--data-dir") {
		t.Errorf("without a record: %v", err)
	}
	for _, content := range []string{"", "{", "[]\n", `{"version":2}` + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, recordFile), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadLastRun(dir); err == nil || usererr.Hint(err) == "" {
			t.Errorf("a record %q: %v", content, err)
		}
	}
}

// TestIncomplete checks that no image stays on a parent that is built again, even if
// the last run had completed it.
func TestIncomplete(t *testing.T) {
	dir := t.TempDir()
	r, err := Begin(dir, Scope{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, status := range map[string]build.Status{"base": build.StatusBuilt, "nova-base": build.StatusPushError,
		"nova-api": build.StatusBuilt, "cron": build.StatusBuilt} {
		r.Handle(ended(name, status))
	}
	l, err := ReadLastRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	inputs := []plan.Input{{Image: id("base")}, {Image: id("nova-base"), Needs: []image.ID{id("base")}},
		{Image: id("nova-api"), Needs: []image.ID{id("nova-base")}},
		{Image: id("cron"), Needs: []image.ID{id("base")}}, {Image: id("never-reached"), Needs: []image.ID{id("base")}}}
	want := map[image.ID]bool{id("base"): false, id("nova-base"): true, id("nova-api"): true, id("cron"): false,
		id("never-reached"): true}
	if got := l.Incomplete(inputs); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRecordOnFullDisk(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := &Record{file: f}
	defer r.Close()
	r.End(true)
	if err := r.Err(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	(*Record)(nil).Close()
}

func TestScopeDifference(t *testing.T) {
	a := Scope{Base: "debian", Registry: "localhost:4000"}
	if option, _, _ := a.difference(a); option != "" {
		t.Errorf("equal scopes differ in %s", option)
	}
	if option, was, is := a.difference(Scope{Base: "debian"}); option != "--registry" ||
		was != "localhost:4000" || is != "" {
		t.Errorf("got %s, %q, %q", option, was, is)
	}
}

func TestKeyHistory(t *testing.T) {
	dir := t.TempDir()
	debian, ubuntu := OpenKeyHistory(dir, "debian"), OpenKeyHistory(dir, "ubuntu")
	if _, ok := debian.Parts(id("base")); ok {
		t.Error("an empty history has parts")
	}
	debian.Record(id("base"), map[string]string{"Dockerfile": "sha256:1"})
	ubuntu.Record(id("base"), map[string]string{"Dockerfile": "sha256:2"})
	for _, h := range []*KeyHistory{debian, ubuntu} {
		if err := h.Save(); err != nil {
			t.Fatal(err)
		}
	}
	reopened := OpenKeyHistory(dir, "debian")
	if parts, ok := reopened.Parts(id("base")); !ok || parts["Dockerfile"] != "sha256:1" {
		t.Errorf("read %v", parts)
	}
	if _, ok := reopened.Parts(image.ID{Name: "base", Platform: "linux/arm64"}); ok {
		t.Error("another platform's image has the same parts")
	}
	if err := os.WriteFile(filepath.Join(dir, keyHistoryFile), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	damaged := OpenKeyHistory(dir, "debian")
	damaged.Record(id("base"), map[string]string{"Dockerfile": "sha256:3"})
	if err := damaged.Save(); err != nil {
		t.Errorf("over a damaged file: %v", err)
	}
}

// TestKeyHistoryOfSeveralRuns saves at the same time: no run's parts are lost.
func TestKeyHistoryOfSeveralRuns(t *testing.T) {
	dir := t.TempDir()
	var runs sync.WaitGroup
	for i := range 10 {
		runs.Go(func() {
			h := OpenKeyHistory(dir, "debian")
			h.Record(id(fmt.Sprintf("image-%d", i)), map[string]string{"context": "sha256:1"})
			if err := h.Save(); err != nil {
				t.Error(err)
			}
		})
	}
	runs.Wait()
	h := OpenKeyHistory(dir, "debian")
	for i := range 10 {
		if _, ok := h.Parts(id(fmt.Sprintf("image-%d", i))); !ok {
			t.Errorf("image-%d is lost", i)
		}
	}
}

// A history that is too large to be read is not written, and one on disk is not replaced.
func TestKeyHistoryOfLargeFiles(t *testing.T) {
	testenv.Slow(t)
	dir := t.TempDir()
	path := filepath.Join(dir, keyHistoryFile)
	h := OpenKeyHistory(dir, "scope")
	h.Record(id("base"), map[string]string{"a": strings.Repeat("x", inputfile.MaxState)})
	if err := h.Save(); err == nil {
		t.Error("more was written than can be read")
	}
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, inputfile.MaxState+1)); err != nil {
		t.Fatal(err)
	}
	h = OpenKeyHistory(dir, "scope")
	h.Record(id("base"), map[string]string{"a": "b"})
	var large *inputfile.TooLargeError
	if err := h.Save(); !errors.As(err, &large) {
		t.Errorf("saved: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != inputfile.MaxState+1 {
		t.Errorf("the history was replaced (%v)", err)
	}
}
