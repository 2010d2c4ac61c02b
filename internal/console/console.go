// Package console gives commands access to the process: its output streams, its
// environment, the program's version, and a way to print notices. It must not know what
// commands do.
package console

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kolla-build/kolla-build/internal/printable"
)

// Console holds the output streams, the environment and the version of the process. It
// is safe for concurrent use as long as its fields are not modified, and must not be
// copied.
type Console struct {
	Stdout, Stderr io.Writer
	Environ        []string // as os.Environ returns it
	Version        string   // of this program

	json   atomic.Bool
	mu     sync.Mutex // keeps notices of goroutines from mixing
	status string     // the line at the end of the terminal, or ""
}

// Getenv returns the value of an environment variable, "" if it is not set. As in
// the os package, the last one of several with the same name counts.
func (c *Console) Getenv(name string) string {
	for i := len(c.Environ) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(c.Environ[i], "="); ok && k == name {
			return v
		}
	}
	return ""
}

// SetJSON makes all later notices JSON lines. The command calls it as soon as it
// knows that standard error carries JSON progress.
func (c *Console) SetJSON(on bool) { c.json.Store(on) }

// Notice prints a message that belongs to no image to standard error: as a line
// of text, or as a "message" event of JSON progress. What it quotes cannot control a
// terminal.
func (c *Console) Notice(format string, args ...any) {
	text := printable.Visible(fmt.Sprintf(format, args...))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.json.Load() {
		writeJSON(c.Stderr, text)
		return
	}
	if c.status != "" {
		text = clearLine + text + "\n" + c.status
		fmt.Fprint(c.Stderr, text)
		return
	}
	fmt.Fprintln(c.Stderr, text)
}

// PrintJSON prints a value to standard output as indented JSON.
func (c *Console) PrintJSON(v any) error {
	return printable.EncodeJSON(c.Stdout, v, "", "  ")
}

// Event prints an event of JSON progress to standard error, as one line: the time, the
// name of the event and the fields of a struct.
func (c *Console) Event(name string, at time.Time, fields any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	writeEvent(c.Stderr, name, at, fields)
}

// writeJSON writes a message as one line, a "message" event of JSON progress.
func writeJSON(w io.Writer, text string) {
	writeEvent(w, "message", time.Now(), struct {
		Text string `json:"text"`
	}{strings.TrimRight(text, "\n")})
}

func writeEvent(w io.Writer, name string, at time.Time, fields any) {
	var line bytes.Buffer
	if err := printable.EncodeJSON(&line, fields, "", ""); err != nil {
		return
	}
	// The command continues if the reader of its progress has ended.
	_, _ = fmt.Fprintf(w, "{\"time\":%q,\"event\":%q,%s", at.UTC().Format(time.RFC3339Nano), name, line.Bytes()[1:])
}
