package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

var update = flag.Bool("update", false, "write the generated documents")

// TestGeneratedDocs compares the generated documents with the option table and the
// commands.
func TestGeneratedDocs(t *testing.T) {
	root := testenv.RepoRoot(t)
	for path, want := range map[string]string{
		"docs/options.md":           cli.Reference(described(table())),
		"examples/kolla-build.conf": config.SampleConfig(),
	} {
		path = filepath.Join(root, path)
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s differs from the option table: make docs", path)
		}
	}
}
