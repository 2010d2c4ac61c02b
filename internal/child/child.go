// Package child runs other programs with limits: on their time, on the memory of
// each process, on the number of processes that they start and on their output.
// When a limit is reached, or the caller's context ends, all of these processes
// end. It must not know what the programs do.
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
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/units"
)

// Limits are what a program may use. Zero means no limit.
type Limits struct {
	Time      time.Duration
	Memory    int64 // bytes of data of each process (RLIMIT_DATA)
	Processes int   // at the same time, in the program's session
	FileSize  int64 // bytes of each file that is written (RLIMIT_FSIZE)

	// Idle is a time in which the processes must read and write at least 1 KiB a second in all, or
	// use a hundredth of a processor. Programs that wait for a server, an agent or a user do
	// neither. They are stopped within twice this time. It has no effect if the kernel does not
	// count what processes read.
	Idle time.Duration
}

// LimitError reports that a program was stopped because it reached a limit.
type LimitError struct {
	Program string
	Limit   string // such as "64 processes" or "10m00s"
	Idle    bool   // it is Limits.Idle: the program waited for something
}

// Error implements error.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%s was stopped: it exceeded its limit of %s", e.Program, e.Limit)
}

// Cmd is a program to run. The zero values of the fields mean the same as in
// exec.Cmd.
type Cmd struct {
	Args       []string // the program, which is looked up in PATH, and its arguments
	Dir        string
	Env        []string
	Stdin      io.Reader
	Stdout     io.Writer
	Stderr     io.Writer
	ExtraFiles []*os.File
	Limits     Limits

	// Interrupt is the signal that asks the program to stop; 0 means SIGTERM.
	// After Grace, the processes that still run are killed; 0 means 5 seconds.
	Interrupt syscall.Signal
	Grace     time.Duration
}

const defaultGrace = 5 * time.Second

// Run runs the program until it ends. Errors are *exec.Error if it cannot be
// started, *exec.ExitError if it failed, *LimitError, or the cause of ctx.
func (c *Cmd) Run(ctx context.Context) error {
	program, err := exec.LookPath(c.Args[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if c.Limits.Time > 0 {
		timer := time.AfterFunc(c.Limits.Time, func() { cancel(c.limitError(units.Duration(c.Limits.Time), false)) })
		defer timer.Stop()
	}
	interrupt, grace := c.Interrupt, c.Grace
	if interrupt == 0 {
		interrupt = syscall.SIGTERM
	}
	if grace <= 0 {
		grace = defaultGrace
	}
	cmd := exec.CommandContext(ctx, program, c.Args[1:]...)
	cmd.Args[0] = c.Args[0]
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = c.Dir, c.Env, c.Stdin, c.Stdout, c.Stderr,
		c.ExtraFiles
	// The kernel sends the signal when the thread that started the program ends, so
	// this goroutine keeps its thread until the program has ended.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: interrupt}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, interrupt) }
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	session := cmd.Process.Pid
	for resource, value := range map[int]int64{unix.RLIMIT_DATA: c.Limits.Memory, unix.RLIMIT_FSIZE: c.Limits.FileSize} {
		if value <= 0 {
			continue
		}
		var current unix.Rlimit
		if err := unix.Prlimit(session, resource, nil, &current); err == nil {
			value = int64(min(uint64(value), current.Max)) // raising the maximum needs a privilege
		}
		limit := unix.Rlimit{Cur: uint64(value), Max: uint64(value)}
		if err := unix.Prlimit(session, resource, &limit, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			cancel(fmt.Errorf("limiting the resources of %s: %w", c.Args[0], err))
		}
	}
	// Descendants of the program may ignore the signal, hold its pipes open or start
	// more. The number of a session that has ended may be used again, so the timer
	// must not fire after that.
	exited := make(chan struct{})
	defer close(exited)
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(grace):
			killSession(session)
		case <-exited:
		}
	})
	if c.Limits.Processes > 0 || c.Limits.Idle > 0 {
		defer watchSession(session, c.Limits, func(limit string, idle bool) {
			cancel(c.limitError(limit, idle))
			if !idle { // an idle program has time to remove its lock files
				killSession(session)
			}
		})()
	}
	err = cmd.Wait()
	stop()
	// The result of stop does not tell whether ctx has ended: the program may have been stopped and
	// have ended before the function of AfterFunc is called.
	if cause := context.Cause(ctx); cause != nil {
		killSession(session)
		return cause
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		// The program has succeeded. A process that it left running on purpose, such as
		// a shared connection of ssh, holds its pipes open.
		return nil
	}
	return err
}

func (c *Cmd) limitError(limit string, idle bool) error {
	return &LimitError{Program: filepath.Base(c.Args[0]), Limit: limit, Idle: idle}
}

// Buffer keeps the beginning of a program's output up to a limit, and fails when
// there is more.
type Buffer struct {
	Limit int // in bytes

	kept bytes.Buffer // not embedded: ReadFrom would ignore the limit
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	if b.kept.Len()+len(p) > b.Limit {
		return 0, fmt.Errorf("the output is larger than %s", units.Bytes(int64(b.Limit)))
	}
	return b.kept.Write(p)
}

// Bytes returns the output.
func (b *Buffer) Bytes() []byte { return b.kept.Bytes() }

// String returns the output.
func (b *Buffer) String() string { return b.kept.String() }

// Tail keeps the end of a program's messages, of about 64 KiB.
type Tail struct{ kept []byte }

const maxTail = 64 << 10

// Write implements io.Writer.
func (t *Tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*maxTail {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-maxTail:]...)
	}
	return len(p), nil
}

// String returns the messages without surrounding white space.
func (t *Tail) String() string { return strings.TrimSpace(string(t.kept)) }
