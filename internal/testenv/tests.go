package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// HasTest reports whether the tests of the package in a directory have a function.
func HasTest(t testing.TB, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
