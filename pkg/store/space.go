package store

import (
	"io/fs"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/disk"
)

// CheckFree returns an error if the file system of a directory is read-only or has too little
// free space. Free space that is not known is enough, and nothing is checked if nothing is required.
func CheckFree(dir string, required int64) error {
	if required == 0 {
		return nil
	}
	if disk.ReadOnly(dir) {
		return &fs.PathError{Op: "write", Path: dir, Err: syscall.EROFS}
	}
	if total, free := disk.Space(dir); total > 0 && free >= 0 && free < required {
		return &FullError{Path: dir, Need: required, Free: uint64(free)}
	}
	return nil
}
