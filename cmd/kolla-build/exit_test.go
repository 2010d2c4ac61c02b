package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/nightly"
	"github.com/kolla-build/kolla-build/pkg/pipeline"
)

func TestExitCode(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		lost    error // of standard output
		code    int
		message string // a part of the output, "" for none
	}{
		"no error":      {nil, nil, exitOK, ""},
		"images failed": {pipeline.ErrFailed, nil, exitFailed, ""},
		"another run":   {fmt.Errorf("%w: process 1", nightly.ErrBusy), nil, exitBusy, "process 1"},
		"usage":         {usererr.Usage(errors.New("no such option")), nil, exitUsage, "no such option"},
		"hint":          {usererr.Errorf("try again", "pushing"), nil, exitFailed, "hint: try again"},
		// A connection that a registry or an engine closed has the same cause as
		// a closed standard output, and must be reported.
		"closed connection": {fmt.Errorf("pushing to registry.example: %w", syscall.EPIPE), nil,
			exitFailed, "registry.example"},
		"closed output":    {syscall.EPIPE, syscall.EPIPE, exitFailed, ""},
		"full output":      {nil, syscall.ENOSPC, exitFailed, "writing standard output: no space left"},
		"failure and full": {errors.New("pulling"), syscall.ENOSPC, exitFailed, "pulling"},
	} {
		var stderr bytes.Buffer
		code := exitCode(t.Context(), c.err, c.lost, &console.Console{Stderr: &stderr})
		if code != c.code {
			t.Errorf("%s: exit status %d, want %d", name, code, c.code)
		}
		if c.message == "" && stderr.Len() > 0 || !strings.Contains(stderr.String(), c.message) {
			t.Errorf("%s: printed %q, want %q", name, stderr.String(), c.message)
		}
	}
}

// TestInterruptedConfiguration checks that a signal ends the program while it waits for a
// configuration from a pipe that has no writer.
func TestInterruptedConfiguration(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := interruptedError{syscall.SIGTERM}
	cancel(interrupted)
	if _, err := load(ctx, cli.Input{Command: buildCommand().Command,
		Args: []string{"--config-file", pipe}}); !errors.Is(err, interrupted) {
		t.Errorf("%v, want %v", err, interrupted)
	}
}
