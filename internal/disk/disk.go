// Package disk reports the size and the free space of file systems, and the disk usage
// of directories. It must not know what is stored in them.
package disk

import (
	"io/fs"
	"math"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Space returns the size of the file system of a directory and the space that is free
// for this user, in bytes; zeros if neither can be determined.
func Space(dir string) (total, free int64) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize
}

// ReadOnly reports whether the file system of a directory is mounted read-only.
func ReadOnly(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Flags&unix.ST_RDONLY != 0
}

// LargestFile returns the size in bytes of the largest file that the file system of a
// directory can hold. Only the limit of FAT, which is smaller than many media, is known.
func LargestFile(dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil && st.Type == unix.MSDOS_SUPER_MAGIC {
		return math.MaxUint32
	}
	return math.MaxInt64
}

// Usage returns the bytes that the files in a directory occupy. Files with several hard
// links count once; what cannot be read, or is mounted in the directory, does not count.
func Usage(dir string) int64 {
	linked := map[uint64]bool{} // by inode
	var bytes int64
	var device uint64 // of dir
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		if path == dir {
			device = st.Dev
		} else if st.Dev != device {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !e.IsDir() && st.Nlink > 1 {
			if linked[st.Ino] {
				return nil
			}
			linked[st.Ino] = true
		}
		bytes += st.Blocks * 512
		return nil
	})
	return bytes
}

// DefaultMinFree returns how much of a file system of the given size should stay
// free, unless the user says otherwise: a twentieth, and 5 GB at most.
func DefaultMinFree(total int64) int64 { return min(total/20, 5_000_000_000) }
