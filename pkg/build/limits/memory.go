package limits

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// availableMemory returns the bytes of memory that programs can use without swapping:
// the kernel's estimate, or the rest of this control group's limit if that is less. 0
// means unknown.
func availableMemory() int64 {
	available := field("/proc/meminfo", "MemAvailable:") * 1024
	if free := groupMemory("/sys/fs/cgroup"); free > 0 && (available == 0 || free < available) {
		available = free
	}
	return available
}

// groupMemory returns the bytes that are left of a control group's memory limit,
// 0 if it has none. Inactive file cache counts as left: builds fill memory with
// it, and the kernel reclaims it first.
func groupMemory(dir string) int64 {
	limit, used := number(filepath.Join(dir, "memory.max")), number(filepath.Join(dir, "memory.current"))
	if limit <= 0 || used <= 0 {
		return 0
	}
	return max(1, limit-used+field(filepath.Join(dir, "memory.stat"), "inactive_file"))
}

// field returns the number after a name at the start of a line, 0 if there is no
// such line.
func field(file, name string) int64 {
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == name {
			n, _ := strconv.ParseInt(words[1], 10, 64)
			return n
		}
	}
	return 0
}

// number returns the number in a file, 0 if its content is not a number.
func number(file string) int64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return n
}
