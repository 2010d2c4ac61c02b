package offline

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// The builder of a recording has its own state directory, of gigabytes. The next
// recording removes those of killed ones, and leaves those that are in use.
func TestKilledRecordingsAreRemoved(t *testing.T) {
	testenv.Root(t)
	data := t.TempDir()
	state := func(name string) (dir, lock string) {
		dir = filepath.Join(data, "lock", name)
		if err := os.MkdirAll(filepath.Join(dir, "runc-overlayfs", "snapshots"), 0o700); err != nil {
			t.Fatal(err)
		}
		lock = filepath.Join(dir, "kolla-build.lock")
		if err := os.WriteFile(lock, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir, lock
	}
	killed, _ := state("buildkit-1")
	running, lock := state("buildkit-2")
	fileLock, err := filelock.Try(lock)
	if err != nil {
		t.Fatal(err)
	}
	defer fileLock.Close()
	r, err := NewRecording(filepath.Join(data, "set.lock"), false)
	if err != nil {
		t.Fatal(err)
	}
	n, err := r.OpenNetwork(t.Context(), &config.Config{DataDir: data, Threads: 1, Timeout: 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(killed); !os.IsNotExist(err) {
		t.Errorf("the state of a killed recording: %v", err)
	}
	if _, err := os.Stat(running); err != nil {
		t.Errorf("the state of a running one: %v", err)
	}
	own := n.state
	if _, err := os.Stat(own); err != nil {
		t.Errorf("its own: %v", err)
	}
	n.Close()
	if _, err := os.Stat(own); !os.IsNotExist(err) {
		t.Errorf("its own, afterwards: %v", err)
	}
}

// Each recording keeps its state directory while others begin, before and after its builder
// locks it too.
func TestRecordingsBeginAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				state, fileLock, err := newState(t.Context(), dir)
				if err != nil {
					t.Error(err)
					return
				}
				for range 20 { // while others begin
					if err := os.WriteFile(filepath.Join(state, "content"), nil, 0o600); err != nil {
						t.Errorf("the state of a running recording: %v", err)
					}
				}
				if err := os.RemoveAll(state); err != nil {
					t.Error(err)
				}
				fileLock.Close()
			}
		})
	}
	wg.Wait()
	if leftover, err := filepath.Glob(filepath.Join(dir, statePrefix+"*")); err != nil || len(leftover) > 0 {
		t.Errorf("left over: %v (%v)", leftover, err)
	}
}
