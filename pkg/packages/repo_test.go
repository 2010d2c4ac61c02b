package packages

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/kolla-build/kolla-build/internal/httpget"
	"github.com/kolla-build/kolla-build/internal/standin"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

func TestRepositories(t *testing.T) {
	c := &Contents{Files: map[string]string{
		"etc/apt/sources.list": "# comment\ndeb http://user:secret@a/debian/ trixie main contrib # more\ndeb-src http://a/debian trixie main\n" +
			"deb [arch=arm64 signed-by=/k] http://b/x y z\ndeb [ trusted=yes arch=amd64,arm64 ] http://c/flat ./\ndeb file:/srv/debs ./\n",
		"etc/apt/sources.list.d/u.sources": "Types: deb deb-src\nURIs: http://d/ubuntu http://e/ubuntu\nSuites: noble\n noble-updates\nComponents: main\nSigned-By:\n -----BEGIN PGP-----\n .\n x: y\n\nTypes: deb\nEnabled: no\nURIs: http://f\nSuites: s\n",
		"etc/apt/sources.list.d/readme":    "deb http://not/this trixie main\n",
		"etc/os-release":                   "ID=rocky\nVERSION_ID=\"10.1\"\n",
		"etc/dnf/vars/contentdir":          "pub/rocky\n",
		"etc/yum.repos.d/rocky.repo": "[baseos]\nname=x\nmirrorlist=https://m/?arch=$basearch&repo=BaseOS-$releasever$rltype\n#baseurl=http://x/\nenabled=1\n" +
			"[crb]\nbaseurl=http://r/$contentdir/${releasever}/CRB,\n  http://s/$contentdir/\nenabled=0\npriority=10\nexcludepkgs=a* b\n",
	}}
	var got []string
	for _, r := range c.Repositories("amd64") {
		got = append(got, fmt.Sprintf("%v %v %v %v off=%v %d %v", r, r.Components, r.Arch, r.URLs,
			r.Disabled, r.Priority, r.Exclude))
	}
	want := []string{
		"http://***@a/debian trixie [main contrib] amd64 [http://user:secret@a/debian] off=false 0 []",
		"http://c/flat ./ [] amd64 [http://c/flat] off=false 0 []",
		"http://d/ubuntu noble [main] amd64 [http://d/ubuntu] off=false 0 []",
		"http://d/ubuntu noble-updates [main] amd64 [http://d/ubuntu] off=false 0 []",
		"http://e/ubuntu noble [main] amd64 [http://e/ubuntu] off=false 0 []",
		"http://e/ubuntu noble-updates [main] amd64 [http://e/ubuntu] off=false 0 []",
		"https://m/?arch=x86_64&repo=BaseOS-10$rltype [] x86_64 [] off=false 99 []",
		"http://r/pub/rocky/10/CRB [] x86_64 [http://r/pub/rocky/10/CRB http://s/pub/rocky] off=true 10 [a* b]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// aptWorld is a repository of several suites and an apt that is configured for it.
type aptWorld struct {
	t      *testing.T
	dir    string
	server *httptest.Server
	asked  []string
	files  map[string]string // configuration, as an image has it
}

func newAptWorld(t *testing.T) *aptWorld {
	w := &aptWorld{t: t, dir: t.TempDir(), files: map[string]string{}}
	fs := http.FileServer(http.Dir(filepath.Join(w.dir, "repo")))
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked = append(w.asked, r.URL.Path)
		fs.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.server.Close)
	return w
}

func (w *aptWorld) put(name string, data []byte) {
	w.t.Helper()
	file := filepath.Join(w.dir, "repo", name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// suite writes a suite whose packages are "name=version", in a compression.
func (w *aptWorld) suite(name, ext, more string, packages ...string) {
	w.t.Helper()
	var list bytes.Buffer
	for _, p := range packages {
		n, v, _ := strings.Cut(p, "=")
		fmt.Fprintf(&list, "Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: nobody\nFilename: pool/%s\nSize: "+
			"1\nSHA256: %064d\nDescription: x\n\n", n, v, n, 0)
	}
	data := w.compress(ext, list.Bytes())
	file := "main/binary-amd64/Packages" + ext
	w.put("dists/"+name+"/"+file, data)
	w.put("dists/"+name+"/Release", fmt.Appendf(nil, "Origin: Test\nLabel: Test\nSuite: %s\nCodename: %s\nDate: Thu, 02 "+
		"Jan 2025 03:04:05 UTC\nArchitectures: amd64\nComponents: main\n%sSHA256:\n %s %d %s\n %s %d main/binary-amd64/Packages\n",
		name, name, more, hexSum(data), len(data), file, hexSum(list.Bytes()), list.Len()))
}

func (w *aptWorld) compress(ext string, data []byte) []byte {
	switch ext {
	case "":
		return data
	case ".zst":
		z, err := zstd.NewWriter(nil)
		if err != nil {
			w.t.Fatal(err)
		}
		return z.EncodeAll(data, nil)
	}
	program := map[string]string{".gz": "gzip", ".xz": "xz", ".bz2": "bzip2"}[ext]
	cmd := exec.Command(testenv.Program(w.t, program, program), "-c")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// candidates returns the candidates of apt.
func (w *aptWorld) candidates(names ...string) map[string]string {
	w.t.Helper()
	root := w.t.TempDir()
	for _, d := range []string{"etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/apt/apt.conf.d",
		"var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	for name, text := range w.files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		w.t.Fatal(err)
	}
	run := func(args ...string) string {
		cmd := exec.Command(args[0], append([]string{"-o", "Dir=" + root, "-o",
			"Dir::State::status=" + root + "/var/lib/dpkg/status", "-o", "APT::Architecture=amd64", "-o",
			"APT::Architectures=amd64",
			"-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"}, args[1:]...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C", "APT_CONFIG=/dev/null", "http_proxy=", "no_proxy=*")
		out, err := cmd.CombinedOutput()
		if err != nil {
			w.t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("apt-get", "update")
	out := map[string]string{}
	name := ""
	for line := range strings.Lines(run(append([]string{"apt-cache", "policy"}, names...)...)) {
		line = strings.TrimRight(line, "\n")
		if n, ok := strings.CutSuffix(line, ":"); ok && !strings.HasPrefix(line, " ") {
			name = n
		} else if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Candidate: "); ok && v != "(none)" {
			out[name] = v
		}
	}
	return out
}

func (w *aptWorld) policy(c *Client) (*Policy, error) {
	contents := &Contents{Files: w.files}
	var sources []Source
	for _, r := range contents.Repositories("amd64") {
		ix, err := c.Index(w.t.Context(), r)
		if err != nil {
			return nil, err
		}
		sources = append(sources, Source{r, ix})
	}
	return NewPolicy(w.t.Context(), contents, sources)
}

func TestCandidatesAsApt(t *testing.T) {
	testenv.Program(t, "apt-cache", "apt")
	w := newAptWorld(t)
	w.suite("stable", ".xz", "", "plain=1", "newer=1:1", "pinned=1", "pinned=2~rc1", "held=5",
		"spec-a=1", "spec-b=1", "only=1")
	w.suite("updates", ".gz", "", "newer=2", "plain=1.0", "pinned=3", "held=6", "spec-a=2", "spec-b=2")
	w.suite("backports", ".zst", "NotAutomatic: yes\nButAutomaticUpgrades: yes\n", "plain=9",
		"backported=1", "spec-a=3", "spec-b=3")
	w.suite("experimental", ".bz2", "NotAutomatic: yes\n", "backported=2", "exp=1")
	w.suite("banned", "", "", "only=2", "banned=1")
	u := w.server.URL
	w.files = map[string]string{
		"etc/apt/sources.list":                fmt.Sprintf("deb [trusted=yes] %[1]s stable main\ndeb [trusted=yes] %[1]s updates main\n", u),
		"etc/apt/sources.list.d/more.sources": fmt.Sprintf("Types: deb\nURIs: %s/\nSuites: backports experimental banned\nComponents: main\nTrusted: yes\n", u),
		"etc/apt/preferences":                 "Package: pinned\nPin: version 2*\nPin-Priority: 1001\n\nExplanation: x\nPackage: *\nPin: release a=banned\nPin-Priority: -10\n",
		"etc/apt/preferences.d/spec.pref":     "Package: spec-*\nPin: release n=backports, o=Test\nPin-Priority: 600\n\nPackage: held\nPin: release stable\nPin-Priority: 700\n",
		"etc/apt/preferences.d/origin":        "Package: spec-b\nPin: origin \"127.0.0.1\"\nPin-Priority: 650\n",
		"etc/apt/preferences.d/not.this":      "Package: plain\nPin: version 9\nPin-Priority: 1001\n",
	}
	names := []string{"plain", "newer", "pinned", "held", "spec-a", "spec-b", "only", "backported",
		"exp", "banned", "absent"}
	want := w.candidates(names...)
	p, err := w.policy(&Client{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if got := p.Candidate(Package{Type: Deb, Name: n}); got != want[n] {
			t.Errorf("%s: %q, apt says %q", n, got, want[n])
		}
	}
	if len(want) < 8 {
		t.Errorf("apt has only %v", want)
	}
}

// TestIndexIsFetchedOnce checks that an unchanged index is not fetched again, and changes are
// noticed.
func TestIndexIsFetchedOnce(t *testing.T) {
	w := newAptWorld(t)
	w.suite("s", ".gz", "", "a=1")
	w.files["etc/apt/sources.list"] = "deb " + w.server.URL + " s main\n"
	dir := t.TempDir()
	candidate := func() string {
		w.asked = nil
		p, err := w.policy(&Client{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return p.Candidate(Package{Type: Deb, Name: "a"})
	}
	if got := candidate(); got != "1" || len(w.asked) != 3 {
		t.Errorf("candidate %q, asked for %q", got, w.asked)
	}
	if got := candidate(); got != "1" || len(w.asked) != 2 {
		t.Errorf("the second time: candidate %q, asked for %q", got, w.asked)
	}
	w.suite("s", ".gz", "", "a=2", "b=1")
	// The server compares the times of files in seconds.
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(filepath.Join(w.dir, "repo/dists/s/Release"), later, later); err != nil {
		t.Fatal(err)
	}
	if got := candidate(); got != "2" {
		t.Errorf("after a change: candidate %q, asked for %q", got, w.asked)
	}

	// A list with another digest than in the index is refused.
	w.suite("s", ".gz", "", "a=3")
	w.put("dists/s/main/binary-amd64/Packages.gz", []byte("other"))
	if _, err := w.policy(&Client{}); err == nil || !strings.Contains(err.Error(), "a mirror is out of date") {
		t.Errorf("of a wrong list: %v", err)
	}
	// A server may lack some of the compressions in its index.
	w.suite("s", ".gz", "", "a=4")
	if err := os.Remove(filepath.Join(w.dir, "repo/dists/s/main/binary-amd64/Packages.gz")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.policy(&Client{}); err == nil || !strings.Contains(err.Error(), "main/binary-amd64/Packages.gz") ||
		!errors.Is(err, httpget.ErrNotFound) {
		t.Errorf("of a missing list: %v", err)
	}
	w.put("dists/s/main/binary-amd64/Packages", []byte("Package: a\nVersion: 4\nArchitecture: all\nMaintainer: "+
		"nobody\nFilename: pool/a\nSize: 1\nSHA256: "+strings.Repeat("0", 64)+"\nDescription: x\n\n"))
	if p, err := w.policy(&Client{}); err != nil || p.Candidate(Package{Type: Deb, Name: "a"}) != "4" {
		t.Errorf("of an uncompressed list: %v", err)
	}
	w.server.Close()
	var re *RepositoryError
	if _, err := w.policy(&Client{CacheDir: dir}); !errors.As(err, &re) ||
		!strings.Contains(re.Error(), "connection refused") {
		t.Errorf("of a stopped server: %v", err)
	}
}

// TestCandidatesAsDnf compares the candidates with those of dnf.
func TestCandidatesAsDnf(t *testing.T) {
	testenv.Slow(t)
	dnf := testenv.Program(t, "dnf", "dnf")
	testenv.Program(t, "rpmbuild", "rpm")
	testenv.Program(t, "createrepo_c", "createrepo-c")
	dir := t.TempDir()
	for name, list := range map[string][]standin.RPM{
		"one": {{Name: "both"}, {Name: "alone"}, {Name: "better"}, {Name: "excluded"}},
		"two": {{Name: "both", Version: "100-1"}, {Name: "off"}},
		"top": {{Name: "better", Version: "1-1"}},
		"off": {{Name: "off", Version: "101-2"}, {Name: "hidden"}},
	} {
		if err := standin.WriteRPMs(filepath.Join(dir, name), list...); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	repo := fmt.Sprintf("[one]\nname=one\nbaseurl=%[1]s/one/\nexcludepkgs=excl*\n[two]\nname=two\nbaseurl=%[1]s/two\n[top]\nname=top\nbaseurl=%[1]s/top\npriority=5\n[off]\nname=off\nbaseurl=%[1]s/off\nenabled=0\n", server.URL)
	repos := filepath.Join(dir, "repos")
	if err := os.MkdirAll(repos, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repos, "x.repo"), []byte(repo), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dnf, "--setopt=reposdir="+repos, "--setopt=cachedir="+filepath.Join(dir, "cache"),
		"--setopt=plugins=0", "--installroot="+filepath.Join(dir, "root"),
		"--releasever=10", "--forcearch=x86_64", "--setopt=strict=0", "--nogpgcheck", "--assumeno", "install", "both",
		"alone", "better", "excluded")
	cmd.Env = append(os.Environ(), "http_proxy=", "no_proxy=*", "LC_ALL=C")
	out, _ := cmd.CombinedOutput() // --assumeno makes it end with 1
	want := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) >= 4 && f[1] == "noarch" {
			want[f[0]] = f[2]
		}
	}
	if len(want) != 3 {
		t.Fatalf("dnf would install %v:\n%s", want, out)
	}
	c := &Contents{Files: map[string]string{"etc/yum.repos.d/x.repo": repo}}
	client := &Client{CacheDir: t.TempDir()}
	var sources []Source
	for _, r := range c.Repositories("amd64") {
		ix, err := client.Index(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, Source{r, ix})
	}
	p, err := NewPolicy(t.Context(), c, sources)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"both", "alone", "better", "excluded"} {
		if got := p.Candidate(Package{RPM, n, "0-1", "noarch"}); got != want[n] {
			t.Errorf("%s: %q, dnf says %q", n, got, want[n])
		}
	}
	// A package from a repository that is disabled again.
	if got := p.Candidate(Package{RPM, "off", "101-1", "noarch"}); got != "101-2" {
		t.Errorf("off: %q", got)
	}
	if got := p.Candidate(Package{RPM, "hidden", "1-1", "noarch"}); got != "99-1" {
		t.Errorf("hidden: %q", got)
	}
}

// TestEndlessList reads lists with more versions than any archive has.
func TestEndlessList(t *testing.T) {
	testenv.Slow(t)
	var apt, rpm strings.Builder
	rpm.WriteString("<metadata>")
	for i := range maxVersions + 1 {
		fmt.Fprintf(&apt, "Package: nova\nVersion: %d\nArchitecture: all\n\n", i)
		fmt.Fprintf(&rpm, `<package><name>nova</name><arch>noarch</arch><version ver="%d"/></package>`, i)
	}
	rpm.WriteString("</metadata>")
	for typ, text := range map[string]string{Deb: apt.String(), RPM: rpm.String()} {
		err := Repository{Type: typ, Arch: "amd64"}.read("list", []byte(text), map[string][]string{})
		if err == nil || !strings.Contains(err.Error(), "versions of nova") {
			t.Errorf("%s: %v", typ, err)
		}
	}
	many := make(map[string][]string, maxPackages)
	for i := range maxPackages {
		many[fmt.Sprint(i)] = nil
	}
	if addVersion(many, "1", "1") != nil || addVersion(many, "one-more", "1") == nil {
		t.Error("the number of packages has no limit")
	}
}

// TestLargeFields reads files whose size is in one field: the time must be linear,
// and text without an end is refused.
func TestLargeFields(t *testing.T) {
	c := &Contents{Files: map[string]string{"etc/yum.repos.d/x.repo": "[x]\nbaseurl=http://h/" + strings.Repeat("\n x",
		300_000)}}
	if got := c.Repositories("amd64"); len(got) != 1 || len(got[0].URLs) != 300_001 {
		t.Errorf("%d repositories", len(got))
	}
	err := readPrimary(io.MultiReader(strings.NewReader("<metadata>"), &repeatReader{}), "x86_64", map[string][]string{})
	if err == nil || !strings.Contains(err.Error(), "MiB") {
		t.Errorf("endless text: %v", err)
	}
}

// repeatReader is an endless text.
type repeatReader struct{}

func (*repeatReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// FuzzIndexes reads the files of repositories and images.
func FuzzIndexes(f *testing.F) {
	f.Add([]byte("Package: a\nVersion: 1\nArchitecture: all\n\n"),
		[]byte(`<metadata><package type="rpm"><name>a</name><arch>noarch</arch><version epoch="0" ver="1" rel="1"/></package></metadata>`))
	f.Add([]byte("[a]\nbaseurl=http://x/$y\n z\n"),
		[]byte(`<metalink><files><file><resources><url preference="1">http://x/repodata/repomd.xml</url></resources></file></files></metalink>`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		out := map[string][]string{}
		_ = readPackages(bytes.NewReader(a), "amd64", out)
		_ = readPrimary(bytes.NewReader(b), "x86_64", out)
		_, _ = metalink(b)
		c := &Contents{Files: map[string]string{"etc/apt/sources.list": string(a),
			"etc/apt/sources.list.d/a.sources": string(a), "etc/apt/preferences": string(a),
			"etc/yum.repos.d/a.repo": string(a)}}
		for _, r := range c.Repositories("amd64") {
			_ = r.String()
		}
		for name, versions := range out {
			for _, v := range versions {
				if CompareVersions(Deb, v, v) != 0 || CompareVersions(RPM, v, v) != 0 {
					t.Errorf("%s: %q differs from itself", name, v)
				}
			}
		}
		_ = aptPins(c.Files)
		_ = parsePython(a)
		_, _ = parseDpkg(a)
	})
}
