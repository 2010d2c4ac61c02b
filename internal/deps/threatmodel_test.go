package deps

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// TestThreatModelNamesTests checks that each line of the threat model names tests that exist.
func TestThreatModelNamesTests(t *testing.T) {
	root := testenv.RepoRoot(t)
	page, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:pkg|internal|cmd)/[a-z/-]+)\\.((?:Test|Fuzz)\\w+)`")
	// The section about generated inputs has records of runs.
	tables := regexp.MustCompile(`(?s)\n## Generated hostile inputs.*?\n## `).ReplaceAllString(string(page), "\n## ")
	for _, line := range regexp.MustCompile(`(?m)^\|.*$`).FindAllString(tables, -1) {
		if regexp.MustCompile(`^\|(-+\|)+$|^\| (what|target) \|`).MatchString(line) {
			continue
		}
		if !named.MatchString(line) {
			t.Errorf("no test is named in: %s", line)
		}
	}
	for _, m := range named.FindAllStringSubmatch(string(page), -1) {
		if !testenv.HasTest(t, filepath.Join(root, m[1]), m[2]) {
			t.Errorf("%s.%s does not exist", m[1], m[2])
		}
	}
}
