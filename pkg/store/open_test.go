package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenProblems(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign")
	newer := filepath.Join(dir, "newer")
	corrupt := filepath.Join(dir, "corrupt")
	half := filepath.Join(dir, "half")
	for d, files := range map[string]map[string]string{
		foreign: {"letters.txt": "x"},
		newer:   {"oci-layout": `{"imageLayoutVersion":"2.0.0"}`},
		corrupt: {"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": `{"schemaVersion":2,"manif`},
		half:    {"oci-layout": `{"imageLayou`},
	} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		for n, c := range files {
			if err := os.WriteFile(filepath.Join(d, n), []byte(c), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		dir     string
		problem Problem
		says    string
	}{
		{file, ProblemNotDirectory, file},
		{filepath.Join(file, "below"), ProblemNotDirectory, "below"},
		{foreign, ProblemForeign, `"letters.txt"`},
		{newer, ProblemNewer, `"2.0.0"`},
		{corrupt, ProblemCorrupt, "mv " + filepath.Join(corrupt, "index.json")},
		{half, ProblemCorrupt, "oci-layout"},
	} {
		_, err := Open(c.dir)
		var oe *OpenError
		if !errors.As(err, &oe) || oe.Problem != c.problem || !strings.Contains(err.Error()+" "+oe.Hint(), c.says) {
			t.Errorf("Open(%s) = %v, want %q and the text %q", c.dir, err, c.problem, c.says)
		}
	}
	if names, _ := os.ReadDir(foreign); len(names) != 1 {
		t.Errorf("a foreign directory was written to: %v", names)
	}
}

func TestNotWritable(t *testing.T) {
	if os.Getuid() == 0 {
		// Root may write everywhere except to read-only mounts and /proc.
		_, err := Open("/proc/kolla-build-store")
		if err == nil {
			t.Fatal("opened a store in /proc")
		}
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	_, err := Open(filepath.Join(dir, "s"))
	var oe *OpenError
	if !errors.As(err, &oe) || oe.Problem != ProblemNotWritable {
		t.Errorf("Open = %v, want %q", err, ProblemNotWritable)
	}
}
