package bootstrap

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kolla-build/kolla-build/internal/mounts"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

// What a killed bootstrap has left goes, with its mounts and never through
// them; what lives stays.
func TestClearDead(t *testing.T) {
	testenv.Root(t)
	tmp, host := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	if err := os.WriteFile(filepath.Join(host, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dead, lock, err := workDir()
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
	living, kept, err := workDir()
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if _, err := os.Stat(root); err != nil {
		t.Errorf("a bootstrap that runs lost its directory: %v", err)
	}
	lock.Close() // it was killed
	next, third, err := workDir()
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Errorf("the dead one's directory is there: %v", err)
	}
	for _, dir := range []string{living, next} {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("one that lives has gone: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(host, "precious")); err != nil {
		t.Fatalf("what was mounted was removed with it: %v", err)
	}
	if below, err := mounts.Below(tmp); err != nil || len(below) > 0 {
		t.Errorf("still mounted: %v (%v)", below, err)
	}
}
