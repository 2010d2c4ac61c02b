// Package testenv provides real components to tests: a buildkitd, a tiny base image,
// Debian's programs, engines, a terminal. If something is missing, the test is skipped
// with the reason, or fails if KOLLA_TEST_REQUIRE is set, as in `make test` as root. It
// must not know the packages that are tested.
package testenv

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kolla-build/kolla-build/internal/synthetic"
)

// Missing skips the test, or fails it if everything is required.
func Missing(t testing.TB, requirement string) {
	t.Helper()
	if os.Getenv("KOLLA_TEST_REQUIRE") != "" {
		t.Fatalf("KOLLA_TEST_REQUIRE is set, and %s", requirement)
	}
	t.Skip(requirement)
}

// Root skips a test that needs root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "this test needs root")
	}
}

// Program returns the path of a program of a Debian package.
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
	// It is a tool of go.mod; -n builds it into the build cache and prints its path.
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

// Slow skips a test that takes more than about two seconds if -short is given.
func Slow(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds")
	}
}

// SlowExcept skips a case of a table that takes seconds if -short is given, unless it is one
// of the named cases.
func SlowExcept(t testing.TB, name string, quick ...string) {
	t.Helper()
	if !slices.Contains(quick, name) {
		Slow(t)
	}
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

// Inputs tells Go's test cache that the tests of a package depend on files and directories
// that other programs read. The names are relative to the directory of go.mod.
func Inputs(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		// The cache records what a test opens and examines, and WalkDir does both.
		visit := func(_ string, _ fs.DirEntry, err error) error { return err }
		if err := filepath.WalkDir(filepath.Join(RepoRoot(t), name), visit); err != nil {
			t.Fatal(err)
		}
	}
}

// BusyboxCreated is the creation time of Busybox images.
var BusyboxCreated = synthetic.Created

// Busybox returns an image with one layer of a megabyte, Debian's static busybox, in
// which RUN works. It needs no network. extra files are added to it, by path without
// the leading slash.
func Busybox(t testing.TB, extra map[string]string) v1.Image {
	t.Helper()
	Program(t, "busybox", "busybox-static")
	img, err := synthetic.Base(extra)
	if err != nil {
		t.Fatal(err)
	}
	return img
}
