package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

func sh(script string, limits Limits) *Cmd {
	return &Cmd{Args: []string{"sh", "-c", script}, Limits: limits, Grace: 100 * time.Millisecond}
}

// leftovers counts the processes with a marker in their command line.
func leftovers(t *testing.T, marker string) int {
	t.Helper()
	out, _ := exec.Command("pgrep", "-fc", marker).Output()
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	c := sh("cat; exit 0", Limits{Time: time.Minute, Memory: 1 << 30, Processes: 10})
	c.Stdin, c.Stdout = strings.NewReader("input"), &out
	if err := c.Run(t.Context()); err != nil || out.String() != "input" {
		t.Errorf("%q, %v", out.String(), err)
	}
	var exit *exec.ExitError
	if err := sh("exit 3", Limits{}).Run(t.Context()); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("exit 3: %v", err)
	}
	if err := (&Cmd{Args: []string{"no-such-program"}}).Run(t.Context()); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("missing program: %v", err)
	}
}

func TestTimeLimit(t *testing.T) {
	marker := fmt.Sprintf("3%d", time.Now().UnixNano()%1e9)
	err := sh("trap '' TERM; sleep "+marker+" & sleep "+marker, Limits{Time: 50 * time.Millisecond}).Run(t.Context())
	var limit *LimitError
	if !errors.As(err, &limit) || limit.Program != "sh" {
		t.Errorf("got %v", err)
	}
	if n := leftovers(t, "sleep "+marker); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

func TestProcessLimit(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "marker")
	// A chain of processes, each of which starts the next, as git's lazy fetch did.
	script := `f() { [ $1 = 0 ] || sh -c ': "$0"; sleep 60' ` + marker + ` & [ $1 = 0 ] || f $(($1-1)); }; f 60; wait`
	err := sh(script, Limits{Processes: 20}).Run(t.Context())
	var limit *LimitError
	if !errors.As(err, &limit) || limit.Idle || !strings.Contains(limit.Limit, "20 processes") {
		t.Errorf("got %v", err)
	}
	if n := leftovers(t, marker); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

func TestIdleLimit(t *testing.T) {
	marker := fmt.Sprintf("5%d", time.Now().UnixNano()%1e9)
	err := sh("sleep "+marker+" & sleep "+marker, Limits{Idle: 50 * time.Millisecond}).Run(t.Context())
	var limit *LimitError
	if !errors.As(err, &limit) || !limit.Idle || !strings.Contains(limit.Limit, "1 KiB a second") {
		t.Errorf("got %v", err)
	}
	if n := leftovers(t, "sleep "+marker); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

// An idle program can remove its files before it ends.
func TestIdleProgramEnds(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	c := sh("trap 'rm -- \"$0\"; exit 1' TERM; : >\"$0\"; sleep 1000 & wait", Limits{Idle: 50 * time.Millisecond})
	c.Args, c.Grace = append(c.Args, lock), 0
	err := c.Run(t.Context())
	var limit *LimitError
	if !errors.As(err, &limit) || !limit.Idle {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(lock); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock file: %v", err)
	}
}

// A limit that cannot be checked has no effect.
func TestIdleWithoutAccounting(t *testing.T) {
	for name, c := range map[string]struct {
		io    string // "-": there is no such file
		n     int64
		known bool
	}{
		"complete": {"rchar: 12\nwchar: 34\nsyscr: 1\n", 46, true},
		"no file":  {"-", 0, false}, "empty": {"", 0, false}, "others": {"syscr: 1\n", 0, false},
	} {
		dir := t.TempDir()
		if c.io != "-" {
			if err := os.WriteFile(filepath.Join(dir, "io"), []byte(c.io), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if n, known := bytesTransferred(dir); n != c.n || known != c.known {
			t.Errorf("%s: %d, %v", name, n, known)
		}
	}
	if n, known := bytesTransferred(filepath.Join(t.TempDir(), "ended")); n != 0 || !known {
		t.Errorf("a process that has ended: %d, %v", n, known)
	}
}

// What processes read and write, and the processor time that they use, counts from check to check, also of
// those that have ended.
func TestIdleCounts(t *testing.T) {
	start := time.Now()
	self, _ := bytesTransferred("/proc/self")
	for name, c := range map[string]struct {
		bytes int64         // since the beginning, by this process
		cpu   time.Duration // by a process that has ended before the second check
		idle  bool
	}{
		"nothing": {0, 0, true}, "a little": {50 << 10, 500 * time.Millisecond, true},
		"much": {200 << 10, 0, false}, "computing": {0, 2 * time.Second, false},
	} {
		s := &watchedSession{limits: Limits{Idle: time.Minute}, since: start,
			last: map[int]activity{os.Getpid(): {transferred: self - c.bytes}}}
		ended := process{pid: 1 << 30, cpu: c.cpu}
		if limit, _ := s.check([]process{{pid: os.Getpid()}, ended}, start.Add(time.Second)); limit != "" {
			t.Errorf("%s: %s, before the end", name, limit)
		}
		limit, idle := s.check([]process{{pid: os.Getpid()}}, start.Add(100*time.Second))
		if c.idle != idle || c.idle != strings.Contains(limit, "1m") {
			t.Errorf("%s: limit %q", name, limit)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	testenv.Slow(t)
	var messages Tail
	c := &Cmd{Args: []string{testenv.Program(t, "python3", "python3"), "-c", "x = bytearray(200 << 20)"},
		Stderr: &messages, Limits: Limits{Memory: 100 << 20}}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(messages.String(), "MemoryError") {
		t.Errorf("%v: %s", err, messages.String())
	}
}

func TestContext(t *testing.T) {
	marker := fmt.Sprintf("4%d", time.Now().UnixNano()%1e9)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the cause")
	r, w := io.Pipe()
	go func() {
		_, _ = r.Read(make([]byte, 10))
		cancel(cause)
	}()
	c := sh("trap '' TERM; sleep "+marker+" & echo started; sleep "+marker, Limits{})
	c.Stdout = w
	if err := c.Run(ctx); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if n := leftovers(t, "sleep "+marker); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

func TestContextEndedBefore(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the cause")
	cancel(cause)
	if err := sh("exit 0", Limits{}).Run(ctx); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

// TestBackgroundProcess checks that a program may leave a process that holds its pipes open.
func TestBackgroundProcess(t *testing.T) {
	out := &Buffer{Limit: 100}
	c := sh("sleep 2 & echo done", Limits{Time: time.Minute})
	c.Stdout = out
	if err := c.Run(t.Context()); err != nil || out.String() != "done\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestBufferAndTail(t *testing.T) {
	b := &Buffer{Limit: 10}
	c := sh("yes", Limits{Time: time.Minute})
	c.Stdout = b
	if err := c.Run(t.Context()); err == nil {
		t.Error("endless output is accepted")
	}
	var tail Tail
	for i := range 100_000 {
		fmt.Fprintf(&tail, "line %d\n", i)
	}
	if s := tail.String(); !strings.HasSuffix(s, "line 99999") || len(s) > 3*maxTail {
		t.Errorf("kept %d bytes", len(s))
	}
}
