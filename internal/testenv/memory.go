package testenv

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/procmem"
)

const peakMemory = "peak memory in bytes: "

// PrintPeakMemory prints the peak memory of this process, for PeakMemory.
func PrintPeakMemory(tb testing.TB) {
	tb.Helper()
	peak, err := procmem.Peak(os.Getpid())
	if err != nil {
		tb.Fatal(err)
	}
	fmt.Printf("%s%d\n", peakMemory, peak)
}

// PeakMemory returns the bytes that PrintPeakMemory has printed in a child's output.
func PeakMemory(tb testing.TB, output string) int64 {
	tb.Helper()
	_, line, _ := strings.Cut(output, peakMemory)
	var peak int64
	if _, err := fmt.Sscan(line, &peak); err != nil {
		tb.Fatalf("no peak memory in the output: %v\n%s", err, output)
	}
	return peak
}
