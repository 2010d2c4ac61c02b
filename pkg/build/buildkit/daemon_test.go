package buildkit

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

const unprivilegedHelper = "KOLLA_TEST_UNPRIVILEGED"

// A container without the capability to mount cannot start a builder: the hint says what
// it needs.
func TestStartWithoutMounting(t *testing.T) {
	if os.Getenv(unprivilegedHelper) != "" {
		_, err := startDaemon(t.Context(), Options{DaemonPath: "/bin/true", StateDir: t.TempDir()})
		var failed *DaemonError
		if !errors.Is(err, syscall.EPERM) || !errors.As(err, &failed) || !strings.Contains(failed.Hint(), "--privileged") {
			t.Errorf("%v (%+v)", err, failed)
		}
		return
	}
	testenv.Root(t)
	testenv.Program(t, "runc", "runc")
	setpriv := testenv.Program(t, "setpriv", "util-linux")
	cmd := exec.CommandContext(t.Context(), setpriv, "--bounding-set=-sys_admin", "--inh-caps=-sys_admin",
		os.Args[0], "-test.run=^TestStartWithoutMounting$", "-test.v")
	cmd.Env = append(os.Environ(), unprivilegedHelper+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestStartError(t *testing.T) {
	program := "/bin/true"
	data := t.TempDir() + "/data"
	if err := os.WriteFile(data, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		bin    string
		err    error
		mounts bool
	}{
		{program, syscall.EPERM, true},
		{program, syscall.EACCES, true}, // AppArmor
		{data, syscall.EACCES, false},   // not executable
		{program, syscall.ENOEXEC, false},
	} {
		if got := startError(c.bin, c.err); !errors.Is(got, c.err) ||
			strings.Contains(got.Hint(), "--privileged") != c.mounts {
			t.Errorf("%s, %v: %v (hint %q)", c.bin, c.err, got, got.Hint())
		}
	}
}
