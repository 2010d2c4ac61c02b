package bootstrap

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// keepLines is how many of mmdebstrap's last lines an error looks at.
const keepLines = 200

// run runs mmdebstrap and hands its tar to read.
func (b debianImage) run(ctx context.Context, read func(io.Reader) error) error {
	cmd := exec.CommandContext(ctx, "mmdebstrap", b.command()...)
	// The time goes into every file that is made now, the language into what
	// apt says, which is read below.
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", b.archive.release.date.Unix()), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
	work, lock, err := workDir()
	if err != nil {
		return &Error{Detail: "making a directory to work in", Err: err, Hint: "TMPDIR names where"}
	}
	defer func() {
		lock.Close()
		_ = removeWork(work) // the next bootstrap tries again
	}()
	cmd.Env = append(cmd.Env, "TMPDIR="+work)
	cmd.ExtraFiles = []*os.File{lock}
	// mmdebstrap removes its directory when it is interrupted; that takes a while.
	// It is interrupted too when this process is killed: that signal comes when the
	// thread ends that has started it, so the thread is kept.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 30 * time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	log := &lines{to: b.opts.Progress, hide: b.hide}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return &Error{Detail: "starting mmdebstrap", Err: err}
	}
	// If it does not end after the signal, its children would keep the pipe open.
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(cmd.WaitDelay, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	})()
	// A megabyte between the two keeps mmdebstrap's tar from waiting for gzip.
	rerr := read(bufio.NewReaderSize(stdout, 1<<20))
	if rerr != nil {
		// Whoever writes must not wait for us for ever.
		cmd.Cancel()
	}
	_, _ = io.Copy(io.Discard, stdout)
	werr := cmd.Wait()
	log.flush()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case rerr != nil && !isTarCut(rerr):
		return rerr
	case werr != nil:
		return b.explain(werr, log.last())
	}
	return rerr
}

// isTarCut reports whether a read error is what a killed mmdebstrap leaves.
func isTarCut(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// lines forwards what a process says, line by line, and keeps the last ones.
type lines struct {
	mu   sync.Mutex
	to   io.Writer
	hide func(string) string
	part strings.Builder
	kept []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range b {
		if c == '\n' || c == '\r' {
			l.emit()
		} else if l.part.Len() < 4096 {
			l.part.WriteByte(c)
		}
	}
	return len(b), nil
}

func (l *lines) emit() {
	s := l.hide(strings.TrimSpace(l.part.String()))
	l.part.Reset()
	if s == "" || isBar(s) {
		return
	}
	if l.kept = append(l.kept, s); len(l.kept) > keepLines {
		l.kept = l.kept[1:]
	}
	if l.to != nil {
		fmt.Fprintln(l.to, s)
	}
}

var bar = regexp.MustCompile(`^\S.*\[[=#> -]*\]|^done$|^\d+(\.\d+)?%`)

// isBar tells progress bars, which mean nothing line by line.
func isBar(s string) bool { return bar.MatchString(s) }

func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.emit()
}

func (l *lines) last() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept
}

// reasons are what mmdebstrap and apt say, and what to do about it. The first
// that matches a line is the reason.
var reasons = []struct {
	says   *regexp.Regexp
	detail string
	hint   string
}{
	{regexp.MustCompile(`No space left on device`), "no space left for the new root file system", "mmdebstrap works in $TMPDIR or /tmp and needs about 1 GB"},
	{regexp.MustCompile(`EXPKEYSIG|KEYEXPIRED`), "the archive is signed with a key that has expired in this keyring", "update the keyring's package, or give a newer file with --keyring FILE"},
	{regexp.MustCompile(`NO_PUBKEY|couldn't be verified|is not signed`), "the archive is not signed with a key of this keyring", "give the right one with --keyring FILE"},
	{regexp.MustCompile(`(?i)release file .* (is expired|expired)|is not valid yet`), "the archive's release file is out of date, or the clock is wrong", `for a mirror that stands still: apt option Acquire::Check-Valid-Until "false"`},
	{regexp.MustCompile(`Unable to locate package (\S+)|Package '?(\S+)'? has no installation candidate`), "a package is not in the archive", "check the names and the components"},
	{regexp.MustCompile(`Hash Sum mismatch|File has unexpected size`), "the mirror is being updated, or gives wrong files", "try again in some minutes, or another mirror with --mirror URL"},
	{regexp.MustCompile(`Could not resolve|Could not connect|Connection refused|Connection timed out|Unable to connect`), "the mirror cannot be reached", "give one that can with --mirror URL"},
	{regexp.MustCompile(`newuidmap|newgidmap|/etc/subuid|unshare|user namespaces?`), "mmdebstrap cannot work without root here", "run as root, or install uidmap and give the user a range in /etc/subuid and /etc/subgid"},
	{regexp.MustCompile(`install arch-test`), "mmdebstrap cannot tell whether programs of that architecture run here", "apt-get install arch-test, and for architectures that do not run here qemu-user-static binfmt-support"},
	{regexp.MustCompile(`Exec format error|qemu|binfmt`), "programs of that architecture do not run here", "apt-get install qemu-user-static binfmt-support"},
	{regexp.MustCompile(`(?i)mount.*(permission|not permitted)|unable to mount`), "mmdebstrap may not mount here", "in a container it needs CAP_SYS_ADMIN; or bootstrap on another host and give the result as --base-image oci:DIR"},
}

func (b debianImage) explain(err error, log []string) error {
	for _, r := range reasons {
		for _, line := range log {
			// "I:" lines tell what is being done, in words that errors use too.
			if !strings.HasPrefix(line, "I: ") && r.says.MatchString(line) {
				return &Error{Detail: r.detail, Err: errors.New(line), Hint: r.hint}
			}
		}
	}
	var said []string
	for _, line := range log {
		if strings.HasPrefix(line, "E: ") {
			said = append(said, line[len("E: "):])
		}
	}
	if len(said) == 0 && len(log) > 0 {
		said = []string{log[len(log)-1]}
	}
	return &Error{Detail: "mmdebstrap", Err: fmt.Errorf("%w: %s", err, strings.Join(said, "; "))}
}

// hide takes mirrors' passwords out of a line.
func (b debianImage) hide(line string) string {
	for _, s := range b.archive.sources {
		line = strings.ReplaceAll(line, s.uri, withoutUser(s.uri))
	}
	return line
}
