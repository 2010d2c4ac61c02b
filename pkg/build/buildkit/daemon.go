package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/netns"
	"github.com/kolla-build/kolla-build/pkg/build/builderdir"
)

// startTimeout is how long a buildkitd that was started may take to answer.
const startTimeout = 60 * time.Second

// stopTimeout is how long buildkitd may take to end before it is killed. Its state
// survives that, but the next start then needs a recovery.
const stopTimeout = 20 * time.Second

// DaemonError reports why a builder could not be started or reached.
type DaemonError struct {
	Addr   string // the address or path that was tried
	Err    error
	Advice string // what to do about it, or ""

	// Killed reports that a daemon that was started got a signal from elsewhere,
	// such as the kernel's when memory is short.
	Killed bool
}

func (e *DaemonError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("builder %s: %v", e.Addr, e.Err))
}

// Unwrap returns the cause.
func (e *DaemonError) Unwrap() error { return e.Err }

// Hint returns a hint for the user, or "".
func (e *DaemonError) Hint() string { return e.Advice }

// daemon is a buildkitd that this process started.
type daemon struct {
	addr string
	cmd  *exec.Cmd
	lock *filelock.Lock // of the state directory
	run  *builderdir.SocketDir
	done chan struct{}

	unsynced *builderdir.Unsynced

	err error // of Wait, valid after done
	log string
}

// findDaemon returns the path of the buildkitd to start: named if it is not empty, else
// the one beside this executable, else the one of a package in ../lib/kolla-build, else
// the one in PATH.
func findDaemon(named string) (string, error) {
	if named != "" {
		if _, err := os.Stat(named); err != nil {
			return "", &DaemonError{Addr: named, Err: err, Advice: "--buildkitd names the daemon's binary"}
		}
		return named, nil
	}
	if exe, err := os.Executable(); err == nil {
		dir := filepath.Dir(exe)
		for _, p := range []string{filepath.Join(dir, "buildkitd"), filepath.Join(dir, "../lib/kolla-build/buildkitd")} {
			if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
				return p, nil
			}
		}
	}
	if p, err := exec.LookPath("buildkitd"); err == nil {
		return p, nil
	}
	return "", &DaemonError{Addr: "buildkitd", Err: fs.ErrNotExist,
		Advice: "`make build` puts one beside kolla-build; or name a running daemon with --buildkit-addr or BUILDKIT_HOST"}
}

// CheckStart reports why Open could not start a daemon on this host, nil if it can. path is
// Options.DaemonPath. The error is a *DaemonError.
func CheckStart(path string) error {
	_, err := startable(path)
	return err
}

// startable returns the path of the buildkitd that can be started.
func startable(path string) (string, error) {
	bin, err := findDaemon(path)
	if err != nil {
		return "", err
	}
	if os.Geteuid() != 0 {
		return "", &DaemonError{Addr: bin, Err: errors.New("starting a builder needs root"),
			Advice: "run as root, or name a running daemon with --buildkit-addr or BUILDKIT_HOST (it may be rootless)"}
	}
	if _, err := exec.LookPath("runc"); err != nil {
		return "", &DaemonError{Addr: bin, Err: errors.New("runc is not installed"), Advice: "apt-get install runc"}
	}
	return bin, nil
}

// startDaemon starts a buildkitd with its state in Options.StateDir. Only one runs
// in a directory: a second run waits for the first.
func startDaemon(ctx context.Context, opts Options) (*daemon, error) {
	bin, err := startable(opts.DaemonPath)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(opts.StateDir, 0o711); err != nil {
		return nil, &DaemonError{Addr: bin, Err: err, Advice: "--data-dir names a directory that can be written"}
	}
	d := &daemon{done: make(chan struct{}), log: filepath.Join(opts.StateDir, "buildkitd.log")}
	if err := d.acquire(ctx, opts); err != nil {
		return nil, err
	}
	if err := d.start(bin, opts); err != nil {
		d.release()
		return nil, err
	}
	return d, nil
}

// acquire locks the state directory. The daemon inherits the lock, so that it is
// held as long as the daemon runs, even if this process is killed.
func (d *daemon) acquire(ctx context.Context, opts Options) error {
	lock, err := builderdir.Lock(ctx, opts.StateDir, func(held *filelock.HeldError) {
		if opts.Notice != nil {
			opts.Notice("waiting for another kolla-build" + held.By() + " that uses the builder in " + opts.StateDir)
		}
	})
	if ctx.Err() != nil {
		return fmt.Errorf("waiting for another kolla-build that uses %s: %w", opts.StateDir, context.Cause(ctx))
	}
	if err != nil {
		return &DaemonError{Addr: opts.StateDir, Err: err}
	}
	d.lock = lock
	return nil
}

