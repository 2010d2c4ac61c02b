package disk

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// What is written is in the file, wherever it begins.
func TestEarlyWriter(t *testing.T) {
	testenv.Slow(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), earlyBytes/6)
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(content[:1000]); err != nil {
		t.Fatal(err)
	}
	w := NewEarlyWriter(f)
	for rest := content[1000:]; len(rest) > 0; {
		n, err := w.Write(rest[:min(len(rest), 1<<20)])
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes differ from the %d that were written (%v)", len(got), len(content), err)
	}
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = NewEarlyWriter(pipe).Write(content)
		pipe.Close()
	}()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
		t.Errorf("a pipe got %d bytes (%v)", len(got), err)
	}
}

// No system call writes more than MaxWrite.
func TestEarlyWriterSplits(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	runtime.LockOSThread() // whose calls are counted
	defer runtime.UnlockOSThread()
	before := writeCalls(t)
	if _, err := NewEarlyWriter(f).Write(make([]byte, 4*MaxWrite+1)); err != nil {
		t.Fatal(err)
	}
	if n := writeCalls(t) - before; n != 5 {
		t.Errorf("%d calls, want 5", n)
	}
}

// writeCalls returns how many system calls of this thread have written.
func writeCalls(t *testing.T) int {
	t.Helper()
	io, err := os.ReadFile("/proc/thread-self/io")
	if err != nil {
		t.Skip(err) // a kernel that does not count them
	}
	_, rest, _ := strings.Cut(string(io), "syscw: ")
	digits, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A write that fails in the middle reports the bytes before that.
func TestEarlyWriterFails(t *testing.T) {
	var before, limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(unix.SIGXFSZ)
	t.Cleanup(func() { signal.Reset(unix.SIGXFSZ) })
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const fits = MaxWrite + MaxWrite/2
	limit.Cur, limit.Max = fits, before.Max
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	n, err := NewEarlyWriter(f).Write(make([]byte, 4*MaxWrite))
	if restored := unix.Setrlimit(unix.RLIMIT_FSIZE, &before); restored != nil {
		t.Fatal(restored)
	}
	if n != fits || !errors.Is(err, unix.EFBIG) {
		t.Errorf("%d bytes (%v), want %d and the error of the rest", n, err, fits)
	}
}

// The disk begins after every earlyBytes, however small the pieces are and whoever writes them, and
// with Start at once. It gets every byte once.
func TestEarlyWriterStarts(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var ranges [][2]int64
	t.Cleanup(func() { SyncFileRange = unix.SyncFileRange })
	SyncFileRange = func(fd int, offset, n int64, flags int) error {
		if fd != int(f.Fd()) || flags != unix.SYNC_FILE_RANGE_WRITE {
			t.Errorf("file %d, flags %d", fd, flags)
		}
		ranges = append(ranges, [2]int64{offset, offset + n})
		return nil
	}
	w := NewEarlyWriter(f)
	for range 3 {
		if _, err := w.Write(make([]byte, earlyBytes/4)); err != nil {
			t.Fatal(err)
		}
		if w.Wrote(earlyBytes / 2); w.offset-w.started >= earlyBytes {
			t.Errorf("%d bytes are not on the way to the disk", w.offset-w.started)
		}
	}
	const piece = earlyBytes / 4
	w.Wrote(piece)
	w.Start()
	w.Start()
	if want := [][2]int64{{0, 4 * piece}, {4 * piece, 9 * piece}, {9 * piece, 10 * piece}}; !slices.Equal(ranges, want) {
		t.Errorf("ranges %v, want %v", ranges, want)
	}
}
