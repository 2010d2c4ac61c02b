package buildkit

import (
	"slices"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/moby/buildkit/client"
)

// TestLastWords checks that a daemon may report the last output of a step together with
// its end, or after it. Neither is lost, and in the first case the end comes last.
func TestLastWords(t *testing.T) {
	for name, later := range map[string]bool{"with the end": false, "after the end": true} {
		t.Run(name, func(t *testing.T) {
			var kinds []build.EventKind
			w := newWatcher(image.ID{Name: "nova"}, func(e build.Event) { kinds = append(kinds, e.Kind) })
			now := time.Now()
			end := &client.SolveStatus{Vertexes: []*client.Vertex{{Digest: "sha256:1", Name: "RUN", Started: &now, Completed: &now, Error: "exit code 1"}}}
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
