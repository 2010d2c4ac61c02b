package testenv

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const peakMemory = "peak memory in kB: "

// PrintPeakMemory prints the most memory that this process has used, for PeakMemory. What
// the kernel reports of a child that has ended includes the memory of the process that
// started it.
func PrintPeakMemory(tb testing.TB) {
	tb.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	var kB int64
	if _, err := fmt.Sscan(line, &kB); err != nil {
		tb.Fatalf("reading VmHWM: %v", err)
	}
	fmt.Printf("%s%d\n", peakMemory, kB)
}

// PeakMemory returns the bytes that PrintPeakMemory has printed in a child's output.
func PeakMemory(tb testing.TB, output string) int64 {
	tb.Helper()
	_, line, _ := strings.Cut(output, peakMemory)
	var kB int64
	if _, err := fmt.Sscan(line, &kB); err != nil {
		tb.Fatalf("no peak memory in the output: %v\n%s", err, output)
	}
	return kB << 10
}
