package report

import (
	"flag"
	"os/exec"
	"path/filepath"
	"sort"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// goldenUsed are the golden files that a test has used.
var goldenUsed = map[string]bool{}

// golden is testenv.Golden. It records which files are used.
func golden(t *testing.T, name, got string) {
	t.Helper()
	goldenUsed[name] = true
	testenv.Golden(t, name, got, *update)
}

// orphans returns the golden files that no test has used.
func orphans() []string {
	files, _ := filepath.Glob(filepath.Join("testdata", "golden", "*"))
	var out []string
	for _, f := range files {
		if !goldenUsed[filepath.Base(f)] {
			out = append(out, f)
		}
	}
	sort.Strings(out)
	return out
}

// isFiltered reports whether only some tests ran, or some were skipped because tmux
// is missing: then unused golden files mean nothing.
func isFiltered() bool {
	run := flag.Lookup("test.run").Value.String() + flag.Lookup("test.skip").Value.String() +
		flag.Lookup("test.fuzz").Value.String() + flag.Lookup("test.list").Value.String()
	_, err := exec.LookPath("tmux")
	return run != "" || err != nil
}
