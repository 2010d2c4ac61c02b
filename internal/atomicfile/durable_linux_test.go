package atomicfile

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
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

// TestMkdirAllIsDurable checks that each directory in which MkdirAll makes another one is
// opened to be synced after that.
func TestMkdirAllIsDurable(t *testing.T) {
	dir := t.TempDir()
	events := watch(t, dir)
	if err := MkdirAll(filepath.Join(dir, "a/b/c"), 0o700); err != nil {
		t.Fatal(err)
	}
	made, synced := false, false
	for _, mask := range events() {
		made = made || mask&unix.IN_CREATE != 0
		synced = synced || made && mask&(unix.IN_OPEN|unix.IN_ISDIR) == unix.IN_OPEN|unix.IN_ISDIR
	}
	if !made || !synced {
		t.Errorf("a directory was made: %v; its parent was opened after that: %v", made, synced)
	}
	if st, err := os.Stat(filepath.Join(dir, "a/b/c")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st, err)
	}
	// What exists needs no sync.
	events = watch(t, dir)
	if err := MkdirAll(dir, 0o755); err != nil || len(events()) > 0 {
		t.Errorf("an existing directory was synced (%v)", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(filepath.Join(file, "a"), 0o755); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
}

// TestChmodThatIsNotPermitted checks that a refused mode is an error, except on file systems
// without modes: a private file must not stay readable by all.
func TestChmodThatIsNotPermitted(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if os.Geteuid() != 0 {
		if f, err = os.Open("/etc/passwd"); err != nil {
			t.Skip(err)
		}
		defer f.Close()
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		if os.Geteuid() == 0 {
			if _, err := unix.SetfsuidRetUid(65534); err != nil {
				result <- err
				return
			}
		}
		result <- Chmod(f, 0o600)
	}()
	if err := <-result; !errors.Is(err, unix.EPERM) {
		t.Errorf("%v, want an error", err)
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
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_OPEN|unix.IN_MOVED_TO|unix.IN_CREATE); err != nil {
		t.Fatal(err)
	}
	return func() []uint32 {
		buf := make([]byte, 64<<10)
		n, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
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
