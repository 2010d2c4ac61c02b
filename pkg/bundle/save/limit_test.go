package save

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/usererr"
)

const limitHelper = "KOLLA_TEST_LARGEST_FILE"

// TestLargestFileHelper saves a set on a system that cannot have a file of its size.
func TestLargestFileHelper(t *testing.T) {
	if os.Getenv(limitHelper) == "" {
		t.Skip("started by TestSaveBeyondLargestFile")
	}
	s, entries := storetest.FillSize(t, 1_000_000)
	signal.Ignore(syscall.SIGXFSZ)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 2_000_000, Max: 2_000_000}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "set.tar")
	_, err := Bundle(t.Context(), s, entries, path, Options{})
	if err == nil || !strings.Contains(err.Error(), "file too large") || !strings.Contains(usererr.Hint(err), "--split") {
		t.Errorf("%v (%s)", err, usererr.Hint(err))
	}
	if exists(path) {
		t.Error("the incomplete file has its name")
	}
	if sum, err := Bundle(t.Context(), s, entries, path, Options{Split: 500_000}); err != nil || len(sum.Parts) < 8 {
		t.Errorf("%d parts (%v)", len(sum.Parts), err)
	}
}

// A set that does not fit into a file, such as one of 4 GiB or more on FAT, fits into parts.
func TestSaveBeyondLargestFile(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLargestFileHelper$", "-test.v")
	cmd.Env = append(os.Environ(), limitHelper+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
}
