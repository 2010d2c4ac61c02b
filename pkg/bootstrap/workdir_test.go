package bootstrap

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kolla-build/kolla-build/internal/mounts"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

// TestRemoveAbandoned checks that the directory of a killed bootstrap is removed without the
// files that are mounted in it, and that of a running one stays.
func TestRemoveAbandoned(t *testing.T) {
	testenv.Root(t)
	tmp, host := filepath.Join(t.TempDir(), "not[a]pattern"), t.TempDir()
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	if err := os.WriteFile(filepath.Join(host, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dead, lock, err := makeWorkDir()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dead, "mmdebstrap.x", "dev")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "--bind", host, root).CombinedOutput(); err != nil {
		testenv.Missing(t, "nothing can be mounted here: "+string(out))
	}
	living, kept, err := makeWorkDir()
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if _, err := os.Stat(root); err != nil {
		t.Errorf("a bootstrap that runs lost its directory: %v", err)
	}
	lock.Close() // as if killed
	next, third, err := makeWorkDir()
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Errorf("an abandoned directory is left: %v", err)
	}
	for _, dir := range []string{living, next} {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("the directory of a running bootstrap is gone: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(host, "precious")); err != nil {
		t.Fatalf("mounted files were removed: %v", err)
	}
	if below, err := mounts.Below(tmp); err != nil || len(below) > 0 {
		t.Errorf("still mounted: %v (%v)", below, err)
	}
}
