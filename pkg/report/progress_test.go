package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/build"
)

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if v, ok := strings.CutPrefix(p, name+"="); ok {
				return v
			}
		}
		return ""
	}
}

// replay shows the recorded run in a mode, with logs as in a run.
func replay(t *testing.T, opts ProgressOptions, logs *Logs) string {
	t.Helper()
	var out bytes.Buffer
	opts.Out = &out
	opts.Now = func() time.Time { return at(201) }
	if opts.Getenv == nil {
		opts.Getenv = env("LANG=C.UTF-8", "TERM=xterm")
	}
	p := NewProgress(opts)
	handle := logs.Completing(p.Handle)
	for _, e := range recorded() {
		handle(e)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p.Handle(build.Event{Kind: build.EventMessage, Text: "late"})
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestProgressModes(t *testing.T) {
	for _, c := range []struct {
		name string
		opts ProgressOptions
	}{
		{"plain.txt", ProgressOptions{Mode: ModePlain}},
		{"plain.txt", ProgressOptions{Mode: ModeAuto}}, // a buffer is not a terminal
		{"plain.txt", ProgressOptions{Mode: ModeTTY}},
		{"plain_output.txt", ProgressOptions{Mode: ModePlain, Output: true}},
		{"plain_ascii.txt", ProgressOptions{Mode: ModePlain, Output: true, Getenv: env("LANG=C")}},
		{"quiet.txt", ProgressOptions{Mode: ModeQuiet}},
		{"progress.json", ProgressOptions{Mode: ModeJSON}},
	} {
		got := replay(t, c.opts, NewLogs(LogsOptions{}))
		golden(t, c.name, got)
		if strings.ContainsAny(got, "\x1b\r\x07") {
			t.Errorf("%s: control characters in:\n%q", c.name, got)
		}
	}
}

func TestProgressJSONIsOneObjectPerLine(t *testing.T) {
	got := replay(t, ProgressOptions{Mode: ModeJSON}, NewLogs(LogsOptions{}))
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	kinds := map[string]int{}
	for _, line := range lines {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if _, err := time.Parse(time.RFC3339Nano, v["time"].(string)); err != nil {
			t.Error(err)
		}
		kinds[v["event"].(string)]++
	}
	if kinds["image_end"] != 10 || kinds["image_start"] != 6 || kinds["transfer"] != 2 || kinds["run_end"] != 1 {
		t.Errorf("events: %v", kinds)
	}
}

// frames draws the recorded run up to a second, in windows of several sizes.
func TestFrames(t *testing.T) {
	var b strings.Builder
	for _, second := range []float64{0.3, 1, 50, 110} {
		for _, size := range [][2]int{{100, 30}, {60, 12}, {36, 8}, {20, 6}, {5, 3}, {1, 1}} {
			v := &ttyView{style: style{utf8: true}, q: newQueue(&bytes.Buffer{}),
				size: func() (int, int) { return size[0], size[1] }}
			m := &model{}
			for _, e := range recorded() {
				if e.Time.After(at(second)) {
					break
				}
				v.event(m, e, m.apply(e))
			}
			fmt.Fprintf(&b, "--- %vs in %dx%d\n", second, size[0], size[1])
			for _, row := range v.lines {
				b.WriteString(row + "\n")
			}
			rows := v.frame(m, at(second), size[0], size[1])
			if len(rows) > max(size[1]-1, 1) {
				t.Errorf("%d rows in a window of %d", len(rows), size[1])
			}
			for _, row := range rows {
				if n := ansi.StringWidth(row); n > max(size[0]-1, 1) {
					t.Errorf("%q is %d columns wide in a window of %d", row, n, size[0])
				}
				b.WriteString("> " + row + "\n")
			}
		}
	}
	golden(t, "frames.txt", b.String())
}

func TestPlainSilence(t *testing.T) {
	q := newQueue(&bytes.Buffer{})
	v := &plainView{q: q, silence: 30 * time.Second}
	m := &model{}
	for _, e := range recorded() {
		if e.Time.After(at(50)) {
			break
		}
		v.event(m, e, m.apply(e))
	}
	q.buf = nil
	v.tick(m, at(71), false)
	if len(q.buf) > 0 {
		t.Errorf("spoke after less than the silence: %q", q.buf)
	}
	v.tick(m, at(73), false)
	v.tick(m, at(74), false)
	want := "1/8 done, 3 running (openstack-base 32s, mariadb-base 31s, memcached 30s), about 2m00s left\n"
	if got := string(q.buf); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRemaining(t *testing.T) {
	start := build.Event{Time: at(0), Kind: build.EventRunStart, Total: 10}
	end := func(second float64, name string) []build.Event {
		return []build.Event{
			{Time: at(second - 10), Kind: build.EventImageStart, Image: named(name), Estimate: 20 * time.Second},
			{Time: at(second), Kind: build.EventImageEnd, Image: named(name),
				Result: &build.Result{Image: named(name), Status: build.StatusBuilt}},
		}
	}
	run := func(estimate time.Duration, events ...build.Event) *model {
		m := &model{}
		s := start
		s.Estimate = estimate
		m.apply(s)
		for _, e := range events {
			m.apply(e)
		}
		return m
	}
	if got := run(0).remaining(at(5)); got != 0 {
		t.Errorf("with nothing known: %v, want 0", got)
	}
	if got := run(100 * time.Second).remaining(at(5)); got != 95*time.Second {
		t.Errorf("by the estimate alone: %v, want 1m35s", got)
	}
	two := append(end(10, "a"), end(20, "b")...)
	if got := run(0, two...).remaining(at(20)); got != 80*time.Second {
		t.Errorf("by this run's rate: %v, want 1m20s", got)
	}
	// Both images took half of the expected time, so the run will take about half.
	if got := run(400*time.Second, two...).remaining(at(20)); got != 160*time.Second {
		t.Errorf("by both: %v, want 2m40s", got)
	}
	long := append(two, build.Event{Time: at(20), Kind: build.EventImageStart, Image: named("slow"),
		Estimate: 1000 * time.Second})
	if got := run(0, long...).remaining(at(20)); got != 500*time.Second {
		t.Errorf("with a slow image running: %v, want 8m20s", got)
	}
}

// stuck is a terminal that accepts nothing until it is released.
type stuck struct {
	go_  chan struct{}
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.go_
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func TestHandleDoesNotBlock(t *testing.T) {
	testenv.Slow(t)
	out := &stuck{go_: make(chan struct{})}
	p := NewProgress(ProgressOptions{Out: out, Mode: ModePlain, Output: true})
	p.Handle(build.Event{Kind: build.EventRunStart, Total: 1})
	p.Handle(build.Event{Kind: build.EventImageStart, Image: named("base")})
	line := []byte(strings.Repeat("x", 1000) + "\n")
	for range 20000 { // 20 MB without a reader
		p.Handle(build.Event{Kind: build.EventLog, Image: named("base"), Step: step("a", ""), Data: line})
	}
	p.Handle(build.Event{Kind: build.EventImageEnd, Image: named("base"),
		Result: &build.Result{Image: named("base"), Status: build.StatusBuilt}})
	close(out.go_)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	got := out.text.String()
	if len(got) > maxQueued+1<<20 {
		t.Errorf("%d bytes were held for a terminal that takes none", len(got))
	}
	for _, want := range []string{"base: built in", "lines of output not shown"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in what was written", want)
		}
	}
}

// Lines that are added while others are written must be written whole and in order.
func TestQueueKeepsOrder(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(ProgressOptions{Out: &out, Mode: ModePlain})
	var want strings.Builder
	for i := range 20000 {
		line := fmt.Sprintf("line %d %s", i, strings.Repeat("x", i%50))
		want.WriteString(line + "\n")
		p.Handle(build.Event{Kind: build.EventMessage, Text: line})
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if out.String() != want.String() {
		t.Error("lines were mixed or lost")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestWriteErrorIsToldByClose(t *testing.T) {
	p := NewProgress(ProgressOptions{Out: broken{}, Mode: ModePlain})
	p.Handle(build.Event{Kind: build.EventMessage, Text: "x"})
	if err := p.Close(); err == nil || err.Error() != "writing progress: gone" {
		t.Errorf("got %v", err)
	}
}

func TestHandleFromManyGoroutines(t *testing.T) {
	logs := NewLogs(LogsOptions{Dir: t.TempDir()})
	p := NewProgress(ProgressOptions{Out: &bytes.Buffer{}, Mode: ModePlain, Output: true})
	handle := logs.Completing(p.Handle)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprint("image", i)
			handle(build.Event{Kind: build.EventImageStart, Image: named(name)})
			for range 100 {
				handle(build.Event{Kind: build.EventLog, Image: named(name), Step: step("a", "run"), Data: []byte("line\n")})
			}
			handle(build.Event{Kind: build.EventImageEnd, Image: named(name),
				Result: &build.Result{Image: named(name), Status: build.StatusBuilt}})
		})
	}
	wg.Wait()
	if err := errors.Join(logs.Close(), p.Close()); err != nil {
		t.Error(err)
	}
}

// The remaining time follows the estimate that comes with a failure, and images that failed or were
// skipped at once do not count as a rate.
func TestRemainingAfterFailure(t *testing.T) {
	var m model
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	m.apply(build.Event{Time: at(0), Kind: build.EventRunStart, Total: 100, Estimate: time.Hour})
	for i := range 90 {
		r := build.Result{Image: named(fmt.Sprint("skipped", i)), Status: build.StatusParentError}
		m.apply(build.Event{Time: at(1), Kind: build.EventImageEnd, Image: r.Image, Result: &r})
	}
	m.apply(build.Event{Time: at(1), Kind: build.EventEstimate, Estimate: 10 * time.Minute})
	if got := m.remaining(at(61)); got != 9*time.Minute {
		t.Errorf("%v remain, want 9m", got)
	}
}
