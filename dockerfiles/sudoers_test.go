package dockerfiles_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// One file with an error makes sudo ignore its rules, and a service that needs
// them does not start.
func TestSudoersParse(t *testing.T) {
	visudo := testenv.Program(t, "visudo", "sudo")
	var files []string
	for _, pattern := range []string{"*/*sudoers", "*/*/*sudoers"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 20 {
		t.Fatalf("found only %v", files)
	}
	base, err := os.ReadFile("base/sudoers")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// As in an image: after the rules of base, which includes the file.
		if file != filepath.Join("base", "sudoers") {
			rules, _, _ := strings.Cut(string(base), "#includedir")
			text = append([]byte(rules+"\n"), text...)
		}
		whole := filepath.Join(t.TempDir(), "sudoers")
		if err := os.WriteFile(whole, text, 0o440); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(visudo, "--check", "--strict", "--file", whole).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}
