package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// SparseTar returns an archive in a format of GNU tar with one file, which is a single
// hole of size bytes.
func SparseTar(t testing.TB, format, name string, size int64) []byte {
	t.Helper()
	program := Program(t, "tar", "tar")
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	raw, err := exec.Command(program, "--sparse", "--format="+format, "-C", dir, "-c", name).Output()
	if err != nil {
		t.Fatalf("tar: %v", err)
	}
	return raw
}
