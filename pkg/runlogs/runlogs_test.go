package runlogs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/report"
)

var start = time.Date(2026, 11, 28, 3, 15, 0, 0, time.UTC)

// writeRun makes the logs of a run with an image, and returns their directory.
func writeRun(t *testing.T, data string, at time.Time, bytes int) string {
	t.Helper()
	dir, err := Start(data, at, "")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "a.log"), make([]byte, bytes), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// The newest runs are kept, at most maxRuns; others' files are not touched.
func TestRetention(t *testing.T) {
	data := t.TempDir()
	other := filepath.Join(Dir(data), "notes")
	if err := os.MkdirAll(other, 0o755); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i := range maxRuns + 12 {
		dir := writeRun(t, data, start.Add(time.Duration(i/12)*time.Second), 1) // several in a second
		if seen[dir] {
			t.Fatalf("%s is given to two runs", dir)
		}
		seen[dir] = true
	}
	runs, err := list(Dir(data))
	if err != nil || len(runs) != maxRuns {
		t.Fatalf("%d runs are kept, %v", len(runs), err)
	}
	if got := runs[0].name; got != "2026-11-28T031503Z-6" {
		t.Errorf("the newest is %s", got)
	}
	if got := runs[maxRuns-1].name; got != "2026-11-28T031501Z" {
		t.Errorf("the oldest is %s", got)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

// Runs that start at the same time have different directories, and those that write
// nothing leave none.
func TestRunsOfOneSecond(t *testing.T) {
	data := t.TempDir()
	const runs = 20
	dirs := make([]string, runs)
	var g errgroup.Group
	for i := range runs {
		g.Go(func() (err error) {
			if dirs[i], err = Start(data, start, ""); err != nil || i%2 == 0 {
				return err
			}
			return os.WriteFile(filepath.Join(dirs[i], "a.log"), nil, 0o644)
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, dir := range dirs {
		if seen[dir] {
			t.Errorf("two runs have %s", dir)
		}
		seen[dir] = true
		End(dir)
		if _, err := os.Stat(dir); (err == nil) != (i%2 == 1) {
			t.Errorf("run %d: %v", i, err)
		}
	}
}

func TestRetentionBySize(t *testing.T) {
	data := t.TempDir()
	for i := range 5 {
		writeRun(t, data, start.Add(time.Duration(i)*time.Second), 100)
	}
	runs, err := list(Dir(data))
	if err == nil {
		err = removeOld(runs, 10, 250)
	}
	if err != nil {
		t.Fatal(err)
	}
	if runs, _ = list(Dir(data)); len(runs) != 2 || runs[1].name != "2026-11-28T031503Z" {
		t.Errorf("kept are %v", runs)
	}
	// The newest one stays regardless of its size, because it may be the one that
	// failed.
	if err := removeOld(runs, 10, 10); err != nil {
		t.Fatal(err)
	}
	if runs, _ = list(Dir(data)); len(runs) != 1 || runs[0].name != "2026-11-28T031504Z" {
		t.Errorf("kept are %v", runs)
	}
}

// Logs in a directory of the user's are found by a link, and never removed.
func TestLogsElsewhere(t *testing.T) {
	data, elsewhere := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(elsewhere, "a.log"), []byte("# built after 1s: new\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if dir, err := Start(data, start.Add(time.Duration(i)*time.Second), elsewhere); err != nil || dir != elsewhere {
			t.Fatalf("%s, %v", dir, err)
		}
	}
	runs, err := list(Dir(data))
	if err != nil || len(runs) != 1 {
		t.Fatalf("%v, %v", runs, err)
	}
	if err := removeOld(runs, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "a.log")); err != nil {
		t.Error(err)
	}
}

// Logs of earlier runs in a directory of the user are not those of a run, by whichever clock
// files have their times; copies have all logs.
func TestEarlierLogsElsewhere(t *testing.T) {
	data, elsewhere := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(elsewhere, name+".log")
		err := os.WriteFile(path, []byte(text), 0o644)
		if err == nil { // as on a file server whose clock is behind
			err = os.Chtimes(path, time.Time{}, start.Add(-time.Duration(len(text))*time.Hour))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	names := func() string {
		t.Helper()
		runs, err := list(Dir(data))
		if err != nil || len(runs) != 1 {
			t.Fatalf("%v, %v", runs, err)
		}
		var images []string
		for _, l := range runs[0].logs() {
			images = append(images, l.Image)
		}
		return strings.Join(images, " ")
	}
	write("a", "first")
	write("b", "first")
	for i := range 2 {
		if _, err := Start(data, start.Add(time.Duration(i)*time.Second), elsewhere); err != nil {
			t.Fatal(err)
		}
		if got := names(); got != "" {
			t.Errorf("before the run has logs: %s", got)
		}
		write("b", strings.Repeat("changed", i+1))
		write("c", strings.Repeat("new", i+1))
		if got := names(); got != "b c" {
			t.Errorf("logs of %s, want b c", got)
		}
	}
	hidden, err := filepath.Glob(filepath.Join(Dir(data), ".*"))
	if err != nil || len(hidden) != 1 {
		t.Errorf("lists of earlier logs: %v, %v", hidden, err)
	}

	// A copy has other times.
	for _, name := range []string{"a", "b", "c"} {
		if err := os.Chtimes(filepath.Join(elsewhere, name+".log"), time.Time{}, start.Add(-time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(); got != "a b c" {
		t.Errorf("a copy has logs of %s", got)
	}
	runs, err := list(Dir(data))
	if err == nil {
		err = runs[0].remove()
	}
	if hidden, _ := filepath.Glob(filepath.Join(Dir(data), ".*")); err != nil || len(hidden) != 0 {
		t.Errorf("left of a removed run: %v, %v", hidden, err)
	}
}

// A log can be followed while it is written, and the log of a killed run has the output
// so far.
func TestFollow(t *testing.T) {
	data := t.TempDir()
	dir, err := Start(data, start, "")
	if err != nil {
		t.Fatal(err)
	}
	logs := report.NewLogs(report.LogsOptions{Dir: dir, OnError: func(err error) { t.Error(err) }})
	id, step := image.ID{Name: "a"}, build.Step{ID: "1", Name: "RUN x"}
	logs.Handle(build.Event{Kind: build.EventImageStart, Image: id})
	logs.Handle(build.Event{Kind: build.EventStepStart, Image: id, Step: step})
	logs.Handle(build.Event{Kind: build.EventLog, Image: id, Step: step, Data: []byte("first\n")})

	show := func(out io.Writer, opts Options) error {
		opts.DataDir = data
		return Show(t.Context(), &console.Console{Stdout: out, Stderr: out}, opts)
	}
	var current bytes.Buffer
	if err := show(&current, Options{Images: []string{"a"}}); err != nil ||
		!strings.Contains(current.String(), "first\n") {
		t.Errorf("a log that is being written: %q, %v", current.String(), err)
	}
	current.Reset()
	if err := show(&current, Options{}); err != nil || !strings.Contains(current.String(), "not finished") {
		t.Errorf("a run that is not finished: %q, %v", current.String(), err)
	}

	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := show(w, Options{Images: []string{"a"}, Follow: true})
		w.Close()
		done <- err
	}()
	read := func(until string) {
		t.Helper()
		var seen []byte
		buf := make([]byte, 1<<10)
		for !strings.Contains(string(seen), until) {
			n, err := r.Read(buf)
			seen = append(seen, buf[:n]...)
			if err != nil {
				t.Fatalf("%q, %v", seen, err)
			}
		}
	}
	read("first\n")
	logs.Handle(build.Event{Kind: build.EventLog, Image: id, Step: step, Data: []byte("second\n")})
	read("second\n")
	logs.Handle(build.Event{Kind: build.EventImageEnd, Image: id,
		Result: &build.Result{Image: id, Status: build.StatusBuilt, Duration: time.Second}})
	rest, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(rest), "# built after 1") {
		t.Errorf("%q, %v", rest, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Following ends when the command is interrupted.
func TestFollowInterrupted(t *testing.T) {
	data := t.TempDir()
	writeRun(t, data, start, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Show(ctx, &console.Console{Stdout: io.Discard, Stderr: io.Discard},
		Options{DataDir: data, Images: []string{"a"}, Follow: true})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// A line of any length is shown completely, without control characters.
func TestVisible(t *testing.T) {
	long := strings.Repeat("ü", 3*report.MaxLine)
	if got := visible([]byte(long)); got != long {
		t.Errorf("%d bytes of %d", len(got), len(long))
	}
	if got := visible([]byte("\x1b[31ma\x1b[0m\tb\x07 https://u:p@h/")); strings.ContainsAny(got, "\x1b\x07") ||
		strings.Contains(got, "u:p") || !strings.HasPrefix(got, "a") {
		t.Errorf("%q", got)
	}
}
