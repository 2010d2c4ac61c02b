package console

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestGetenv(t *testing.T) {
	c := &Console{Environ: []string{"A=1", "B=x=y", "A=2", "broken"}}
	for name, want := range map[string]string{"A": "2", "B": "x=y", "C": "", "broken": ""} {
		if got := c.Getenv(name); got != want {
			t.Errorf("Getenv(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestNotice(t *testing.T) {
	var stderr bytes.Buffer
	c := &Console{Stderr: &stderr}
	c.Notice("100%% of %d <images>", 3)
	if got, want := stderr.String(), "100% of 3 <images>\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	stderr.Reset()
	c.SetJSON(true)
	c.Notice("two\n  lines of <%s>\n", "text")
	if strings.Count(stderr.String(), "\n") != 1 || strings.Contains(stderr.String(), `\u003c`) {
		t.Errorf("not one line of plain JSON: %q", stderr.String())
	}
	var event struct{ Time, Event, Text string }
	if err := json.Unmarshal(stderr.Bytes(), &event); err != nil {
		t.Fatal(err)
	}
	if event.Event != "message" || event.Text != "two\n  lines of <text>" {
		t.Errorf("event %+v", event)
	}
	if _, err := time.Parse(time.RFC3339Nano, event.Time); err != nil {
		t.Error(err)
	}
}

func TestNoticesDoNotMix(t *testing.T) {
	var stderr bytes.Buffer // not safe for concurrent use: the race detector sees writes at the same time
	c := &Console{Stderr: &stderr}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { c.Notice("a notice") })
	}
	group.Wait()
	if got, want := stderr.String(), strings.Repeat("a notice\n", 20); got != want {
		t.Errorf("got %q", got)
	}
}
