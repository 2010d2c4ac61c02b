package define

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bootstrap"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// TestBootstrapPrintsJSON checks that all output of a bootstrap is JSON lines with --progress
// json, including that of the program that it runs.
func TestBootstrapPrintsJSON(t *testing.T) {
	testenv.Slow(t)
	testenv.Program(t, "mmdebstrap", "mmdebstrap")
	// A mirror with an unsigned release file, and without further suites.
	host := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/debian/dists/trixie/InRelease" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, "Origin: Debian\nSuite: stable\nCodename: trixie\nDate: Sat, 22 Nov 2025 10:00:00 UTC\n")
	}))
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var stderr bytes.Buffer
	con := &console.Console{Stdout: io.Discard, Stderr: &stderr}
	con.SetJSON(true)
	_, err = Bootstrap(t.Context(), s, con,
		bootstrap.Options{Distro: "debian", Suite: "trixie", Arch: "amd64",
			Mirror: "http://" + host + "/debian"}, "debian:trixie")
	if err == nil {
		t.Fatal("an unsigned mirror was accepted")
	}
	if !strings.Contains(stderr.String(), "trixie-updates") {
		t.Fatalf("nothing about the suites: %v\n%s", err, &stderr)
	}
	for line := range strings.Lines(stderr.String()) {
		var event struct{ Event, Text string }
		if err := json.Unmarshal([]byte(line), &event); err != nil || event.Event == "" || event.Text == "" {
			t.Errorf("%q: %v", line, err)
		}
	}
}
