package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"go.yaml.in/yaml/v3"
)

// TestPackageContents checks that the files which the packages contain exist, or are
// made by the release script. `make test-release` builds and installs the packages.
func TestPackageContents(t *testing.T) {
	root := testenv.RepoRoot(t)
	data, err := os.ReadFile(filepath.Join(root, "packaging/nfpm.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var pkg struct {
		Contents []struct{ Src, Dst, Type string }
	}
	if err := yaml.Unmarshal(data, &pkg); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(root, "scripts/release.sh"))
	if err != nil {
		t.Fatal(err)
	}
	installed := map[string]bool{}
	for _, c := range pkg.Contents {
		if installed[c.Dst] || !filepath.IsAbs(c.Dst) && !strings.HasPrefix(c.Dst, "${") {
			t.Errorf("%s is installed twice, or is not an absolute path", c.Dst)
		}
		installed[c.Dst] = true
		if c.Type == "dir" {
			continue
		}
		if made, ok := strings.CutPrefix(c.Src, "${STAGE}/"); ok {
			name := strings.TrimSuffix(made, filepath.Ext(made)) // completion.$shell, $unit.service
			if !strings.Contains(string(script), "stage/"+name) && !strings.Contains(string(script), " "+name) {
				t.Errorf("release.sh does not make %s", made)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(root, c.Src)); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{"/usr/bin/kolla-build", "/usr/lib/kolla-build/buildkitd",
		"/usr/lib/kolla-build/nightly.sh",
		"/usr/lib/systemd/system/kolla-build-nightly.service", "/usr/lib/systemd/system/kolla-build-nightly.timer"} {
		if !installed[path] {
			t.Errorf("the packages do not contain %s", path)
		}
	}
}

// TestNewestVersion checks that the changelog begins with the version that a release
// without a tag is named after.
func TestNewestVersion(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testenv.RepoRoot(t), "CHANGELOG.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "\n## ")
	version, _, _ := strings.Cut(rest, " ")
	if parts := strings.Split(strings.TrimSpace(version), "."); len(parts) != 3 {
		t.Errorf("the first heading of CHANGELOG.md is not a version: %q", version)
	}
}