func (d *daemon) start(bin string, opts Options) error {
	var cacheLost bool
	var err error
	if d.unsynced, cacheLost, err = builderdir.NoteUnsynced(opts.StateDir); err != nil {
		return &DaemonError{Addr: opts.StateDir, Err: err}
	}
	if cacheLost && opts.Notice != nil {
		opts.Notice("the machine stopped before the builder's cache was written to disk; it starts with an empty one")
	}
	if err := builderdir.Sweep(opts.StateDir); err != nil {
		return &DaemonError{Addr: opts.StateDir, Err: err,
			Advice: "an earlier run was killed, and the files that it left there could not be removed"}
	}
	builderdir.SweepSocketDirs()
	if d.run, err = builderdir.MakeSocketDir(opts.StateDir); err != nil {
		return &DaemonError{Addr: bin, Err: err}
	}
	d.addr = "unix://" + d.run.Socket()
	// With its own configuration, the daemon does not read
	// /etc/buildkit/buildkitd.toml, which may be for another one.
	config := filepath.Join(d.run.Path, "buildkitd.toml")
	if err := os.WriteFile(config, []byte(daemonConfig(opts.StateDir, opts.Cache)), 0o644); err != nil {
		return &DaemonError{Addr: bin, Err: err}
	}
	log, err := os.Create(d.log)
	if err != nil {
		return &DaemonError{Addr: bin, Err: err}
	}
	defer log.Close()
	d.cmd = exec.Command(bin, "--config", config, "--addr", d.addr,
		"--root", opts.StateDir, "--otel-socket-path", filepath.Join(d.run.Path, "otel.sock"))
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.ExtraFiles = []*os.File{d.lock.File(), d.run.LockFile()}
	// TMPDIR is where the next run finds temporary files and mounts if the daemon is
	// killed. The output of steps is not truncated, because the last lines say why a
	// step failed.
	tmp, err := d.run.TempDir(opts.StateDir)
	if err != nil {
		return &DaemonError{Addr: opts.StateDir, Err: err}
	}
	d.cmd.Env = append(os.Environ(), "TMPDIR="+tmp,
		"BUILDKIT_STEP_LOG_MAX_SIZE=-1", "BUILDKIT_STEP_LOG_MAX_SPEED=-1")
	d.cmd.Env = append(d.cmd.Env, opts.Env...)
	// In its own process group, so that Ctrl-C reaches only this process, which
	// then stops it. If this process is killed, it gets a signal.
	//
	// In its own mount namespace, because BuildKit removes the directory of a step
	// even if the step's root file system cannot be unmounted, and with it all files
	// there: the layer would delete everything. A process outside, such as du or a
	// backup, could otherwise keep that mount busy.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM, Unshareflags: syscall.CLONE_NEWNS}
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the thread that forked ends, so the thread must
		// live as long as the daemon.
		runtime.LockOSThread()
		suppressSync()
		var err error
		if opts.NetNS != nil {
			err = netns.Enter(opts.NetNS)
		}
		if err == nil {
			err = d.cmd.Start()
		}
		started <- err
		if err != nil {
			return
		}
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	if err := <-started; err != nil {
		return startError(bin, err)
	}
	return nil
}

// startError returns the error of starting a program in its own namespaces. The kernel
// reports the same error for a namespace as for a file without execute permission.
func startError(bin string, err error) *DaemonError {
	e := &DaemonError{Addr: bin, Err: err}
	info, statErr := os.Stat(bin)
	executable := statErr == nil && info.Mode().Perm()&0o111 != 0
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) && executable {
		e.Advice = "a builder mounts file systems: give its container this right, as docker run --privileged does, " +
			"or name a running daemon with --buildkit-addr or BUILDKIT_HOST"
	}
	return e
}

// exited returns an error if the daemon has ended.
func (d *daemon) exited() error {
	select {
	case <-d.done:
		st, ok := d.cmd.ProcessState.Sys().(syscall.WaitStatus)
		return &DaemonError{Addr: d.cmd.Path, Err: fmt.Errorf("ended: %v%s", d.err, lastLines(d.log)),
			Killed: ok && st.Signaled(), Advice: "its log is " + d.log}
	default:
		return nil
	}
}

func lastLines(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) > 3 {
		lines = lines[len(lines)-3:]
	}
	return ":\n  " + strings.Join(lines, "\n  ")
}

// awaitSocket waits until the daemon listens or has ended. gRPC would wait too, but
// a second after each failed attempt.
func (d *daemon) awaitSocket(ctx context.Context) {
	path := strings.TrimPrefix(d.addr, "unix://")
	for end := time.Now().Add(startTimeout); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if d.exited() != nil {
			return
		}
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			return
		}
	}
}

// stop stops the daemon and releases its directory.
func (d *daemon) stop() error {
	defer d.release()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
		return nil
	case <-time.After(stopTimeout):
	}
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping buildkitd (process %d): %w", d.cmd.Process.Pid, err)
	}
	<-d.done
	return nil
}

func (d *daemon) release() {
	if d.unsynced != nil {
		d.unsynced.Flush()
	}
	if d.run != nil {
		d.run.Remove()
	}
	d.lock.Close() // the last open descriptor releases it
}
