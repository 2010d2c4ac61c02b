package setcopy

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// TestProgress checks that a copy ends with all bytes of the set done, whether they are sent
// or are there already, and that the total is at most the size of the set.
func TestProgress(t *testing.T) {
	source := registrytest.Embedded(t, server.Options{}).Host()
	s := newSite(t, source)
	host := registrytest.Embedded(t, server.Options{}).Host()
	var first int64
	for i, to := range []string{host + "/site", host + "/other"} {
		var stdout, stderr bytes.Buffer
		if err := Copy(t.Context(), settings(s.dir), &console.Console{Stdout: &stdout, Stderr: &stderr},
			[]string{source + "/kolla:t1", to}, Options{Progress: "json"}); err != nil {
			t.Fatal(err)
		}
		var last struct {
			Event, Action string
			Bytes         int64
			Total         int64 `json:"total_bytes"`
		}
		for _, line := range strings.Split(stderr.String(), "\n") {
			if strings.Contains(line, `"transfer"`) {
				if err := json.Unmarshal([]byte(line), &last); err != nil {
					t.Fatal(err)
				}
			}
		}
		// The measurement ends with the copy, so that a fast one has no total.
		if last.Action != "copying" || last.Bytes == 0 || last.Total != 0 && last.Total != last.Bytes ||
			i == 1 && last.Bytes != first {
			t.Errorf("copy %d ended with %+v, %d bytes before", i, last, first)
		}
		first = last.Bytes
	}
}
