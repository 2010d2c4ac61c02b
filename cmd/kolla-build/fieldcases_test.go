package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// TestFieldCasesHaveTests checks that each row of testdata/field_cases.md names tests, and
// that all of these exist.
func TestFieldCasesHaveTests(t *testing.T) {
	root := testenv.RepoRoot(t)
	page, err := os.ReadFile(filepath.Join(root, "testdata", "field_cases.md"))
	if err != nil {
		t.Fatal(err)
	}
	script, function := regexp.MustCompile("`([a-z_]+\\.txt)`"), regexp.MustCompile("`([a-z][a-z/-]*)\\.(Test\\w+)`")
	rows := 0
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "| ") || strings.HasSuffix(line, "| tests |\n") {
			continue
		}
		rows++
		scripts, functions := script.FindAllStringSubmatch(line, -1), function.FindAllStringSubmatch(line, -1)
		if len(scripts)+len(functions) == 0 {
			t.Errorf("no test in: %s", line)
		}
		for _, m := range scripts {
			if _, err := os.Stat(filepath.Join(root, "testdata", "script", m[1])); err != nil {
				t.Error(err)
			}
		}
		for _, m := range functions {
			if !testenv.HasTest(t, filepath.Join(root, m[1]), m[2]) {
				t.Errorf("%s has no %s", m[1], m[2])
			}
		}
	}
	if rows < 21 {
		t.Errorf("%d rows", rows)
	}
}
