// Package testenv gives tests the real things that they need: a buildkitd, a
// tiny base image, Debian's programs. What is missing skips a test with the
// reason, or fails it when KOLLA_TEST_REQUIRE is set, as `make test` does for
// root: there a skipped test would be a hole.
package testenv

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Missing skips the test, or fails it where everything is required.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("KOLLA_TEST_REQUIRE") != "" {
		t.Fatalf("KOLLA_TEST_REQUIRE is set, and %s", what)
	}
	t.Skip(what)
}

// Root skips a test that cannot do without root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "this test needs root")
	}
}

// Program returns the path of a program from the Debian package named.
func Program(t testing.TB, name, pkg string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		Missing(t, name+" is not installed: apt-get install "+pkg)
	}
	return p
}

var buildkitd = sync.OnceValues(func() (string, error) {
	if p := os.Getenv("KOLLA_TEST_BUILDKITD"); p != "" {
		return p, nil
	}
	// go.mod pins it as a tool; -n builds it into the build cache and names it.
	out, err := exec.Command("go", "tool", "-n", "buildkitd").Output()
	return strings.TrimSpace(string(out)), err
})

// Buildkitd returns the path of the buildkitd that go.mod pins; the test needs
// root and runc to start it.
func Buildkitd(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a builder")
	}
	Root(t)
	Program(t, "runc", "runc")
	p, err := buildkitd()
	if err != nil {
		Missing(t, "buildkitd cannot be built: "+err.Error())
	}
	return p
}

// RepoRoot returns the directory of go.mod.
func RepoRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the working directory")
	return ""
}

// BusyboxCreated is the created time of Busybox images.
var BusyboxCreated = time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)

// Busybox returns a one-layer image made of Debian's static busybox: a base on
// which RUN works, of a megabyte, that needs no network. extra files lie in
// it beside, by path without the leading slash.
func Busybox(t testing.TB, extra map[string]string) v1.Image {
	t.Helper()
	bin, err := os.ReadFile(Program(t, "busybox", "busybox-static"))
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	put := func(h *tar.Header, data []byte) {
		h.ModTime, h.Size = BusyboxCreated, int64(len(data))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin/", "etc/", "tmp/", "proc/", "sys/", "dev/", "root/", "usr/bin/", "usr/local/bin/", "var/"} {
		put(&tar.Header{Name: d, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	put(&tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, bin)
	for _, l := range []string{"sh", "cat", "echo", "ls", "true", "false", "sleep", "mkdir", "rm", "cp", "touch", "chmod", "grep", "id", "dd", "date", "wget", "tar", "test", "env", "seq", "stat"} {
		put(&tar.Header{Name: "bin/" + l, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, nil)
	}
	put(&tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\n"))
	put(&tar.Header{Name: "etc/group", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:\n"))
	for name, data := range extra {
		put(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, []byte(data))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{Layer: layer, MediaType: types.OCILayer,
		History: v1.History{Created: v1.Time{Time: BusyboxCreated}, CreatedBy: "busybox"}})
	if err != nil {
		t.Fatal(err)
	}
	conf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	conf = conf.DeepCopy()
	conf.OS, conf.Architecture = "linux", runtime.GOARCH
	conf.Created = v1.Time{Time: BusyboxCreated}
	conf.Config.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	img, err = mutate.ConfigFile(img, conf)
	if err != nil {
		t.Fatal(err)
	}
	return img
}
