package main

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// program returns a directory with this test binary under the name kolla-build, which is
// the program, see TestMain.
func program(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kolla-build")
	if err := os.Symlink(exe, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// signalCodes returns signals with the exit statuses that belong to them, without those that
// this process ignores: a shell cannot trap them.
func signalCodes() map[syscall.Signal]int {
	codes := map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129}
	maps.DeleteFunc(codes, func(s syscall.Signal, _ int) bool { return signal.Ignored(s) })
	return codes
}

// waiting is a process that has read its configuration from a pipe in part, and waits for
// the rest.
type waiting struct {
	cmd    *exec.Cmd
	out    *bytes.Buffer // complete when the process has ended
	ended  chan struct{} // closed when the process has ended
	writer *os.File      // of the pipe, which fails with EPIPE when the reader has ended
}

// waitingLimit ends a test whose process neither reads nor ends.
const waitingLimit = 2 * time.Minute

// startWaiting starts a command with --config-file PIPE as its last arguments, in a process
// group that the test ends.
func startWaiting(t *testing.T, env []string, args ...string) *waiting {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(args[0], append(args[1:], "--config-file", pipe)...)
	w := &waiting{cmd: cmd, out: &bytes.Buffer{}, ended: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), append(env, "HOME="+t.TempDir(), "KOLLA_BUILD_DATA_DIR="+t.TempDir())...)
	w.cmd.Stdout, w.cmd.Stderr = w.out, w.out
	w.cmd.WaitDelay = 5 * time.Second // for a child that is left behind
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.ended)
		_ = w.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL)
		<-w.ended
	})
	limit := time.After(waitingLimit)
	for { // until there is a reader
		f, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			w.writer = f
			t.Cleanup(func() { f.Close() })
			return w
		}
		if !errors.Is(err, syscall.ENXIO) {
			t.Fatal(err)
		}
		select {
		case <-w.ended:
			t.Fatalf("%q ended before it read its configuration:\n%s", args, w.out)
		case <-limit:
			t.Fatalf("%q does not read its configuration", args)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// interrupt sends a signal to the process, not to its group, and waits until it has ended.
func (w *waiting) interrupt(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := w.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.ended:
	case <-time.After(waitingLimit):
		t.Fatalf("%q is running after %v", w.cmd.Args, sig)
	}
}

// readerEnded reports whether no process has the pipe open for reading.
func (w *waiting) readerEnded() bool {
	_, err := io.WriteString(w.writer, "#")
	return errors.Is(err, syscall.EPIPE)
}

// TestSignalExitStatus ends commands with signals: their exit status is 128 plus the number of
// the signal, as in a shell.
func TestSignalExitStatus(t *testing.T) {
	testenv.Slow(t)
	exe := program(t)
	for _, command := range []string{"build", "plan", "nightly", "explain", "lint", "images", "save", "load", "gc",
		"verify", "copy", "lock", "registry"} {
		for sig, code := range signalCodes() {
			if command != "build" && sig != syscall.SIGTERM {
				continue
			}
			w := startWaiting(t, nil, exe, command)
			w.interrupt(t, sig)
			if got := w.cmd.ProcessState.ExitCode(); got != code || !strings.Contains(w.out.String(), "interrupted") {
				t.Errorf("%s, %v: exit status %d, want %d\n%s", command, sig, got, code, w.out)
			}
		}
	}
}

// TestNightlyScriptForwardsSignals signals only the shell of the example, as systemd does with
// KillMode=mixed: the shell ends after kolla-build, with its exit status.
func TestNightlyScriptForwardsSignals(t *testing.T) {
	script := filepath.Join(testenv.RepoRoot(t), "examples/ci/nightly.sh")
	for sig, code := range signalCodes() {
		w := startWaiting(t, []string{"KOLLA_BUILD=" + program(t), "REPORTS=" + t.TempDir()}, "sh", script)
		w.interrupt(t, sig)
		if got := w.cmd.ProcessState.ExitCode(); got != code ||
			!strings.Contains(w.out.String(), "kolla-build: interrupted") {
			t.Errorf("%v: exit status %d, want %d\n%s", sig, got, code, w.out)
		}
		if !w.readerEnded() {
			t.Errorf("%v: kolla-build is still running after the shell has ended", sig)
		}
	}
}

// TestNightlyScriptWithoutProgram runs the example where kolla-build is missing: it fails, and
// does not go on with the next step.
func TestNightlyScriptWithoutProgram(t *testing.T) {
	script := filepath.Join(testenv.RepoRoot(t), "examples/ci/nightly.sh")
	missing := filepath.Join(t.TempDir(), "kolla-build")
	for _, shell := range []string{"sh", "bash"} {
		cmd := exec.Command(shell, script)
		cmd.Env = append(os.Environ(), "KOLLA_BUILD="+missing, "REPORTS="+t.TempDir())
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != 127 || strings.Count(string(out), missing) != 1 {
			t.Errorf("%s: exit status %d, want 127 and one error\n%s", shell, got, out)
		}
	}
}
