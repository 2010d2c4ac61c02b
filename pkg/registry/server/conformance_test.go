package server_test

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// libraryFailures are tests of the conformance suite that the distribution fails, with
// the reason. docs/registry.md has the same list.
var libraryFailures = map[string]string{
	"sha512/push/manifest-by-digest":      "distribution computes the digest of a manifest with SHA-256 alone",
	"sha512/head/manifest-head-by-digest": "it refused the manifest",
	"sha512/pull/manifest-by-digest":      "it refused the manifest",
}

// The OCI distribution specification's own test suite, referrers and sha512 included.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the OCI conformance suite")
	}
	tool := registrytest.Tool(t, "conformance")
	s := registrytest.Embedded(t, server.Options{})
	results := t.TempDir()
	cmd := exec.Command(tool)
	cmd.Dir = results
	cmd.Env = append(os.Environ(), "OCI_REGISTRY="+s.Addr().String(), "OCI_TLS=disabled",
		"OCI_RESULTS_DIR="+results, "OCI_VERSION=1.1")
	out, _ := cmd.CombinedOutput() // its status is 1 if anything fails
	b, err := os.ReadFile(filepath.Join(results, "junit.xml"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var report struct {
		Suites []struct {
			Cases []struct {
				Name   string `xml:"name,attr"`
				Status string `xml:"status,attr"`
				Output string `xml:"system-out"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &report); err != nil {
		t.Fatal(err)
	}
	passed, known := 0, map[string]bool{}
	for _, suite := range report.Suites {
		for _, c := range suite.Cases {
			name := strings.TrimPrefix(c.Name, "OCI Conformance Test/")
			switch _, library := libraryFailures[name]; {
			case c.Status == "passed":
				passed++
			case c.Status == "failure" && library:
				known[name] = true
			case c.Status == "failure", c.Status == "error":
				t.Errorf("%s: %s", name, c.Output)
			}
		}
	}
	if passed < 600 {
		t.Errorf("%d tests passed: the suite has more", passed)
	}
	for name := range libraryFailures {
		if !known[name] {
			t.Errorf("%s passes now: remove it from the list", name)
		}
	}
	t.Logf("%d tests passed", passed)
}
