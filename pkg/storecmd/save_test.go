package storecmd

import (
	"archive/tar"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/bundle"
)

// A bundle records the options that matter, and no secret of them.
func TestConfigurationInBundle(t *testing.T) {
	f := newFixture(t)
	out := filepath.Join(t.TempDir(), "set.tar")
	cfg := f.config("--base", "debian", "--base-mirror", "https://user:hunter2@mirror.example/debian?token=hunter3",
		"--build-args", "password:hunter4", "--tag", "a")
	if err := Save(t.Context(), cfg, f.con, out, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for tr := tar.NewReader(file); ; {
		h, err := tr.Next()
		if err != nil {
			t.Fatal(err)
		}
		if h.Name != "kolla-bundle.json" {
			continue
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		var m bundle.Manifest
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if m.Configuration["base"] != "debian" || m.Configuration["tag"] != "a" ||
			!strings.Contains(m.Configuration["base-mirror"], "mirror.example/debian") {
			t.Errorf("%v", m.Configuration)
		}
		if strings.Contains(string(b), "hunter") {
			t.Errorf("a secret is recorded: %v", m.Configuration)
		}
		return
	}
}

// FAT, which most USB drives have, holds files of less than 4 GiB.
func TestPartsFitOnFAT(t *testing.T) {
	for text, want := range map[string]int64{"4G": 4_000_000_000, "4GiB": 1<<32 - 1,
		"5GiB": 5 << 30, "650M": 650_000_000} {
		if size, _, err := parseSplit(SaveOptions{Split: text}); err != nil || size != want {
			t.Errorf("--split %s: parts of %d bytes (%v), want %d", text, size, err, want)
		}
	}
}

// The printed command can be pasted into a shell, whatever the file is called.
func TestShellWord(t *testing.T) {
	for _, name := range []string{"set.tar", "/media/a b/set.tar", "it's.tar", "$HOME`id`.tar", "new\nline's.tar",
		"\xff\u0085.tar", "données.tar", "a[*]?!#~.tar", "-x;y&z|.tar", ""} {
		cmd := exec.CommandContext(t.Context(), "bash", "-c", "printf %s "+shellWord(name))
		cmd.Env = append(os.Environ(), "LC_ALL=C") // the terminal of the user may have another locale
		out, err := cmd.Output()
		if err != nil || string(out) != name {
			t.Errorf("%q is printed as %s, which is %q (%v)", name, shellWord(name), out, err)
		}
	}
	if got := shellWord("/media/set.tar.001"); got != "/media/set.tar.001" {
		t.Errorf("a simple name is printed as %s", got)
	}
}
