package disk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

func TestSpace(t *testing.T) {
	total, free := Space(t.TempDir())
	if total <= 0 || free < 0 || free > total {
		t.Errorf("%d bytes, of which %d are free", total, free)
	}
	if total, free := Space(filepath.Join(t.TempDir(), "missing")); total != 0 || free != 0 {
		t.Errorf("a missing directory has %d bytes, of which %d are free", total, free)
	}
}

func TestDefaultMinFree(t *testing.T) {
	for total, want := range map[int64]int64{0: 0, 1000: 50, 1 << 50: 5_000_000_000} {
		if got := DefaultMinFree(total); got != want {
			t.Errorf("of %d bytes %d stay free, want %d", total, got, want)
		}
	}
}

// TestUsageExcludesMounts checks that what is mounted in a directory does not count.
func TestUsageExcludesMounts(t *testing.T) {
	mounted := testenv.Tmpfs(t, "4m")
	if err := os.WriteFile(filepath.Join(mounted, "file"), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := Usage(filepath.Dir(mounted)); got >= 1<<20 {
		t.Errorf("got %d", got)
	}
	if got := Usage(mounted); got < 1<<20 {
		t.Errorf("the mount itself: got %d", got)
	}
}
