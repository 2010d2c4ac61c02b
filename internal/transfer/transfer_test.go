package transfer

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

var start = time.Date(2026, 11, 28, 14, 0, 0, 0, time.UTC)

func TestMeter(t *testing.T) {
	var m meter
	m.total = 100 << 20
	var got []string
	for second, done := range []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 40, 90, 100} {
		m.done = done << 20
		got = append(got, m.sample(start.Add(time.Duration(second)*time.Second)).String())
	}
	for second, want := range map[int]string{
		0:  " 0 B of 100.0 MiB (0%)",
		1:  " 1.0 MiB of 100.0 MiB (1%), 1.0 MiB/s, 1m40s left",
		10: " 10.0 MiB of 100.0 MiB (10%), 1.0 MiB/s, 1m30s left",
		12: " 10.0 MiB of 100.0 MiB (10%), 819.2 KiB/s, 1m50s left", // of the last ten seconds
		15: " 100.0 MiB of 100.0 MiB (100%), 9.5 MiB/s",
	} {
		if got[second] != want {
			t.Errorf("after %d s: %q, want %q", second, got[second], want)
		}
	}
}

func TestMeterWithoutTotal(t *testing.T) {
	m := meter{done: 5 << 20}
	m.sample(start)
	m.done = 7 << 20
	if got, want := m.sample(start.Add(time.Second)).String(), " 7.0 MiB, 2.0 MiB/s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// A file that is read again begins with fewer bytes.
	m.done = 1 << 20
	if s := m.sample(start.Add(2 * time.Second)); s.Rate != 0 {
		t.Errorf("a rate of %d after it began again", s.Rate)
	}
	// What was announced is too little.
	m.done, m.total = 10, 5
	if got := m.sample(start.Add(3 * time.Second)).String(); !strings.Contains(got, "100%") {
		t.Errorf("%q, want at most 100%%", got)
	}
}

// run shows a transfer of 60 s with one tick each second.
func run(t *testing.T, con *console.Console, mode string) {
	t.Helper()
	p := newProgress(con, "loading", mode)
	if p == nil {
		return
	}
	for second := range 61 {
		p.Update(int64(second)<<20, 60<<20)
		p.show(start.Add(time.Duration(second)*time.Second), false)
		if second == 30 {
			con.Notice("a notice")
		}
	}
	go p.run(nil)
	p.Stop()
	p.Stop()
}

func TestPlain(t *testing.T) {
	for _, mode := range []string{"", "auto", "tty", "plain"} {
		var out bytes.Buffer
		run(t, &console.Console{Stderr: &out}, mode)
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 7 || lines[0] != "loading 10.0 MiB of 60.0 MiB (16%), 1.0 MiB/s, 50s left" {
			t.Errorf("%s: %q, want a line every 10 s", mode, lines)
		}
	}
}

func TestQuiet(t *testing.T) {
	var out bytes.Buffer
	run(t, &console.Console{Stderr: &out}, "quiet")
	if out.Len() > 0 {
		t.Errorf("printed %q", out.String())
	}
	var p *Progress
	p.Update(1, 2)
	p.Stop()
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	con := &console.Console{Stderr: &out}
	con.SetJSON(true)
	run(t, con, "json")
	var last struct {
		Time, Event, Action string
		Bytes               int64
		Total               int64 `json:"total_bytes"`
	}
	transfers := 0
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		last.Event = ""
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if _, err := time.Parse(time.RFC3339Nano, last.Time); err != nil {
			t.Error(err)
		}
		if last.Event == "transfer" {
			transfers++
		}
	}
	if transfers != 61 /* from the first byte, and the end */ || last.Event != "transfer" || last.Action != "loading" ||
		last.Bytes != 60<<20 || last.Total != 60<<20 {
		t.Errorf("%d transfer events, the last %+v", transfers, last)
	}
}

// TestTerminal checks that a real terminal shows the notices, and nothing of the line at
// its end, when the transfer has ended.
func TestTerminal(t *testing.T) {
	if os.Getenv("KOLLA_TEST_TRANSFER") != "" {
		run(t, &console.Console{Stderr: os.Stderr, Environ: os.Environ()}, "auto")
		return
	}
	term := testenv.NewTerminal(t, 30, 10, "KOLLA_TEST_TRANSFER=1 "+os.Args[0]+" -test.run=TestTerminal")
	got := term.Until("the end", term.All, func(s string) bool { return strings.Contains(s, "PASS") })
	if !strings.HasPrefix(got, "a notice\nPASS") {
		t.Errorf("the terminal shows %q", got)
	}
}

// TestSlowTransfer checks that a remaining time of more than a time.Duration is not shown.
func TestSlowTransfer(t *testing.T) {
	m := meter{total: 1 << 60}
	m.sample(start)
	m.done = 3
	if s := m.sample(start.Add(time.Second)); s.Rate != 3 || s.Remaining != 0 {
		t.Errorf("%d bytes per second, %v left", s.Rate, s.Remaining)
	}
}
