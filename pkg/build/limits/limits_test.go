package limits

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

func TestAdmit(t *testing.T) {
	var notices []string
	l := New(Options{Dir: t.TempDir(), MinFree: 1000, ImageMemory: 1 << 30, LocalBuilder: true,
		Notice: func(s string) { notices = append(notices, s) }})
	l.maxImages = 4
	free, memory := int64(2000), int64(8<<30)
	l.freeDisk, l.availableMemory = func(string) int64 { return free }, func() int64 { return memory }
	for _, c := range []struct {
		name         string
		running      int
		free, memory int64
		start        bool
		failed       bool
	}{
		{"enough of everything", 3, 2000, 8 << 30, true, false},
		{"as many as there was memory for", 4, 2000, 8 << 30, false, false},
		{"memory is used up", 1, 2000, 1 << 29, false, false},
		{"the only image, regardless of the memory", 0, 2000, 1 << 20, true, false},
		{"the disk is full, others run", 1, 999, 8 << 30, false, false},
		{"the disk is full, nothing runs", 0, 999, 8 << 30, false, true},
		{"memory is unknown", 1, 2000, 0, true, false},
	} {
		free, memory = c.free, c.memory
		v := l.Admit(&plan.Item{}, c.running)
		if v.Start != c.start || (v.Err != nil) != c.failed {
			t.Errorf("%s: %+v", c.name, v)
		}
		var full *DiskError
		if c.failed && (!errors.As(v.Err, &full) || full.Free != 999 || usererr.Hint(v.Err) == "") {
			t.Errorf("%s: the error is %v", c.name, v.Err)
		}
	}
	if len(notices) != 2 {
		t.Errorf("notices %q, want one for memory and one for disk", notices)
	}
}

// cache frees a directory's files, as a builder's cache does.
type cache struct {
	dir   string
	calls int
}

func (c *cache) Prune(context.Context, int64) (int64, error) {
	c.calls++
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return 0, err
	}
	var freed int64
	for _, e := range entries {
		fi, err := e.Info()
		if err == nil {
			err = os.Remove(filepath.Join(c.dir, e.Name()))
		}
		if err != nil {
			return freed, err
		}
		freed += fi.Size()
	}
	return freed, nil
}

func TestFullDiskPrunesCache(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "entry"), make([]byte, 700), 0o644); err != nil {
		t.Fatal(err)
	}
	c := &cache{dir: dir}
	var mu sync.Mutex
	var notices []string
	l := New(Options{Dir: dir, MinFree: 1000, Cache: func() Cache { return c },
		Notice: func(s string) { mu.Lock(); defer mu.Unlock(); notices = append(notices, s) }})
	used := func() int64 {
		var sum int64
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if fi, err := e.Info(); err == nil {
				sum += fi.Size()
			}
		}
		return sum
	}
	l.freeDisk = func(string) int64 { return 1200 - used() }
	if v := l.Admit(&plan.Item{}, 0); v.Start || v.Err != nil {
		t.Errorf("with a cache that can be pruned: %+v, want to wait", v)
	}
	l.done.Wait()
	if v := l.Admit(&plan.Item{}, 0); !v.Start {
		t.Errorf("after the pruning: %+v, want to start", v)
	}
	// The new file does not belong to the cache, which was pruned just before.
	if err := os.WriteFile(filepath.Join(dir, "image"), make([]byte, 700), 0o644); err != nil {
		t.Fatal(err)
	}
	var full *DiskError
	if v := l.Admit(&plan.Item{}, 0); !errors.As(v.Err, &full) || full.Pruned != 700 {
		t.Errorf("full again: %+v, want an error that says what was pruned", v)
	}
	l.Close()
	if c.calls != 1 || len(notices) != 1 {
		t.Errorf("%d prunings and the notices %q, want one of each", c.calls, notices)
	}
}

type endlessCache struct{ started chan struct{} }

func (c *endlessCache) Prune(ctx context.Context, _ int64) (int64, error) {
	close(c.started)
	<-ctx.Done()
	return 0, ctx.Err()
}

func TestCloseEndsPruning(t *testing.T) {
	c := &endlessCache{started: make(chan struct{})}
	l := New(Options{Dir: t.TempDir(), MinFree: 1000, Cache: func() Cache { return c },
		Notice: func(s string) {
			if strings.Contains(s, "cancel") {
				t.Errorf("a canceled pruning is reported: %s", s)
			}
		}})
	l.freeDisk = func(string) int64 { return 0 }
	l.Admit(&plan.Item{}, 0)
	<-c.started
	l.Close()
}

// TestGroupMemory checks that file cache, which builds fill memory with, does not
// reduce the number of images that are built at once.
func TestGroupMemory(t *testing.T) {
	dir := t.TempDir()
	if got := groupMemory(dir); got != 0 {
		t.Errorf("without a control group %d bytes are left", got)
	}
	for name, text := range map[string]string{"memory.max": "8000\n", "memory.current": "7900\n",
		"memory.stat": "anon 900\ninactive_file 6000\nactive_file 500\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := groupMemory(dir); got != 6100 {
		t.Errorf("%d bytes are left, want 6100", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "memory.max"), []byte("max\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := groupMemory(dir); got != 0 {
		t.Errorf("without a limit %d bytes are left", got)
	}
	if availableMemory() <= 0 {
		t.Error("this machine's memory is unknown")
	}
}

func TestEstimateDisk(t *testing.T) {
	id := func(name string) image.ID { return image.ID{Name: name} }
	p := plan.New([]plan.Input{{Image: id("base"), Key: "1"},
		{Image: id("a"), Parent: id("base"), Needs: []image.ID{id("base")}, Key: "2"}, {Image: id("new"), Key: "3"}},
		plan.History{Stored: func(k digest.Digest) (plan.StoredImage,
			bool) {
			return plan.StoredImage{Digest: "sha256:x"}, k == "1"
		},
			Parts:    func(image.ID) (map[string]string, bool) { return nil, false },
			Duration: func(image.ID) (time.Duration, bool) { return 0, false }}, false)
	sizes := map[string]int64{"base": 100, "a": 130}
	size := func(id image.ID) int64 { return sizes[id.Name] }
	if required, known := estimateDisk(p, size); required != 30*(1+unpackedRatio) || known != 1 {
		t.Errorf("%d bytes for %d images; base is kept, a has 30 bytes of its own, the size of new is unknown", required,
			known)
	}
	dir := t.TempDir()
	if warning := CheckDisk(p, size, dir, 1); warning != "" {
		t.Errorf("a warning for 120 bytes: %s", warning)
	}
	sizes["a"] = 1 << 50
	if warning := CheckDisk(p, size, dir, 1); !strings.Contains(warning, dir) {
		t.Errorf("no warning for a plan that is too large: %q", warning)
	}
}
