package deps

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// TestNoRegistryHosts checks that no file names the package mirrors that this machine
// uses: mirrors come from the host's own configuration, from tools' defaults or from
// the user's settings. The hosts are read from there. Repositories of third parties are
// allowed, because templates name them.
func TestNoRegistryHosts(t *testing.T) {
	var hosts []string
	for _, glob := range []string{"/etc/apt/sources.list", "/etc/apt/sources.list.d/*.sources",
		"/etc/apt/sources.list.d/*.list"} {
		files, _ := filepath.Glob(glob)
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				continue
			}
			hosts = append(hosts, distroHosts(string(data), strings.HasSuffix(f, ".sources"))...)
		}
	}
	out, err := exec.Command("go", "env", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range hostOf.FindAllStringSubmatch(string(out), -1) {
		hosts = append(hosts, m[1])
	}
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)

	root := testenv.RepoRoot(t)
	if _, err := os.Lstat(filepath.Join(root, ".git")); err != nil {
		t.Skip("not in a git checkout")
	}
	testenv.Inputs(t, ".ci", "cmd", "dockerfiles", "docs", "examples", "internal", "packaging", "pkg", "profiles",
		"scripts", "testdata")
	// Go's test cache records that this lists the files beside README.md.
	if _, err := os.ReadDir(root); err != nil {
		t.Fatal(err)
	}
	// The checkout may belong to another user than the one who tests.
	git := exec.Command(testenv.Program(t, "git", "git"), "-c", "safe.directory=*", "-C", root,
		"ls-files", "-z", "--cached", "--others", "--exclude-standard")
	var output strings.Builder
	git.Stderr = &output
	list, err := git.Output()
	if err != nil {
		testenv.Missing(t, "git does not list this checkout: "+err.Error()+": "+strings.TrimSpace(output.String()))
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		file := filepath.Join(root, name)
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, h := range hosts {
			if strings.Contains(string(data), h) {
				t.Errorf("%s names the host %s", file, h)
			}
		}
	}
}

var (
	hostOf  = regexp.MustCompile(`https?://([A-Za-z0-9.-]+\.[a-z]+)`)
	keyring = regexp.MustCompile(`\b(debian|ubuntu)-archive-`)
	// Ubuntu's cloud archive has noble-updates/flamingo: that is not one.
	pocket = regexp.MustCompile(`^[a-z]+(-security|-updates|/updates)$`)
	// The path of an archive at the root of its host.
	archive = regexp.MustCompile(`https?://[^/]+/(debian|ubuntu)(-security|-ports)?/?$`)
	oneLine = regexp.MustCompile(`^deb(?:-src)?\s+(?:\[([^]]*)\]\s*)?(\S+)\s+(\S+)`)
)

// distroHosts returns the hosts in apt's sources, in either of its formats,
// that are the distribution's own archive. The suite does not tell: others call
// theirs bookworm and noble too. The distribution's is signed with its archive's
// key, or has -updates or -security, or names no key and has the path that
// archives have.
func distroHosts(sources string, deb822 bool) []string {
	var hosts []string
	add := func(uris, suites, signedBy string) {
		hasPocket := slices.ContainsFunc(strings.Fields(suites), pocket.MatchString)
		for _, uri := range strings.Fields(uris) {
			m := hostOf.FindStringSubmatch(uri)
			if m != nil && (keyring.MatchString(signedBy) || hasPocket || signedBy == "" && archive.MatchString(uri)) {
				hosts = append(hosts, m[1])
			}
		}
	}
	fields := map[string]string{}
	var last string
	flush := func() {
		add(fields["uris"], fields["suites"], fields["signed-by"])
		clear(fields)
	}
	for line := range strings.Lines(sources) {
		text := strings.TrimSpace(line)
		switch name, value, ok := strings.Cut(text, ":"); {
		case strings.HasPrefix(text, "#"):
		case !deb822:
			if m := oneLine.FindStringSubmatch(text); m != nil {
				_, signedBy, _ := strings.Cut(m[1], "signed-by=")
				add(m[2], m[3], signedBy)
			}
		case text == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			fields[last] += " " + text
		case ok:
			last = strings.ToLower(name)
			fields[last] = value
		}
	}
	flush()
	return hosts
}

func TestDistroHosts(t *testing.T) {
	const deb822 = `# URIs: http://comment.example.org/debian
Types: deb
URIs: http://one.example.org/debian
 http://two.example.org/mirror/debian
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
uris: https://three.example.org/x
suites: noble noble-updates
Signed-By: /etc/apt/company.gpg

Types: deb
URIs: https://docker.example.org/linux/debian
Suites: bookworm
Components: stable
Signed-By: /etc/apt/keyrings/docker.asc

Types: deb
URIs: https://embedded.example.org/debian
Suites: noble
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://cloud.example.org/ubuntu
Suites: noble-updates/flamingo
Signed-By: /usr/share/keyrings/ubuntu-cloud-keyring.gpg
`
	const lines = `# deb http://comment.example.org/debian bookworm main
deb http://one.example.org/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg] http://two.example.org/x noble main
deb-src http://three.example.org/security trixie-security main
deb https://ppa.example.org/some/ppa/ubuntu jammy main
deb [signed-by=/etc/apt/keyrings/docker.asc] https://docker.example.org/linux/debian bookworm stable
deb https://grafana.example.org stable main
deb http://old.example.org/x buster/updates main
`
	for _, c := range []struct {
		sources string
		deb822  bool
		want    string
	}{
		{deb822, true, "one.example.org two.example.org three.example.org"},
		{lines, false, "one.example.org two.example.org three.example.org old.example.org"},
		{"", true, ""},
	} {
		if got := strings.Join(distroHosts(c.sources, c.deb822), " "); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
