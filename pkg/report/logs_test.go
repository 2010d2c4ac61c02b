package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLogFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "[logs]")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Files of an earlier run: links, a log, and a file of another program.
	for _, link := range []string{"000_FAILED_base.log", "000_FAILED_gone.log"} {
		if err := os.Symlink("gone.log", filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"base.log", "000_FAILED_mine.log"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte("old\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l := NewLogs(LogsOptions{Dir: dir, OnError: func(err error) { t.Error(err) }})
	ends := map[string]build.Event{}
	handle := l.Completing(func(e build.Event) {
		if e.Kind == build.EventImageEnd {
			ends[e.Image.Name] = e
		}
	})
	for _, e := range recorded() {
		given := e.Result
		handle(e)
		if e.Image.Name == "mariadb-server" && given != nil && given.Failure.Step != "" {
			t.Error("the logs changed the builder's result")
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{"000_FAILED_mariadb-server.log", "000_FAILED_mine.log", "base.log", "keystone.log",
		"mariadb-backup.log", "mariadb-base.log", "mariadb-clustercheck.log", "mariadb-server.log",
		"memcached.log", "openstack-base.log"}
	if !slices.Equal(names, want) {
		t.Errorf("the directory holds\n%v, want\n%v", names, want)
	}
	if target, err := os.Readlink(filepath.Join(dir, want[0])); err != nil || target != "mariadb-server.log" {
		t.Errorf("the mark leads to %q, %v", target, err)
	}
	golden(t, "base.log", read(t, filepath.Join(dir, "base.log")))
	failed := read(t, filepath.Join(dir, "mariadb-server.log"))
	golden(t, "mariadb-server.log", failed)
	if !strings.Contains(failed, hostile) {
		t.Error("the log does not hold the output as it came")
	}
	e := ends["mariadb-server"]
	r := l.Complete(*e.Result)
	if want := filepath.Join(dir, "mariadb-server.log"); e.Log != want || r.Log != want || r.Failure.Step != runMaria ||
		e.Result.Failure.Step != runMaria {
		t.Errorf("the event has log %q, the result %q, step %q", e.Log, r.Log, r.Failure.Step)
	}
	if tail := []string{"Reading package lists...", "E: Unable to locate package galera-4",
		"W: \ufffd\ufffd"}; !slices.Equal(r.Failure.Tail, tail) {
		t.Errorf("the tail is %q, want %q", r.Failure.Tail, tail)
	}
	if p := l.Complete(build.Result{Image: named("cron")}).Log; p != "" || ends["cron"].Log != "" {
		t.Errorf("an image that was not begun has a log: %q", p)
	}
}

func TestLogsTailAndAttempts(t *testing.T) {
	dir := t.TempDir()
	l := NewLogs(LogsOptions{Dir: dir, TailLines: 3})
	for attempt := 1; attempt <= 2; attempt++ {
		l.Handle(build.Event{Time: at(0), Kind: build.EventImageStart, Image: named("x")})
		for i := range 10 {
			l.Handle(build.Event{Kind: build.EventLog, Image: named("x"), Step: step("a", "one"),
				Data: fmt.Appendf(nil, "a%d.%d\n\n", attempt, i)})
			l.Handle(build.Event{Kind: build.EventLog, Image: named("x"), Step: step("b", "two"),
				Data: fmt.Appendf(nil, "b%d", i)})
		}
		l.Handle(build.Event{Kind: build.EventStepEnd, Image: named("x"),
			Step: build.Step{ID: "a", Name: "one", Err: "exit code: 1"}})
		l.Handle(build.Event{Kind: build.EventLog, Image: named("x"), Step: step("b", "two"), Data: []byte("later\n")})
	}
	end := build.Result{Image: named("x"), Status: build.StatusError,
		Failure: &build.Failure{Err: errors.New("exit code: 1")}}
	l.Handle(build.Event{Kind: build.EventImageEnd, Image: named("x"), Result: &end})
	r := l.Complete(end)
	if want := []string{"a2.7", "a2.8", "a2.9"}; !slices.Equal(r.Failure.Tail, want) || r.Failure.Step != "one" {
		t.Errorf("the tail of %q is %q, want that of one, %q", r.Failure.Step, r.Failure.Tail, want)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := read(t, filepath.Join(dir, "x.log"))
	for _, want := range []string{"# attempt 2", "\nb0\n==> one\na1.1\n", "a1.9", "a2.9"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the log:\n%s", want, got)
		}
	}
}

// An image that has no step in a run keeps the log of its build: it is only loaded into an
// engine, or the run is canceled before.
func TestLogsOfImagesWithoutSteps(t *testing.T) {
	ended := func(status build.Status) []build.Event {
		return []build.Event{{Kind: build.EventImageEnd, Image: named("x"),
			Result: &build.Result{Image: named("x"), Status: status}}}
	}
	load := build.Event{Kind: build.EventTransfer, Image: named("x"), Step: step("load", "load into Docker"), Current: 1}
	for name, events := range map[string][]build.Event{
		"loaded":       append([]build.Event{load}, ended(build.StatusUnchanged)...),
		"canceled":     ended(build.StatusCanceled),
		"not finished": nil,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.log")
		if err := os.WriteFile(path, []byte("the build\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		l := NewLogs(LogsOptions{Dir: dir})
		l.Handle(build.Event{Time: at(0), Kind: build.EventImageStart, Image: named("x")})
		for _, e := range events {
			l.Handle(e)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != "the build\n" {
			t.Errorf("%s: the log of the build was replaced by:\n%s", name, got)
		}
	}
}

func TestLogsStayInTheirDirectory(t *testing.T) {
	dir := t.TempDir()
	l := NewLogs(LogsOptions{Dir: filepath.Join(dir, "logs")})
	l.Handle(build.Event{Kind: build.EventImageStart, Image: named("../evil")})
	l.Handle(build.Event{Kind: build.EventImageEnd, Image: named("../evil"),
		Result: &build.Result{Image: named("../evil")}})
	if got := l.Complete(build.Result{Image: named("../evil")}).Log; got != filepath.Join(dir, "logs", ".._evil.log") {
		t.Errorf("the log is %s", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// failing runs the recorded events against a directory that cannot be written,
// and returns the errors that were reported.
func failing(t *testing.T, dir string) []error {
	t.Helper()
	var reported []error
	l := NewLogs(LogsOptions{Dir: dir, OnError: func(err error) { reported = append(reported, err) }})
	for _, e := range recorded() {
		l.Handle(e)
		if e.Kind == build.EventImageEnd && e.Image == named("mariadb-server") &&
			len(l.Complete(*e.Result).Failure.Tail) == 0 {
			t.Error("without files the last lines of output are lost too")
		}
	}
	if err := l.Close(); len(reported) != 1 || !errors.Is(err, reported[0]) {
		t.Errorf("reported %q, Close says %v: want one and the same", reported, err)
	}
	return reported
}

func TestLogsUnwritableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	reported := failing(t, filepath.Join(file, "logs"))
	if !errors.Is(reported[0], syscall.ENOTDIR) || !strings.Contains(reported[0].Error(), "log directory") {
		t.Errorf("reported %v", reported[0])
	}
}

// A log that is a link to /dev/full meets a real "no space left on device".
func TestLogsFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		testenv.Missing(t, "/dev/full: "+err.Error())
	}
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(dir, "base.log")); err != nil {
		t.Fatal(err)
	}
	reported := failing(t, dir)
	if !errors.Is(reported[0], syscall.ENOSPC) {
		t.Errorf("reported %v", reported[0])
	}
}

// The output of an image that prints without end does not fill the disk.
func TestLogMaxSize(t *testing.T) {
	dir := t.TempDir()
	logs := NewLogs(LogsOptions{Dir: dir, MaxSize: 10})
	id, step := image.ID{Name: "a"}, build.Step{ID: "1", Name: "RUN x"}
	logs.Handle(build.Event{Kind: build.EventImageStart, Image: id})
	for range 5 {
		logs.Handle(build.Event{Kind: build.EventLog, Image: id, Step: step, Data: []byte("123456\n")})
	}
	logs.Handle(build.Event{Kind: build.EventImageEnd, Image: id,
		Result: &build.Result{Image: id, Status: build.StatusError}})
	if err := logs.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "a.log"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if strings.Count(text, "456") != 1 || !strings.Contains(text, "the output is longer") ||
		!strings.Contains(text, "# error after") {
		t.Errorf("%s", text)
	}
	if last := text[strings.LastIndex(strings.TrimSpace(text), "\n")+1:]; LogEnding(strings.TrimSpace(last)) == "" {
		t.Errorf("the last line is %q", last)
	}
}
