package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// screen is a real terminal in which the demo runs.
type screen struct {
	*testenv.Terminal
	t     *testing.T
	gates string
}

// newScreen runs the demo in a window of the given size.
func newScreen(t *testing.T, width, height int, env ...string) *screen {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return &screen{t: t, gates: dir, Terminal: testenv.NewTerminal(t, width, height,
		"exec env REPORT_DEMO="+dir+" LC_ALL=C.UTF-8 "+strings.Join(env, " ")+" "+self)}
}

func (s *screen) open(gate string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.gates, gate), nil, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) resize(width, height int) {
	s.Tmux("resize-window", "-x", fmt.Sprint(width), "-y", fmt.Sprint(height))
}

func has(parts ...string) func(string) bool {
	return func(got string) bool {
		for _, p := range parts {
			if !strings.Contains(got, p) {
				return false
			}
		}
		return true
	}
}

// once fails unless each part occurs in got exactly once.
func (s *screen) once(got string, parts ...string) {
	s.t.Helper()
	for _, p := range parts {
		if n := strings.Count(got, p); n != 1 {
			s.t.Errorf("%q is there %d times, not once, in:\n%s", p, n, got)
		}
	}
}

func TestTmuxLiveArea(t *testing.T) {
	s := newScreen(t, 100, 30)
	got := s.Until("the live area", s.All, has("3/12 done", "zun-compute"))
	s.once(got, "✓ base", "✓ openstack-base", "✗ mariadb-server", "3/12 done · 8 running · 1 failed · 1m30s · about ",
		"  nova-api ", "12.0 MiB/40.0 MiB", "install python3-nova-api", "  magnum-conductor ",
		"✓ openstack-base               1m05s    51.0 MiB  built\n")
	if strings.Contains(got, "more running") || strings.Contains(got, "[2J") {
		t.Errorf("unexpected text in:\n%s", got)
	}
	if flag := strings.TrimSpace(s.Tmux("display", "-p", "#{cursor_flag}")); flag != "0" {
		t.Errorf("the cursor is visible while the live area is drawn: %q", flag)
	}
	golden(t, "tmux_100x30.txt", strings.TrimRight(got, "\n")+"\n")

	s.open("one")
	got = s.Until("the finished image", s.All, has("✓ nova-api", "a message from the run", "4/12 done"))
	s.once(got, "✓ nova-api", "4/12 done", "  zun-compute ")
	if strings.Contains(got, "  nova-api ") {
		t.Errorf("a finished image is still in the live area:\n%s", got)
	}
	if strings.Contains(got, "3/12") {
		t.Errorf("an old head is left in:\n%s", got)
	}

	s.open("two")
	got = s.Until("the end", s.All, has("the end"))
	s.once(got, "✓ base", "✓ nova-api", "✓ zun-compute", "a message from the run", "the end")
	for _, gone := range []string{" done", "running", "python3-neutron-server"} {
		if strings.Contains(got, gone) {
			t.Errorf("%q of the live area is left in:\n%s", gone, got)
		}
	}
	if flag := strings.TrimSpace(s.Tmux("display", "-p", "#{cursor_flag}")); flag != "1" {
		t.Errorf("the cursor was not given back: %q", flag)
	}
	golden(t, "tmux_trace.txt", strings.TrimRight(got, "\n")+"\n")
	s.open("three")
}

// live returns the live area of a capture, and what is below it.
func live(got string) string { return got[max(strings.LastIndex(got, "3/12"), 0):] }

