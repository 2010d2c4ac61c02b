// Package disk reports the size and the free space of file systems. It must not
// know what is stored on them.
package disk

import "golang.org/x/sys/unix"

// Space returns the size of the file system that holds a directory and what is
// free of it for this user, in bytes; zeros if neither can be determined.
func Space(dir string) (total, free int64) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize
}

// DefaultMinFree returns how much of a file system of the given size should stay
// free, unless the user says otherwise: a twentieth, and 5 GB at most.
func DefaultMinFree(total int64) int64 { return min(total/20, 5_000_000_000) }
