package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/internal/procmem"
)

// usage is the time and memory of a program.
type usage struct {
	wall time.Duration
	cpu  time.Duration // of the process itself, without its children
	peak int64         // the most bytes of resident memory
	out  string        // standard output and error

	// Of builds of the real set:
	total       time.Duration // CPU time of the program, its builder and all steps
	builderPeak int64         // the most bytes of resident memory of the builder
	pushed      int64         // bytes that were added to the registry
	note        string
}

// measure runs a program until it ends. Memory and time are read from /proc while it
// runs, because the figures of wait(2) include child processes such as the builder.
func measure(ctx context.Context, cmd *exec.Cmd) (usage, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var u usage
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			u.wall, u.out = time.Since(started), out.String()
			if err != nil {
				return u, fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, lastLines(u.out, 20))
			}
			return u, nil
		case <-tick.C:
			u.sample(cmd.Process.Pid)
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM)
			<-done
			return u, ctx.Err()
		}
	}
}

func (u *usage) sample(pid int) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	u.peak = max(u.peak, peakMemory(pid))
	if stat, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil {
		// The name, in parentheses, may contain spaces.
		if i := strings.LastIndexByte(string(stat), ')'); i > 0 {
			if f := strings.Fields(string(stat[i+1:])); len(f) > 13 {
				user, _ := strconv.ParseInt(f[11], 10, 64)
				sys, _ := strconv.ParseInt(f[12], 10, 64)
				u.cpu = max(u.cpu, time.Duration(user+sys)*10*time.Millisecond) // there are 100 ticks a second
			}
		}
	}
}

// peakMemory returns the most bytes of resident memory that a process has used, 0 if it
// has ended.
func peakMemory(pid int) int64 {
	peak, err := procmem.Peak(pid)
	if err != nil {
		return 0
	}
	return peak
}

// watchBuilder measures the memory of the buildkitd whose command line has the given
// directory, until the function that it returns is called.
func watchBuilder(dir string) (stop func() int64) {
	end, result := make(chan struct{}), make(chan int64)
	go func() {
		var peak int64
		pid := 0
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				result <- peak
				return
			case <-tick.C:
			}
			if pid == 0 {
				pid = findBuilder(dir)
			}
			peak = max(peak, peakMemory(pid))
		}
	}()
	return func() int64 { close(end); return <-result }
}

func findBuilder(dir string) int {
	cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range cmdlines {
		line, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		args := strings.Split(string(line), "\x00")
		if i := slices.Index(args, "--root"); i > 0 && i+1 < len(args) && strings.HasSuffix(args[0], "buildkitd") &&
			strings.HasPrefix(args[i+1], dir) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return pid
		}
	}
	return 0
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	lines = lines[max(0, len(lines)-n):]
	for i, l := range lines {
		lines[i] = l[:min(len(l), 300)]
	}
	return strings.Join(lines, "\n")
}

// background starts a server, and returns a function that stops it.
func background(log string, cmd *exec.Cmd) (stop func(), err error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
	}, nil
}

func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func megabytes(n int64) string { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }
