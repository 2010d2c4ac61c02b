package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
)

func TestBounds(t *testing.T) {
	var said []string
	b := newBounds(&config.Config{DataDir: t.TempDir(), MinFree: 1000, ImageMemory: 1 << 30}, &builder{opts: buildkit.Options{Addr: "tcp://elsewhere"}}, func(s string) { said = append(said, s) })
	b.most, b.local = 4, true
	free, mem := int64(2000), int64(8<<30)
	b.free, b.available = func(string) int64 { return free }, func() int64 { return mem }
	for _, c := range []struct {
		what    string
		running int
		free    int64
		mem     int64
		start   bool
		failed  bool
	}{
		{"room for all", 3, 2000, 8 << 30, true, false},
		{"as many as there was memory for", 4, 2000, 8 << 30, false, false},
		{"memory is used up", 1, 2000, 1 << 29, false, false},
		{"the only image, whatever the memory", 0, 2000, 1 << 20, true, false},
		{"the disk is full, others run", 1, 999, 8 << 30, false, false},
		{"the disk is full, nothing runs", 0, 999, 8 << 30, false, true},
		{"memory cannot be told", 1, 2000, 0, true, false},
	} {
		free, mem = c.free, c.mem
		v := b.gate(&plan.Item{}, c.running)
		if v.Start != c.start || (v.Err != nil) != c.failed {
			t.Errorf("%s: %+v", c.what, v)
		}
		var de *DiskError
		if c.failed && (!errors.As(v.Err, &de) || de.Free != 999 || !strings.Contains(v.Err.Error(), "999 B")) {
			t.Errorf("%s: the error is %v", c.what, v.Err)
		}
	}
	if len(said) != 2 {
		t.Errorf("told: %q, want memory and disk once each", said)
	}
}

// TestGroupMemory: files that building has read and written fill a container's
// memory, and are no reason to build one image at a time.
func TestGroupMemory(t *testing.T) {
	dir := t.TempDir()
	if got := groupMemory(dir); got != 0 {
		t.Errorf("without a control group %d bytes are left", got)
	}
	for name, text := range map[string]string{"memory.max": "8000\n", "memory.current": "7900\n", "memory.stat": "anon 900\ninactive_file 6000\nactive_file 500\n"} {
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
		t.Errorf("without a bound %d bytes are left", got)
	}
}

func TestEstimateDisk(t *testing.T) {
	p := plan.New([]plan.Input{{Image: image.ID{Name: "base"}, Key: "1"}, {Image: image.ID{Name: "a"}, Parent: image.ID{Name: "base"}, Needs: []image.ID{{Name: "base"}}, Key: "2"}, {Image: image.ID{Name: "new"}, Key: "3"}},
		plan.Known{Stored: func(k digest.Digest) (plan.Stored, bool) { return plan.Stored{Digest: "sha256:x"}, k == "1" },
			Parts:    func(image.ID) (map[string]string, bool) { return nil, false },
			Duration: func(image.ID) (time.Duration, bool) { return 0, false }}, false)
	sizes := map[string]store.Durations{"base": {Size: 100}, "a": {Size: 130}}
	if need, known := estimateDisk(p, sizes, func(id image.ID) string { return id.Name }); need != 30*(1+unpacked) || known != 1 {
		t.Errorf("%d bytes for %d images; base is kept, a has 30 bytes of its own, nothing is known of new", need, known)
	}
}
