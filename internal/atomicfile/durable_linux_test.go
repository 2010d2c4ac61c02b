package atomicfile

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDurableNamesAreSynced checks that a durable file's directory is opened to be synced after
// the rename: without that, the new name may be lost in a power failure although its content
// was written.
func TestDurableNamesAreSynced(t *testing.T) {
	for name, c := range map[string]struct {
		write func(path string) error
		want  bool
	}{
		"durable":     {func(path string) error { return WriteFile(path, []byte("x"), Options{Durable: true}) }, true},
		"not durable": {func(path string) error { return WriteFile(path, []byte("x"), Options{}) }, false},
		"Rename": {func(path string) error {
			if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
				return err
			}
			return Rename(path+".new", path)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			events := watch(t, dir)
			if err := c.write(filepath.Join(dir, "file")); err != nil {
				t.Fatal(err)
			}
			renamed, synced := false, false
			for _, mask := range events() {
				if mask&unix.IN_MOVED_TO != 0 {
					renamed, synced = true, false
				}
				synced = synced || mask&(unix.IN_OPEN|unix.IN_ISDIR) == unix.IN_OPEN|unix.IN_ISDIR
			}
			if !renamed || synced != c.want {
				t.Errorf("renamed %v; directory opened after that %v, want %v", renamed, synced, c.want)
			}
		})
	}
}

func TestSyncFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := SyncFileSystem(dir); err != nil {
		t.Error(err)
	}
	if err := SyncFileSystem(filepath.Join(dir, "missing")); !os.IsNotExist(err) {
		t.Errorf("a missing directory: %v", err)
	}
}

// watch watches a directory and returns a function that returns the events since then.
func watch(t *testing.T, dir string) func() []uint32 {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_OPEN|unix.IN_MOVED_TO); err != nil {
		t.Fatal(err)
	}
	return func() []uint32 {
		buf := make([]byte, 64<<10)
		n, err := unix.Read(fd, buf)
		if err != nil {
			t.Fatal(err)
		}
		var masks []uint32
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			size := int(binary.NativeEndian.Uint32(b[12:16]))
			masks = append(masks, binary.NativeEndian.Uint32(b[4:8]))
			b = b[unix.SizeofInotifyEvent+size:]
		}
		return masks
	}
}
