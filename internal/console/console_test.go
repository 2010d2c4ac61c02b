package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
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

func TestPrintJSON(t *testing.T) {
	var stdout bytes.Buffer
	c := &Console{Stdout: &stdout}
	if err := c.PrintJSON(map[string]string{"a": "<b>"}); err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), "{\n  \"a\": \"<b>\"\n}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
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

func TestOutputRemembersErrors(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	out := NewOutput(full)
	if out.Err() != nil {
		t.Errorf("an error before the first write: %v", out.Err())
	}
	fmt.Fprintln(out, "lost")
	if !errors.Is(out.Err(), syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", out.Err())
	}
	if Terminal(out) != nil || Terminal(full) != nil || Terminal(&bytes.Buffer{}) != nil {
		t.Error("a file is treated as a terminal")
	}
}

// What others wrote does not control a terminal, however it is cut into writes; files get it
// as it is.
func TestOutputOfOthers(t *testing.T) {
	const text = "a\x1b[2Jb\u202ec\x9bd é€😀\te\n"
	const want = "a\uFFFD[2Jb\uFFFDc\uFFFDd é€😀\te\n"
	var file bytes.Buffer
	if _, err := NewOutput(&file).Write([]byte(text)); err != nil || file.String() != text {
		t.Errorf("to a file: %q, %v", file.String(), err)
	}
	file.Reset()
	if _, err := Printable(&file).Write([]byte(text)); err != nil || file.String() != want {
		t.Errorf("printable text to a file: %q, %v", file.String(), err)
	}
	master, tty := testenv.PTY(t)
	for _, size := range []int{1, 2, 3, 1000} {
		out := NewOutput(tty)
		for rest := []byte(text); len(rest) > 0; {
			n, err := out.Write(rest[:min(size, len(rest))])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		got := make([]byte, len(want)+1) // the terminal adds a carriage return
		if _, err := io.ReadFull(master, got); err != nil || strings.ReplaceAll(string(got), "\r", "") != want {
			t.Errorf("in pieces of %d bytes: %q, %v", size, got, err)
		}
	}
	var stderr bytes.Buffer
	(&Console{Stderr: &stderr}).Notice("warning: %s", "a\x1b[2J\u202e")
	if got := stderr.String(); got != "warning: a\uFFFD[2J\uFFFD\n" {
		t.Errorf("a notice: %q", got)
	}
}

func TestTerminal(t *testing.T) {
	_, tty := testenv.PTY(t)
	if Terminal(tty) != tty || Terminal(NewOutput(tty)) != tty {
		t.Error("the terminal is not found")
	}
}
