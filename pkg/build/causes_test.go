package build

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The cause is found in the outputs of real programs. Each file was made by running the
// program, and begins with what is expected.
func TestCauses(t *testing.T) {
	files, err := filepath.Glob("testdata/causes/*.txt")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, output, ok := strings.Cut(string(data), "\n--\n")
			if !ok {
				t.Fatal("no line -- ends the expectations")
			}
			want := map[string]string{}
			for line := range strings.SplitSeq(head, "\n") {
				name, value, _ := strings.Cut(line, ":")
				want[name] = strings.TrimSpace(value)
			}
			exit, err := strconv.Atoi(want["exit"])
			if err != nil {
				t.Fatal(err)
			}
			var f CauseFinder
			for line := range strings.Lines(output) {
				f.Line(line)
			}
			got := f.Cause(exit)
			if got.Text != want["cause"] || got.Name != want["name"] ||
				fmt.Sprint(got.Package) != cmp.Or(want["package"], "false") {
				t.Errorf("got  %q, name %q, package %v\nwant %q, name %q, package %v",
					got.Text, got.Name, got.Package, want["cause"], want["name"], want["package"])
			}
			if !strings.Contains(got.Hint, want["hint"]) {
				t.Errorf("the hint is %q, want %q", got.Hint, want["hint"])
			}
			if resource := strings.HasPrefix(filepath.Base(file), "disk-") || exit == 127; resource && got.Hint == "" {
				t.Error("there is no hint")
			}
		})
	}
}

func TestCauseOfNothing(t *testing.T) {
	var f CauseFinder
	for _, line := range []string{"", "done", "+ echo E: not an error", strings.Repeat("E: x", 10000)} {
		f.Line(line)
	}
	if c := f.Cause(1); c != (Cause{}) {
		t.Errorf("the cause is %+v", c)
	}
	if c := f.Cause(137); !strings.Contains(c.Text, "memory") || c.Hint == "" {
		t.Errorf("a killed command: %+v", c)
	}
}

// TestFullDiskHasAHint checks that a failure for lack of disk space says what to do.
func TestFullDiskHasAHint(t *testing.T) {
	full := errors.New("failed to solve: failed to copy: write /data/ingest/x/data: no space left on device")
	if f := failure(full, 1); !strings.Contains(f.Hint, "--data-dir") {
		t.Errorf("hint %q", f.Hint)
	}
	if f := failure(errors.New("exit code: 1"), 1); f.Hint != "" {
		t.Errorf("another failure has the hint %q", f.Hint)
	}
}
