package contract

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTableFromPipe checks that waiting for a pipe to which nothing is written ends with the
// command.
func TestTableFromPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "table")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, o := range []Options{{Table: pipe}, {Exceptions: pipe}} {
		if _, _, err := o.read(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
