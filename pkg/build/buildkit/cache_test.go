package buildkit

import (
	"strings"
	"testing"
)

// TestDaemonConfig checks that buildkitd is started with the limits of the cache, and
// that the defaults depend on the disk.
func TestDaemonConfig(t *testing.T) {
	dir := t.TempDir()
	got := daemonConfig(dir, CacheLimits{MaxUsed: 1_000_000_000, MinFree: 2_000_000_000})
	for _, want := range []string{`maxUsedSpace = "1000000000"`, `reservedSpace = "100000000"`,
		`minFreeSpace = "2000000000"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
	if got := daemonConfig(dir, CacheLimits{}); strings.Contains(got, `"0"`) {
		t.Errorf("a limit of 0 in\n%s", got)
	}
}
