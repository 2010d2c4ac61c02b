package stepproxy

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// managed records what a real package manager fetches from a server, stops the server, and
// has the package manager do the same from the records alone.
type managed struct {
	t      *testing.T
	ca     string
	origin string
	player *Player
}

// install runs a package manager twice. command returns its arguments and further
// environment for a directory to install to; both directories then have the same file.
func install(t *testing.T, server *httptest.Server, command func(m *managed, to string) *exec.Cmd, file string) {
	t.Helper()
	ca, err := OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := &managed{t: t, ca: filepath.Join(t.TempDir(), "ca.pem"), origin: server.URL}
	if err := os.WriteFile(m.ca, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	client.Transport.(*http.Transport).DisableCompression = true
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	dir := t.TempDir()
	recorder, err := NewRecorder(t.Context(), dir, client)
	if err != nil {
		t.Fatal(err)
	}
	recorded := m.run(ca, recorder, command, file)
	server.Close()
	records, missed := recorder.Records()
	if len(missed) > 0 || len(records) == 0 {
		t.Fatalf("%d records, not captured: %v", len(records), missed)
	}
	byURL := map[string]Record{}
	for _, r := range records {
		byURL[r.URL] = r
	}
	m.player = NewPlayer(func(u string) (Record, bool) { r, ok := byURL[u]; return r, ok },
		func(r Record) (io.ReadCloser, error) { return os.Open(filepath.Join(dir, r.Digest.Encoded())) })
	if replayed := m.run(ca, m.player, command, file); replayed != recorded {
		t.Errorf("%s has %q from the records, %q from the server", file, replayed, recorded)
	}
	if refused := m.player.Refused(); len(refused) > 0 {
		t.Errorf("not among %d records: %v", len(records), refused)
	}
}

// run runs the package manager with a proxy that answers from source, and returns the
// content of the file that it installs.
func (m *managed) run(ca *CA, source Source, command func(m *managed, to string) *exec.Cmd, file string) string {
	m.t.Helper()
	s := New(ca, source)
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	s.Serve(l, "image-a")
	to := m.t.TempDir()
	cmd := command(m, to)
	proxy := "http://" + l.Addr().String()
	cmd.Env = append([]string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + m.t.TempDir(), "http_proxy=" + proxy,
		"https_proxy=" + proxy, "no_proxy=", "PIP_CERT=" + m.ca}, cmd.Env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	b, err := os.ReadFile(filepath.Join(to, file))
	if err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
	return string(b)
}

// wheel returns a Python package with one module.
func wheel(t *testing.T, name, version string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	info := fmt.Sprintf("%s-%s.dist-info/", name, version)
	for _, f := range [][2]string{
		{name + ".py", "answer = 42\n"},
		{info + "METADATA", fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n", name, version)},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", fmt.Sprintf("%s.py,,\n%sMETADATA,,\n%sWHEEL,,\n%sRECORD,,\n", name, info, info, info)},
	} {
		w, err := z.Create(f[0])
		if err == nil {
			_, err = io.WriteString(w, f[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPipFromRecords installs a wheel with pip from an HTTPS index.
func TestPipFromRecords(t *testing.T) {
	testenv.Slow(t)
	testenv.Program(t, "pip3", "python3-pip")
	const file = "tinypkg-1.0-py3-none-any.whl"
	content := wheel(t, "tinypkg", "1.0")
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/simple/tinypkg/":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, `<!DOCTYPE html><html><body><a href="../../files/%s">%[1]s</a></body></html>`, file)
		case "/files/" + file:
			_, _ = w.Write(content)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	install(t, server, func(m *managed, to string) *exec.Cmd {
		return exec.Command("/usr/bin/python3", "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check",
			"--index-url", m.origin+"/simple", "--target", to, "tinypkg")
	}, "tinypkg.py")
}

// repository serves an rpm repository with one package.
func repository(t *testing.T, serve func(http.Handler) *httptest.Server) *httptest.Server {
	t.Helper()
	rpmbuild := testenv.Program(t, "rpmbuild", "rpm")
	createrepo := testenv.Program(t, "createrepo_c", "createrepo-c")
	testenv.Program(t, "dnf", "dnf")
	dir := t.TempDir()
	spec := filepath.Join(dir, "tiny.spec")
	text := "Name: tiny\nVersion: 1\nRelease: 1\nSummary: tiny\nLicense: none\nBuildArch: " +
		"noarch\n%description\ntiny\n%install\nmkdir -p %{buildroot}/opt\necho 42 >%{buildroot}/opt/tiny\n%files\n/opt/tiny\n"
	if err := os.WriteFile(spec, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command(rpmbuild, "-bb", "--quiet", "--define", "_topdir "+dir+"/build", "--define",
			"_rpmdir "+dir+"/repo", spec),
		exec.Command(createrepo, "--quiet", dir+"/repo"),
	} {
		cmd.Env = append(os.Environ(), "HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
		}
	}
	return serve(http.FileServer(http.Dir(dir + "/repo")))
}

func dnf(m *managed, to string) *exec.Cmd {
	// rpm needs no database of this host, and the package no scripts.
	return exec.Command("dnf", "--assumeyes", "--quiet", "--installroot", to, "--releasever", "1", "--disablerepo=*",
		"--repofrompath=tiny,"+m.origin, "--enablerepo=tiny",
		"--nogpgcheck", "--setopt=reposdir=/nonexistent", "--setopt=retries=1", "--setopt=cachedir="+to+"/cache",
		"--setopt=tiny.timeout=20", "install", "tiny")
}

// TestDnfFromRecords installs a package with dnf from an HTTP repository.
func TestDnfFromRecords(t *testing.T) {
	testenv.Slow(t)
	testenv.Root(t)
	server := repository(t, httptest.NewServer)
	defer server.Close()
	install(t, server, dnf, "opt/tiny")
}

// TestDnfOverHTTPS checks that a repository which dnf reaches over HTTPS is refused with the
// remedy: dnf does not trust the proxy.
func TestDnfOverHTTPS(t *testing.T) {
	testenv.Slow(t)
	testenv.Root(t)
	server := repository(t, httptest.NewTLSServer)
	defer server.Close()
	ca, err := OpenCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	recorder, err := NewRecorder(t.Context(), t.TempDir(), server.Client())
	if err != nil {
		t.Fatal(err)
	}
	s := New(ca, recorder)
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(l, "image-a")
	cmd := dnf(&managed{origin: server.URL}, t.TempDir())
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + t.TempDir(),
		"https_proxy=http://" + l.Addr().String(), "no_proxy="}
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Fatalf("dnf trusts the proxy: %s", out)
	}
	_, missed := recorder.Records()
	if len(missed) == 0 || !strings.HasPrefix(missed[0].Request, "CONNECT ") ||
		!strings.Contains(missed[0].Reason, "http://") {
		t.Errorf("not captured: %v, want CONNECT and the remedy", missed)
	}
}
