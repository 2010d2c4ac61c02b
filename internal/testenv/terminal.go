package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Terminal is a real terminal: a tmux server with one window.
type Terminal struct {
	t      testing.TB
	socket string
}

// NewTerminal runs a shell command in a window of the given size. The window remains
// after the end of the command, until the end of the test, so that its content can
// be read.
func NewTerminal(t testing.TB, width, height int, command string) *Terminal {
	t.Helper()
	Program(t, "tmux", "tmux")
	dir := t.TempDir()
	s := &Terminal{t: t, socket: filepath.Join(dir, "tmux")}
	conf := filepath.Join(dir, "tmux.conf")
	if err := os.WriteFile(conf,
		[]byte("set -g remain-on-exit on\nset -g status off\nset -g default-terminal screen-256color\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", s.socket, "kill-server").Run() })
	c := exec.Command("tmux", "-S", s.socket, "-f", conf, "-u", "new-session", "-d",
		"-x", fmt.Sprint(width), "-y", fmt.Sprint(height), command)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("starting tmux: %v: %s", err, out)
	}
	return s
}

// Tmux runs a tmux command and returns its output.
func (s *Terminal) Tmux(args ...string) string {
	s.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", s.socket, "-u"}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

// All returns the text of the window and its scrollback; wrapped lines are joined.
func (s *Terminal) All() string { return s.Tmux("capture-pane", "-p", "-J", "-S", "-") }

// Visible returns what the window shows.
func (s *Terminal) Visible() string { return s.Tmux("capture-pane", "-p") }

// Until waits until ok accepts the text, and returns it.
func (s *Terminal) Until(condition string, capture func() string, ok func(string) bool) string {
	s.t.Helper()
	var got string
	for i := 0; i < 600; i++ {
		if got = capture(); ok(got) {
			return got
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("the terminal never showed %s; it shows:\n%s", condition, got)
	return ""
}
