package bundle

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// A bundle can be saved to FAT, which has neither modes nor links, in all its forms. The
// kernel must have FUSE.
func TestSaveToFAT(t *testing.T) {
	testenv.Program(t, "mkfs.vfat", "dosfstools")
	testenv.Program(t, "fusermount", "fusefat")
	testenv.Program(t, "fusefat", "fusefat")
	work := t.TempDir()
	image, medium := filepath.Join(work, "image"), filepath.Join(work, "medium")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 48<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(medium, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "mkfs.vfat", "-F", "32", image).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "fusefat", "-o", "rw+", image, medium).CombinedOutput(); err != nil {
		t.Skipf("%v\n%s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("fusermount", "-u", medium).Run() })
	if err := os.WriteFile(filepath.Join(medium, "probe"), nil, 0o600); err != nil {
		t.Skip(err)
	}
	s, entries := fill(t)
	for range 2 { // the second replaces the first
		for name, opts := range map[string]SaveOptions{"set.tar": {}, "parts.tar": {Split: 70_000, Parity: 50}, "set/": {}} {
			sum, err := Save(t.Context(), s, entries, filepath.Join(medium, name)+name[len(filepath.Clean(name)):], opts)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			file := filepath.Join(medium, name)
			if len(sum.Parts) > 0 {
				file = sum.Parts[1]
			}
			if r, err := Verify(t.Context(), file, VerifyOptions{}); err != nil || !r.OK {
				t.Errorf("%s: %+v (%v)", name, r, err)
			}
		}
	}
}
