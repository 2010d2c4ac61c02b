package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/pipeline"
)

func TestExitCode(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		code    int
		message string // a part of what is printed, "" if nothing is
	}{
		"no error":      {nil, exitOK, ""},
		"images failed": {pipeline.ErrFailed, exitFailed, ""},
		"another run":   {fmt.Errorf("%w: process 1", pipeline.ErrBusy), exitBusy, "process 1"},
		"usage":         {usererr.Usage(errors.New("no such option")), exitUsage, "no such option"},
		"hint":          {usererr.Errorf("try again", "pushing"), exitFailed, "hint: try again"},
		// A connection that a registry or an engine closed has the same cause as
		// a closed standard output, and must be reported.
		"closed connection": {fmt.Errorf("pushing to registry.example: %w", syscall.EPIPE), exitFailed, "registry.example"},
	} {
		var stderr bytes.Buffer
		code := exitCode(t.Context(), c.err, &console.Console{Stderr: &stderr})
		if code != c.code {
			t.Errorf("%s: exit status %d, want %d", name, code, c.code)
		}
		if c.message == "" && stderr.Len() > 0 || !strings.Contains(stderr.String(), c.message) {
			t.Errorf("%s: printed %q, want %q", name, stderr.String(), c.message)
		}
	}
}
