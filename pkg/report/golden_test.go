package report

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// goldenUsed are the golden files that a test has used.
var goldenUsed = map[string]bool{}

// golden compares got with testdata/golden/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	goldenUsed[name] = true
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (make it with: go test ./pkg/report -update)", err)
	}
	if string(want) == got {
		return
	}
	wl, gl := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := 0; i < max(len(wl), len(gl)); i++ {
		var w, g string
		if i < len(wl) {
			w = wl[i]
		}
		if i < len(gl) {
			g = gl[i]
		}
		if w != g {
			t.Fatalf("%s:%d differs\n got %q\nwant %q\nall of it:\n%s", path, i+1, g, w, got)
		}
	}
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
