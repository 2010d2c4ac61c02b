package procmem

import (
	"os"
	"testing"
)

func TestPeak(t *testing.T) {
	before, err := Peak(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	used := make([]byte, 64<<20)
	for i := 0; i < len(used); i += os.Getpagesize() {
		used[i] = 1
	}
	after, err := Peak(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// The kernel adds up counters of processors, which are a few pages late.
	if after < before-1<<20 || after < 64<<20 {
		t.Errorf("%d bytes, and %d with 64 MiB more", before, after)
	}
	if used[0] != 1 {
		t.Error("unreachable: keeps the memory in use")
	}
	if _, err := Peak(-1); err == nil {
		t.Error("a process that does not exist has memory")
	}
}
