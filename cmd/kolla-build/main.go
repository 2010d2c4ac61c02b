// Command kolla-build builds OpenStack container images from Jinja2 Dockerfile
// templates. This package turns options into calls, errors into exit statuses and
// signals into cancellation. It must not know how any call does its work.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/gcfloor"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/nightly"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/profiles"
)

// Exit statuses. Like Kolla's tool, 1 is a failure and 2 a usage error.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitUnknown = 2   // nothing could be compared, where exitFailed is the answer
	exitBusy    = 75  // EX_TEMPFAIL of sysexits.h: try again later
	exitSignal  = 128 // plus the number of the signal, as a shell reports it: 130, 143
)

// smallHeap is the size in bytes that the heap may have before garbage is collected. Short
// commands never reach it.
const smallHeap = 32 << 20

// maxExcerpts is how many warnings of the configuration are shown with the line that they
// concern. Of more, each is one line.
const maxExcerpts = 3

func main() {
	gcfloor.Set(smallHeap)
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// sameSignal is the time after a signal in which another one is the same request:
// timeout(1) signals its child and then its process group, and a CI system may signal a
// shell and its children. A person does not press Ctrl-C twice that fast.
const sameSignal = 300 * time.Millisecond

// interruptedError is the cause of a context that a signal ended.
type interruptedError struct{ signal os.Signal }

func (e interruptedError) Error() string { return "interrupted" }

// exitCode returns the exit status of a program that the signal ended.
func (e interruptedError) exitCode() int {
	number, _ := e.signal.(syscall.Signal)
	return exitSignal + int(number)
}

func run(args, environ []string, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup wants it to stay ignored
		signal.Notify(signals, syscall.SIGHUP)
	}
	defer signal.Stop(signals)
	// Libraries write messages to the standard logger that are not for users, such as
	// HTTP/2 when BuildKit closes a session. --debug shows them.
	log.SetOutput(io.Discard)
	out := console.NewOutput(stdout)
	con := &console.Console{Stdout: out, Stderr: stderr, Environ: environ, Version: version}
	go func() {
		interrupted := interruptedError{<-signals}
		if console.Terminal(stderr) != nil && interrupted.signal == os.Interrupt {
			con.Notice("stopping; press Ctrl-C again to exit at once")
		} else {
			con.Notice("stopping")
		}
		cancel(interrupted)
		for first := time.Now(); time.Since(first) < sameSignal; {
			interrupted.signal = <-signals
		}
		os.Exit(interrupted.exitCode())
	}()
	err := dispatch(ctx, args, con)
	return exitCode(ctx, err, out.Err(), con)
}

// exitCode prints a command's error, unless it was reported, and returns the exit
// status of the program. outputErr is the error of writing standard output, nil if all of it
// was written.
func exitCode(ctx context.Context, err, outputErr error, con *console.Console) int {
	if errors.Is(outputErr, syscall.EPIPE) && ctx.Err() == nil {
		return exitFailed // the reader of the output has ended, as head does
	}
	if outputErr != nil && (err == nil || errors.Is(err, outputErr)) {
		err = fmt.Errorf("writing standard output: %w", inputfile.WithoutPath(outputErr))
	}
	var interrupted interruptedError
	switch {
	case err == nil:
		return exitOK
	case errors.As(context.Cause(ctx), &interrupted):
		con.Notice("kolla-build: interrupted")
		return interrupted.exitCode()
	case errors.Is(err, usererr.ErrReported):
		return exitFailed
	}
	con.Notice("kolla-build: %s", usererr.Text(err))
	switch {
	case errors.Is(err, nightly.ErrBusy):
		return exitBusy
	case usererr.IsUsage(err):
		return exitUsage
	case usererr.IsInconclusive(err):
		return exitUnknown
	}
	return exitFailed
}

func dispatch(ctx context.Context, args []string, con *console.Console) error {
	commands := table()
	if len(args) > 0 {
		if c := find(commands, args[0]); c != nil && c.raw != nil {
			return c.raw(ctx, args[1:], con)
		}
	}
	if err := foreignVerb(args); err != nil {
		return err
	}
	c, rest, before := pick(commands, args)
	in := cli.Input{Command: c.Command, Args: rest, Before: before, Env: con.Environ, Commands: described(commands)}
	in.Program, _ = exec.LookPath(os.Args[0])
	var err error
	if in.Profiles, err = profiles.All(); err != nil {
		return err
	}
	cfg, err := load(ctx, in)
	switch {
	case errors.Is(err, cli.ErrHelp):
		return help(commands, c.Name, slices.Contains(rest, "--all"), con.Stdout)
	case errors.Is(err, cli.ErrVersion):
		return writeVersion(con.Stdout)
	case err != nil:
		return err
	}
	if cfg.Debug {
		log.SetOutput(con.Stderr)
	}
	con.SetJSON(cfg.Progress == string(report.ModeJSON) && (c.Name == "" || slices.Contains(c.Options, "progress")))
	for _, w := range cfg.Warnings {
		if len(cfg.Warnings) > maxExcerpts {
			con.Notice("warning: %s", w.Short())
			continue
		}
		con.Notice("warning: %v", w)
	}
	warning, err := checkWords(commands, cfg, args)
	if err != nil {
		return err
	}
	if warning != "" {
		con.Notice("warning: %s", warning)
	}
	return usage(cfg, c.run(ctx, cfg, con))
}

// load reads the configuration until ctx ends: a file may be a pipe to which nothing is
// written.
func load(ctx context.Context, in cli.Input) (*config.Config, error) {
	return inputfile.Wait(ctx, func() (*config.Config, error) { return cli.Load(in) }, nil)
}

// usage marks an error in the registry, namespace or tag as a usage error if it was
// given on the command line, and adds the place in a configuration file.
func usage(cfg *config.Config, err error) error {
	var name *imageref.Error
	if !errors.As(err, &name) {
		return err
	}
	if cfg.Origin(name.Part).Kind == config.OriginFile && usererr.Hint(err) == name.Hint() && err.Error() == name.Error() {
		mistake := cfg.Mistake(name.Part, cmp.Or(fileHint(name.Value), name.Hint()), "")
		mistake.Message = name.Error()
		return mistake
	}
	return cfg.UsageIfTyped(name.Part, err)
}

// fileHint returns the hint for a value in a configuration file that has the syntax of another format.
func fileHint(value string) string {
	switch {
	case strings.Contains(value, "{{") || strings.Contains(value, "%("):
		return "values refer to options as ${NAME}"
	case strings.Contains(value, " #"):
		return "a comment must be on its own line"
	}
	return ""
}