func TestTmuxResize(t *testing.T) {
	testenv.Slow(t)
	s := newScreen(t, 100, 30, "REPORT_FILL=40")
	s.Until("the live area", s.All, has("3/12 done", "zun-compute"))
	permanent := []string{"message 00.", "message 39.", "✓ base", "✓ openstack-base", "✗ mariadb-server"}

	// Narrower: the terminal rewraps old rows, and nothing of them may remain.
	s.resize(60, 30)
	got := s.Until("the live area at 60 columns", s.All, has("zun-compute", "install python3-n… 1m20s", "3/12 done"))
	s.once(got, append(permanent, "3/12", "  nova-api ", "  heat-engine ", "  zun-compute ")...)

	// Lower: fewer images are shown.
	s.resize(60, 14)
	got = s.Until("the live area at 60 by 14", s.All, has("… and 3 more"))
	s.once(got, append(permanent, "3/12", "  nova-api ", "  heat-engine ")...)

	s.resize(120, 40)
	got = s.Until("the wide live area", s.All, has("zun-compute", "all in one line"))
	s.once(got, append(permanent, "3/12", "  nova-api ", "  zun-compute ")...)

	// So small that the top of the live area leaves the window, where it cannot be
	// erased. The visible part is correct, and no permanent line is lost.
	s.resize(20, 6)
	got = s.Until("the live area at 20 by 6", s.Visible, has("… and 5 more"))
	s.once(live(got), "3/12 ✗1 1m30s ~", "  nova-api ", "  glance-api ")
	for _, size := range [][2]int{{12, 2}, {1, 1}, {200, 3}, {21, 50}, {3, 40}, {100, 30}} {
		s.resize(size[0], size[1])
		if size[0] > 4 {
			s.Until(fmt.Sprint("the counts at ", size), s.Visible, has("3/12"))
		}
	}
	got = s.Until("the live area at 100 by 30", s.Visible, has("zun-compute", "python3-zun", "3/12 done"))
	s.once(live(got), "3/12 done", "  nova-api ", "  zun-compute ")
	s.once(s.All(), permanent...)

	s.open("one")
	s.open("two")
	got = s.Until("the end", s.All, has("the end"))
	s.once(got, append(permanent, "✓ nova-api", "✓ zun-compute")...)
	s.open("three")
}

func TestTmuxShortWindowFromTheStart(t *testing.T) {
	s := newScreen(t, 20, 5)
	got := s.Until("the live area", s.Visible, has("… and 6 more"))
	s.once(got, "3/12", "  nova-api ", "neutron-se…")
	s.open("one")
	s.open("two")
	got = s.Until("the end", s.All, has("the end"))
	s.once(got, "✓ base", "✓ zun-compu…", "✗ mariadb-s…", "a message from the run")
	if strings.Contains(got, "/12") {
		t.Errorf("a live area is left in:\n%s", got)
	}
	s.open("three")
}

func TestTmuxInterrupt(t *testing.T) {
	s := newScreen(t, 80, 24)
	s.Until("the live area", s.All, has("3/12 done", "zun-compute"))
	s.Tmux("send-keys", "C-c")
	got := s.Until("the interrupt", s.All, has("interrupted"))
	s.once(got, "– not finished: nova-api (1m20s)")
	if strings.Contains(got, "3/12 done") {
		t.Errorf("the live area is left in:\n%s", got)
	}
	if flag := strings.TrimSpace(s.Tmux("display", "-p", "#{cursor_flag}")); flag != "1" {
		t.Errorf("the cursor was not given back: %q", flag)
	}
}

func TestTmuxEnvironment(t *testing.T) {
	testenv.Slow(t)
	colored := func(s *screen) string { return s.Tmux("capture-pane", "-p", "-e", "-S", "-") }
	t.Run("colours", func(t *testing.T) {
		s := newScreen(t, 80, 24)
		if got := s.Until("the live area", func() string { return colored(s) },
			has("zun-compute")); !strings.Contains(got, "\x1b[32m✓") {
			t.Errorf("no colour in:\n%q", got)
		}
	})
	t.Run("NO_COLOR", func(t *testing.T) {
		s := newScreen(t, 80, 24, "NO_COLOR=1")
		if got := s.Until("the live area", func() string { return colored(s) },
			has("✓ base", "zun-compute")); strings.Contains(got, "\x1b") {
			t.Errorf("colours in:\n%q", got)
		}
	})
	t.Run("ASCII", func(t *testing.T) {
		s := newScreen(t, 60, 8, "LC_ALL=C")
		got := s.Until("the live area", s.All, has("+ base", "x mariadb-server", "... and "))
		for _, r := range got {
			if r > 0x7e {
				t.Fatalf("%q is not ASCII in:\n%s", r, got)
			}
		}
	})
	t.Run("TERM=dumb", func(t *testing.T) {
		s := newScreen(t, 100, 24, "TERM=dumb", "REPORT_MODE=tty")
		got := s.Until("the lines", func() string { return colored(s) },
			has("building 12 images", "nova-api: started", "base: built in 1m05s, 51.0 MiB (1/12 done)"))
		if strings.Contains(got, "\x1b") {
			t.Errorf("escape sequences in:\n%q", got)
		}
	})
}
