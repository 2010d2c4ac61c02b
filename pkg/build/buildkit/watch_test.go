package buildkit

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/moby/buildkit/client"
	gwpb "github.com/moby/buildkit/frontend/gateway/pb"
)

// TestLastWords checks that a daemon may report the last output of a step together with
// its end, or after it. Neither is lost, and in the first case the end comes last.
func TestLastWords(t *testing.T) {
	for name, later := range map[string]bool{"with the end": false, "after the end": true} {
		t.Run(name, func(t *testing.T) {
			var kinds []build.EventKind
			w := newWatcher(image.ID{Name: "nova"}, func(e build.Event) { kinds = append(kinds, e.Kind) })
			now := time.Now()
			end := &client.SolveStatus{Vertexes: []*client.Vertex{{Digest: "sha256:1", Name: "RUN", Started: &now,
				Completed: &now, Error: "exit code 1"}}}
			logs := []*client.VertexLog{{Vertex: "sha256:1", Stream: 2, Data: []byte("a line\nwhy it failed")}}
			if later {
				w.handle(end)
				w.handle(&client.SolveStatus{Logs: logs})
			} else {
				end.Logs = logs
				w.handle(end)
			}
			w.stop()
			if got := w.failure(&Definition{}, nil).Tail; !slices.Equal(got, []string{"a line", "why it failed"}) {
				t.Errorf("its last lines are %q", got)
			}
			if !later && kinds[len(kinds)-1] != build.EventStepEnd {
				t.Errorf("events %v: output comes after the step's end", kinds)
			}
		})
	}
}

// TestFailureIgnoresOrderOfStreams checks that the cause of a failed command, and whether it is
// tried again, do not depend on which of its two streams the builder reads first.
func TestFailureIgnoresOrderOfStreams(t *testing.T) {
	now := time.Now()
	chunk := func(stream int, after time.Duration, text string) *client.VertexLog {
		return &client.VertexLog{Vertex: "sha256:1", Stream: stream, Data: []byte(text), Timestamp: now.Add(after)}
	}
	many := strings.Repeat("Unpacking a member\n", 100)
	for _, c := range []struct {
		name   string
		logs   []*client.VertexLog
		cause  string
		orders [][]int // of logs, which can all occur
	}{
		{"unknown cause", []*client.VertexLog{chunk(1, 0, "preparing\n"), chunk(2, 1, "it did not work\n"),
			chunk(1, 2, "cleaning up\n")},
			"exit code 1: it did not work", [][]int{{0, 1, 2}, {1, 0, 2}, {0, 2, 1}}},
		{"known cause", []*client.VertexLog{chunk(1, 0, many), chunk(2, 1, "E: Unable to locate package chrnoy\n")},
			"E: Unable to locate package chrnoy", [][]int{{0, 1}, {1, 0}}},
		{"temporary", []*client.VertexLog{chunk(1, 0, many), chunk(2, 1, "curl: (28) Operation timed out\n")},
			"curl: (28) Operation timed out", [][]int{{0, 1}, {1, 0}}},
		{"tolerated long before", []*client.VertexLog{chunk(2, 0, "it did not matter\n"),
			chunk(1, time.Second, "3 tests failed\n")},
			"exit code 1: 3 tests failed", [][]int{{0, 1}}},
		{"commands of set -x", []*client.VertexLog{chunk(2, 0, "+ ./run-tests\n"), chunk(1, 1, "3 tests failed\n")},
			"exit code 1: 3 tests failed", [][]int{{0, 1}, {1, 0}}},
		{"nothing but commands of set -x", []*client.VertexLog{chunk(2, 0, "+ test -e /nosuch\n")},
			"exit code 1: + test -e /nosuch", [][]int{{0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var signature string
			for i, order := range c.orders {
				w := newWatcher(image.ID{Name: "nova"}, func(build.Event) {})
				w.handle(&client.SolveStatus{Vertexes: []*client.Vertex{{Digest: "sha256:1", Name: "RUN", Started: &now}}})
				for _, at := range order {
					w.handle(&client.SolveStatus{Logs: []*client.VertexLog{c.logs[at]}})
				}
				end := client.Vertex{Digest: "sha256:1", Name: "RUN", Started: &now, Completed: &now, Error: "exit code 1"}
				w.handle(&client.SolveStatus{Vertexes: []*client.Vertex{&end}})
				w.stop()
				err := w.buildError(&Definition{}, &gwpb.ExitError{ExitCode: 1})
				if !strings.HasSuffix(err.Error(), c.cause) {
					t.Errorf("order %v: the cause is %q, want %q", order, err, c.cause)
				}
				if err.Temporary() != (c.name == "temporary") {
					t.Errorf("order %v: temporary is %v", order, err.Temporary())
				}
				if i == 0 {
					signature = err.Signature()
				} else if got := err.Signature(); got != signature {
					t.Errorf("order %v: the signature is %q, that of order %v is %q", order, got, c.orders[0], signature)
				}
			}
		})
	}
}

// TestExitError checks the text of failures without a known cause.
func TestExitError(t *testing.T) {
	for code, want := range map[int]string{1: "code 1: x", 128: "code 128: x", 134: "SIGABRT", 139: "SIGSEGV",
		143: "SIGTERM", 255: "code 255: x"} {
		got := exitError(code, "x").Error()
		bySignal := strings.HasPrefix(want, "SIG")
		if !strings.Contains(got, want) || !strings.Contains(got, fmt.Sprint(code)) ||
			strings.Contains(got, "signal") != bySignal {
			t.Errorf("exit code %d: %q", code, got)
		}
	}
}
