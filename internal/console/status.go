package console

import (
	"fmt"

	"golang.org/x/term"
)

// clearLine moves to the beginning of the line and removes what is on it.
const clearLine = "\r\x1b[K"

// HasStatus reports whether Status can show a line: standard error is a terminal with
// cursor control and does not carry JSON progress.
func (c *Console) HasStatus() bool {
	name := c.Getenv("TERM")
	return name != "" && name != "dumb" && !c.json.Load() && Terminal(c.Stderr) != nil
}

// Status shows a line at the end of the terminal, in place of the one before, and keeps it
// there: notices are printed above it. "" removes it. It does nothing if HasStatus returns
// false.
func (c *Console) Status(text string) {
	if !c.HasStatus() {
		return
	}
	// A wrapped line could not be removed.
	if width, _, err := term.GetSize(int(Terminal(c.Stderr).Fd())); err == nil && width > 0 {
		if runes := []rune(text); len(runes) >= width {
			text = string(runes[:width-1])
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if text == c.status {
		return
	}
	c.status = text
	fmt.Fprint(c.Stderr, clearLine+text)
}
