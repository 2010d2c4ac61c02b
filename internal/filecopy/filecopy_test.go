package filecopy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// files returns a file with content and one to copy it to.
func files(t *testing.T, content []byte) (from, to *os.File) {
	t.Helper()
	dir := t.TempDir()
	from, err := os.OpenFile(filepath.Join(dir, "from"), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		_, err = from.Write(content)
	}
	if err == nil {
		to, err = os.Create(filepath.Join(dir, "to"))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { from.Close(); to.Close() })
	return from, to
}

func TestCopy(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), step/4)
	from, to := files(t, content)
	if _, err := to.WriteString("head"); err != nil {
		t.Fatal(err)
	}
	const offset, size = 7, 2*step + 5
	var reported, written int64
	s := NewSection(from, offset, size, func(n int64) { reported += n })
	if err := s.CopyTo(t.Context(), to, 4, func(n int64) { written += n }); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to.Name())
	if err != nil || !bytes.Equal(got, append([]byte("head"), content[offset:offset+size]...)) {
		t.Errorf("%d bytes were copied wrongly (%v)", len(got), err)
	}
	if reported != 0 || written != size {
		t.Errorf("%d bytes were reported before the caller does, and %d of %d written", reported, written, size)
	}
	if s.Progress(size); reported != size {
		t.Errorf("%d of %d bytes reported", reported, size)
	}
}

func TestSectionReads(t *testing.T) {
	from, _ := files(t, []byte("0123456789"))
	if err := iotest.TestReader(NewSection(from, 2, 5, nil), []byte("23456")); err != nil {
		t.Error(err)
	}
	for size, want := range map[int64]string{5: "234", 2: "23", 0: ""} {
		if got, err := NewSection(from, 2, size, nil).Peek(3); string(got) != want || err != nil {
			t.Errorf("the beginning of %d bytes is %q (%v)", size, got, err)
		}
	}
}

func TestSectionEndsTooEarly(t *testing.T) {
	from, to := files(t, []byte("0123456789"))
	s := NewSection(from, 2, 9, nil)
	if b, err := io.ReadAll(s); string(b) != "23456789" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %q (%v)", b, err)
	}
	copied := false
	if err := s.CopyTo(t.Context(), to, 0, func(int64) { copied = true }); !copied ||
		!errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("copied: %t (%v)", copied, err)
	}
	// Nothing can be copied after the end: reading reports that.
	if err := NewSection(from, 10, 1, nil).CopyTo(t.Context(), to, 0, func(int64) {}); !errors.Is(err,
		errors.ErrUnsupported) {
		t.Errorf("copied after the end with %v", err)
	}
}

func TestCopyEnds(t *testing.T) {
	from, to := files(t, make([]byte, 2*step))
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	var written int64
	err := NewSection(from, 0, 2*step, nil).CopyTo(ctx, to, 0, func(n int64) { written += n; cancel(stopped) })
	if !errors.Is(err, stopped) || written == 0 || written > step {
		t.Errorf("%d bytes (%v)", written, err)
	}
	closed, _ := files(t, nil)
	closed.Close()
	if err := NewSection(from, 0, 5, nil).CopyTo(t.Context(), closed, 0, func(int64) {}); err == nil {
		t.Error("a closed file was written")
	}
}

// File systems that cannot copy within the kernel leave it to the caller.
func TestCopyIsNotPossible(t *testing.T) {
	from, _ := files(t, []byte("0123456789"))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := NewSection(from, 0, 5, nil).CopyTo(t.Context(), w, 0, func(int64) {}); !errors.Is(err,
		errors.ErrUnsupported) {
		t.Errorf("to a pipe: %v", err)
	}
}

// inject makes a call of copy_file_range return this, and those before it copy.
func inject(t *testing.T, call, n int, err error) {
	t.Helper()
	original, calls := CopyFileRange, 0
	t.Cleanup(func() { CopyFileRange = original })
	CopyFileRange = func(from int, fromAt *int64, to int, toAt *int64, size, flags int) (int, error) {
		if calls++; calls == call {
			return n, err
		}
		return original(from, fromAt, to, toAt, size, flags)
	}
}

// Before anything was copied, the caller can still read. After that, the error names both files.
func TestFailuresOfTheSystemCall(t *testing.T) {
	testenv.Slow(t)
	for name, c := range map[string]struct {
		call int
		err  error // of the system call, which returns 0
		want error
	}{
		"nothing copied at first": {1, nil, errors.ErrUnsupported},
		"other file systems":      {1, unix.EXDEV, errors.ErrUnsupported},
		"the file ends":           {2, nil, io.ErrUnexpectedEOF},
		"a full disk":             {2, unix.ENOSPC, unix.ENOSPC},
		"a full disk at first":    {1, unix.ENOSPC, unix.ENOSPC},
		"a broken disk":           {2, unix.EIO, unix.EIO},
		"interrupted":             {2, unix.EINTR, nil},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := files(t, make([]byte, 2*step))
			inject(t, c.call, 0, c.err)
			written := int64(0)
			err := NewSection(from, 0, 2*step, nil).CopyTo(t.Context(), to, 0, func(n int64) { written += n })
			if !errors.Is(err, c.want) || (written > 0) != (c.call > 1) {
				t.Errorf("%d bytes (%v), want %v", written, err, c.want)
			}
			if errno := syscall.Errno(0); errors.As(err, &errno) &&
				(!strings.Contains(err.Error(), from.Name()) || !strings.Contains(err.Error(), to.Name())) {
				t.Errorf("%v names only one file", err)
			}
		})
	}
}
