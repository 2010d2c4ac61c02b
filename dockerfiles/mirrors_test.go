package dockerfiles_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/dockerfiles"
)

var (
	address = regexp.MustCompile(`https?://[A-Za-z0-9.-]+`)
	proxy   = regexp.MustCompile(`(?i)(https?|ftp|no)_proxy`)
)

// A site that mirrors the repositories changes one file: with another repos.yaml no image
// fetches packages from anywhere else. Proxies are build arguments, so no template sets one.
func TestMirrorsAreInOnePlace(t *testing.T) {
	repos, err := fs.ReadFile(dockerfiles.Tree(), "repos.yaml")
	if err != nil {
		t.Fatal(err)
	}
	mirrors := filepath.Join(t.TempDir(), "repos.yaml")
	text := address.ReplaceAllFunc(repos, func(a []byte) []byte {
		_, host, _ := strings.Cut(string(a), "://")
		return []byte("https://mirror.example/" + host)
	})
	if err := os.WriteFile(mirrors, text, 0o644); err != nil {
		t.Fatal(err)
	}
	// Downloads that do not come from a repository, by image: a site changes them in an
	// override, or with the options named here.
	elsewhere := map[string][]string{
		"grafana":        {"https://grafana.com"},            // a plugin
		"zun-cni-daemon": {"https://github.com"},             // a plugin; the ARG zun_cni_daemon_url
		"kolla-toolbox":  {"https://releases.openstack.org"}, // upper constraints
	}
	all := []target{
		{base: "debian", tag: "trixie", arch: "x86_64", installType: "binary"},
		{base: "ubuntu", tag: "24.04", arch: "x86_64", installType: "binary"},
		{base: "rocky", tag: "10", arch: "x86_64", installType: "binary"},
		{base: "centos", tag: "stream10", arch: "x86_64", installType: "source"},
	}
	if testing.Short() {
		all = all[:1]
	}
	for _, to := range all {
		to.repos = mirrors
		t.Run(to.String(), func(t *testing.T) {
			t.Parallel()
			_, files := renderTree(t, to)
			mirrored := 0
			for _, f := range files {
				for line := range strings.Lines(string(f.Content)) {
					if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "LABEL") {
						continue
					}
					for _, found := range address.FindAllString(line, -1) {
						if found == "https://mirror.example" {
							mirrored++
						} else if !slices.Contains(elsewhere[f.Name], found) {
							t.Errorf("%s: %s in %s", f.Name, found, strings.TrimSpace(line))
						}
					}
					if proxy.MatchString(line) {
						t.Errorf("%s: a proxy in %s", f.Name, strings.TrimSpace(line))
					}
				}
			}
			if mirrored < 5 {
				t.Errorf("%d addresses of the mirror", mirrored)
			}
		})
	}
}
