package deps

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNoRegistryHosts holds that no file names the package mirrors that this
// machine uses: mirrors come from the host's own configuration, from tools'
// defaults or from the user's settings. What the hosts are is read from there.
func TestNoRegistryHosts(t *testing.T) {
	hosts := map[string]bool{}
	url := regexp.MustCompile(`https?://([A-Za-z0-9.-]+\.[a-z]+)`)
	for _, glob := range []string{"/etc/apt/sources.list", "/etc/apt/sources.list.d/*.sources", "/etc/apt/sources.list.d/*.list"} {
		files, _ := filepath.Glob(glob)
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(data)) {
				if strings.HasPrefix(strings.TrimSpace(line), "#") {
					continue
				}
				for _, m := range url.FindAllStringSubmatch(line, -1) {
					hosts[m[1]] = true
				}
			}
		}
	}
	if out, err := exec.Command("go", "env", "GOPROXY").Output(); err == nil {
		for _, m := range url.FindAllStringSubmatch(string(out), -1) {
			hosts[m[1]] = true
		}
	}
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		t.Skip("not in a git checkout")
	}
	list, err := exec.Command("git", "-C", strings.TrimSpace(string(root)), "ls-files", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	for file := range strings.Lines(string(list)) {
		file = filepath.Join(strings.TrimSpace(string(root)), strings.TrimSpace(file))
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for h := range hosts {
			if strings.Contains(string(data), h) {
				t.Errorf("%s names the host %s", file, h)
			}
		}
	}
}
