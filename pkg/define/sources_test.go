package define

import (
	"archive/tar"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
)

// The sources of an image come from a mirror if their first location cannot be
// reached. Plugins are in the order of their names, without disabled ones.
func TestArchivesOfImage(t *testing.T) {
	var requested []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requested = append(requested, r.URL.Path)
		tw := tar.NewWriter(w)
		body := []byte(r.URL.Path)
		if err := tw.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(body))}); err != nil {
			t.Error(err)
		}
		_, _ = tw.Write(body)
		tw.Close()
	}))
	defer srv.Close()
	conf := "[nova-base-plugin-blazar]\ntype = url\nlocation = http://127.0.0.1:1/gone.tar\nmirrors = http://127.0.0.1:1/no.tar, " +
		srv.URL + "/${openstack_branch}/blazar.tar\n" +
		"[nova-base-plugin-aa]\ntype = url\nlocation = http://127.0.0.1:1/off.tar\nenabled = no\n"
	dir := t.TempDir()
	cfg, err := cli.Load(cli.Input{Dir: dir, SystemFile: filepath.Join(dir, "none"),
		Args: []string{"-b", "debian", "--openstack-release", "2026.1",
			"--data-dir", dir, "--retries", "0", "--tarballs-base", "http://127.0.0.1:1", "--tarballs-mirrors",
			"http://127.0.0.1:1/x," + srv.URL + "/tarballs/",
			"--config-file", put(t, dir, conf)}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := newArchiver(cfg, Options{Console: &console.Console{}})
	if err != nil {
		t.Fatal(err)
	}
	files, err := a.archives(t.Context(), "nova-base", nil, func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	if got := fmt.Sprint(names); got != "[nova-base-archive plugins-archive additions-archive]" {
		t.Errorf("archives %s", got)
	}
	want := "/tarballs/openstack/nova/nova-stable-2026.1.tar.gz /stable-2026.1/blazar.tar"
	if got := strings.Join(requested, " "); got != want {
		t.Errorf("requested %q, want %q", got, want)
	}
}

func put(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "kolla-build.conf")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
