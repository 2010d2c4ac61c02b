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

	"github.com/kolla-build/kolla-build/internal/child"
	"github.com/kolla-build/kolla-build/internal/emulator"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/usererr"
)

// Limits for mmdebstrap. It takes a minute natively, and a quarter of an hour with an
// emulator; apt needs 200 MB.
const (
	bootstrapTime      = 3 * time.Hour
	bootstrapMemory    = 8 << 30
	bootstrapProcesses = 500

	// When mmdebstrap is interrupted, it removes its directory, which takes time.
	bootstrapGrace = 30 * time.Second
)

// run runs mmdebstrap and calls read with the tar that it writes.
func (b debianImage) run(ctx context.Context, read func(io.Reader) error) error {
	dir, lock, err := makeWorkDir()
	if err != nil {
		return usererr.Errorf("TMPDIR sets the directory for it", "creating a working directory: %w", err)
	}
	defer func() {
		lock.Close()
		_ = removeWorkDir(dir) // the next bootstrap tries again
	}()
	out, in := io.Pipe()
	log := &lineLog{w: b.opts.Progress, redact: b.redact}
	cmd := child.Cmd{
		Args:   b.command(),
		Stdin:  strings.NewReader(b.aptSources()),
		Env:    append(b.environment(), "TMPDIR="+dir),
		Stdout: in, Stderr: log,
		ExtraFiles: []*os.File{lock.File()}, // see makeWorkDir
		Interrupt:  syscall.SIGINT, Grace: bootstrapGrace,
		Limits: child.Limits{Time: bootstrapTime, Memory: bootstrapMemory, Processes: bootstrapProcesses},
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	exited := make(chan error, 1)
	go func() {
		err := cmd.Run(ctx)
		in.Close()
		exited <- err
	}()
	// With a buffer of a megabyte, mmdebstrap does not wait for gzip.
	readErr := read(bufio.NewReaderSize(out, 1<<20))
	if readErr != nil {
		cancel()
	}
	_, _ = io.Copy(io.Discard, out)
	runErr := <-exited
	log.flush()
	var exit *exec.ExitError
	switch {
	case readErr != nil && !errors.Is(readErr, io.ErrUnexpectedEOF) && !errors.Is(readErr, io.EOF):
		return readErr
	case errors.As(runErr, &exit):
		return b.explain(runErr, log.last())
	case runErr != nil:
		return fmt.Errorf("running mmdebstrap: %w", runErr)
	}
	return readErr
}

// environment returns the environment of mmdebstrap. The epoch is the time of generated
// files. The messages of apt must be in English, because explain parses them.
func (b debianImage) environment() []string {
	arch, _ := goArch(b.opts.Arch)
	env := append(os.Environ(), emulator.Environment(runtime.GOARCH, arch, os.Getenv)...)
	return append(env, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", b.archive.release.date.Unix()),
		"LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
}

// keepLines is the number of mmdebstrap's last lines that explain reads.
const keepLines = 200

// lineLog forwards the messages of a program line by line and keeps the last ones.
type lineLog struct {
	mu          sync.Mutex
	w           io.Writer // may be nil
	redact      func(string) string
	partialLine strings.Builder
	tail        []string
}

// Write implements io.Writer.
func (l *lineLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range b {
		if c == '\n' || c == '\r' {
			l.endLine()
		} else if l.partialLine.Len() < 4096 {
			l.partialLine.WriteByte(c)
		}
	}
	return len(b), nil
}

func (l *lineLog) endLine() {
	line := l.redact(strings.TrimSpace(l.partialLine.String()))
	l.partialLine.Reset()
	if line == "" || progressBar.MatchString(line) {
		return
	}
	if l.tail = append(l.tail, line); len(l.tail) > keepLines {
		l.tail = l.tail[1:]
	}
	if l.w != nil {
		fmt.Fprintln(l.w, line)
	}
}

// progressBar matches progress bars, which have no meaning line by line.
var progressBar = regexp.MustCompile(`^\S.*\[[=#> -]*\]|^done$|^\d+(\.\d+)?%`)

func (l *lineLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLine()
}

func (l *lineLog) last() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail
}

// failures are messages of mmdebstrap and apt, with their meaning and what to do. The
// first that matches a line counts.
var failures = []struct {
	message *regexp.Regexp
	meaning string
	hint    string
}{
	{regexp.MustCompile(`No space left on device`), "no space for the new root file system",
		"mmdebstrap works in $TMPDIR or /tmp and needs about 1 GB"},
	{regexp.MustCompile(`EXPKEYSIG|KEYEXPIRED`), "the archive is signed with a key that has expired in the keyring",
		"update the package of the keyring, or use a newer file with kolla-build bootstrap --keyring FILE"},
	{regexp.MustCompile(`NO_PUBKEY|couldn't be verified|is not signed`),
		"the archive is not signed with a key in the keyring", "set the right one with kolla-build bootstrap --keyring FILE"},
	{regexp.MustCompile(`(?i)release file .* (is expired|expired)|is not valid yet`),
		"the release file of the archive is out of date, or the clock is wrong",
		`for a mirror that is no longer updated: apt option Acquire::Check-Valid-Until "false"`},
	{regexp.MustCompile(`Unable to locate package (\S+)|Package '?(\S+)'? has no installation candidate`),
		"a package is not in the archive", "check the names and the components"},
	{regexp.MustCompile(`Hash Sum mismatch|File has unexpected size`), "the mirror is being updated, or has wrong files",
		"try again in some minutes, or use another mirror with --base-mirror URL"},
	{regexp.MustCompile(`Could not resolve|Could not connect|Connection refused|Connection timed out|Unable to connect`),
		"the mirror cannot be reached", "use another one with --base-mirror URL"},
	{regexp.MustCompile(`newuidmap|newgidmap|/etc/subuid|unshare|user namespaces?|unable to pick chroot mode`),
		"mmdebstrap cannot work without root on this host",
		"run as root, or install uidmap and add ranges for the user to /etc/subuid and /etc/subgid"},
	{regexp.MustCompile(`install arch-test`),
		"mmdebstrap cannot find out whether programs of that architecture run on this host",
		"apt-get install arch-test, and for foreign architectures qemu-user-static binfmt-support"},
	{regexp.MustCompile(`Exec format error|qemu|binfmt`), "programs of that architecture do not run on this host",
		"apt-get install qemu-user-static binfmt-support"},
	{regexp.MustCompile(`(?i)mount.*(permission|not permitted)|unable to mount`), "mmdebstrap may not mount on this host",
		"in a container it needs CAP_SYS_ADMIN; or bootstrap on another host and use the result with --base-image oci:DIR"},
}

// explain returns the error for a failed mmdebstrap, from its last lines.
func (b debianImage) explain(err error, log []string) error {
	for _, f := range failures {
		for _, line := range log {
			// Lines with "I:" announce steps, and can contain the words of errors.
			if !strings.HasPrefix(line, "I: ") && f.message.MatchString(line) {
				return usererr.Errorf(f.hint, "%s: %s", f.meaning, line)
			}
		}
	}
	var messages []string
	for _, line := range log {
		if text, ok := strings.CutPrefix(line, "E: "); ok {
			messages = append(messages, text)
		}
	}
	if len(messages) == 0 && len(log) > 0 {
		messages = log[len(log)-1:]
	}
	return fmt.Errorf("running mmdebstrap: %w: %s", err, strings.Join(messages, "; "))
}

// redact removes the credentials of mirrors from a line.
func (b debianImage) redact(line string) string {
	for _, s := range b.archive.sources {
		line = redact.Text(line, s.uri)
	}
	return line
}
