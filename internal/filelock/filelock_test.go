package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestTry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Try(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.SetHolder("a longer text, process %d", 9999999); err != nil {
		t.Fatal(err)
	}
	if err := first.SetHolder("process %d", 42); err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	if _, err := Try(path); !errors.As(err, &held) || held.Path != path || held.Holder != "process 42" {
		t.Errorf("second holder: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Try(path)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	second.Close()
}

func TestAcquireExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var holders, counter atomic.Int32
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			l, err := Acquire(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Close()
			if n := holders.Add(1); n != 1 {
				t.Errorf("%d holders at once", n)
			}
			counter.Add(1)
			holders.Add(-1)
		})
	}
	group.Wait()
	if n := counter.Load(); n != 20 {
		t.Errorf("%d holders, want 20", n)
	}
}

func TestAcquireContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	holder, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	if _, err := AcquireContext(ctx, path, func(*HeldError) { cancel(cause) }); !errors.Is(err, cause) {
		t.Errorf("got %v, want the context's cause", err)
	}
	if err := holder.SetProcess(); err != nil {
		t.Fatal(err)
	}
	notices := 0
	l, err := AcquireContext(t.Context(), path, func(held *HeldError) {
		notices++
		if want := fmt.Sprintf("process %d", os.Getpid()); !strings.Contains(held.By(), want) {
			t.Errorf("the holder is %q, want %q", held.By(), want)
		}
		holder.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if notices != 1 {
		t.Errorf("%d notices, want 1", notices)
	}
}

func TestShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var locks []*Lock
	for range 2 {
		l, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := l.RLock(); err != nil {
			t.Fatal(err)
		}
		locks = append(locks, l)
	}
	var held *HeldError
	if _, err := Try(path); !errors.As(err, &held) {
		t.Errorf("exclusive beside two shared: %v", err)
	}
	locks[0].Close()
	if err := locks[1].TryLock(); err != nil {
		t.Errorf("the last user cannot make its lock exclusive: %v", err)
	}
}

// TestChildInherits checks that a child with the file holds the lock when the
// parent has closed it, until it ends.
func TestChildInherits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Try(path)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("cat")
	child.ExtraFiles = []*os.File{l.File()}
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	var held *HeldError
	if _, err := Try(path); !errors.As(err, &held) {
		t.Errorf("the child does not hold the lock: %v", err)
	}
	stdin.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	after, err := Try(path)
	if err != nil {
		t.Fatalf("after the child's end: %v", err)
	}
	after.Close()
}

func TestOpenExisting(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenExisting(filepath.Join(dir, "lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.Symlink("elsewhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenExisting(filepath.Join(dir, "link")); err == nil || strings.Contains(err.Error(), "no such file") {
		t.Errorf("a link is followed: %v", err)
	}
}
