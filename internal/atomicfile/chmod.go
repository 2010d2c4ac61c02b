package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// withoutModes are the types of file systems that may not store the modes of files: those of
// Windows, of virtual machines, and of programs (FUSE).
var withoutModes = []int64{
	unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, 0x5346544e /* ntfs */, 0x7366746e, /* ntfs3 */
	unix.CIFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC,
	unix.FUSE_SUPER_MAGIC, unix.V9FS_MAGIC, 0x786f4256, /* vboxsf */
}

// Chmod sets the mode of a file that was created by this process. File systems without modes,
// such as FAT and network ones with some drivers, keep the mode that they give to every file.
func Chmod(f *os.File, mode fs.FileMode) error {
	err := f.Chmod(mode)
	switch {
	case errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.ENOTSUP):
		return nil
	case errors.Is(err, syscall.EPERM):
		var st unix.Statfs_t
		if unix.Fstatfs(int(f.Fd()), &st) == nil && slices.Contains(withoutModes, st.Type) {
			return nil
		}
	}
	return err
}
