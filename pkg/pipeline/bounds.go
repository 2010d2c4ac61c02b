package pipeline

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// bounds holds a run within the machine's memory and disk: it is the
// scheduler's gate. The disk is the data directory's, where the store lies and
// the cache of a builder that we started; what a builder elsewhere uses is not
// ours to know.
type bounds struct {
	dir     string
	minFree int64 // bytes that stay free
	memory  int64 // bytes for each running image, 0 for no bound
	most    int   // images at once, by the memory that there was at the start
	local   bool  // the builder runs on this machine
	bk      *builder
	notice  func(string)

	// What the machine has, to be replaced in tests.
	free      func(dir string) int64
	available func() int64

	mu      sync.Mutex
	told    map[string]bool
	pruning bool
	pruned  time.Time // when the cache was last asked to give way
	gave    int64     // bytes that it gave

	asking sync.WaitGroup
	cancel context.CancelFunc // of asking; nil if the cache was not asked
}

// pruneAgain is how long after the builder's cache gave way it is not asked
// again: what it has then is in use.
const pruneAgain = 20 * time.Second

func newBounds(cfg *config.Config, bk *builder, notice func(string)) *bounds {
	b := &bounds{dir: cfg.DataDir, minFree: minFree(cfg), memory: cfg.ImageMemory, bk: bk, notice: notice, told: map[string]bool{},
		local: cfg.BuildkitAddr == "" || strings.HasPrefix(cfg.BuildkitAddr, "unix://"),
		free:  func(dir string) int64 { _, free := buildkit.Disk(dir); return free }, available: availableMemory}
	if mem := b.available(); b.local && b.memory > 0 && mem > 0 {
		b.most = max(1, int(mem/b.memory))
	}
	return b
}

func minFree(cfg *config.Config) int64 {
	if cfg.MinFree > 0 {
		return cfg.MinFree
	}
	total, _ := buildkit.Disk(cfg.DataDir)
	return buildkit.DefaultMinFree(total)
}

// gate implements build.Options.Gate.
func (b *bounds) gate(_ *plan.Item, running int) build.Verdict {
	if free := b.free(b.dir); free < b.minFree && b.minFree > 0 {
		if b.askCache() || running > 0 {
			b.tell("disk", fmt.Sprintf("only %s are free in %s, where %s shall stay free (--min-free): no further image is started until there is room",
				units.Bytes(free), b.dir, units.Bytes(b.minFree)))
			return build.Verdict{}
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		return build.Verdict{Err: &DiskError{Dir: b.dir, Free: free, MinFree: b.minFree, Pruned: b.gave}}
	}
	if running == 0 || !b.local || b.memory == 0 {
		return build.Verdict{Start: true} // one image is always tried
	}
	mem := b.available()
	if b.most > 0 && running >= b.most || mem > 0 && mem < b.memory {
		b.tell("memory", fmt.Sprintf("%d images are built at once: %s of memory are available, and each may need %s (--image-memory)",
			running, units.Bytes(mem), units.Bytes(b.memory)))
		return build.Verdict{}
	}
	return build.Verdict{Start: true}
}

// tell says a thing once in a run.
func (b *bounds) tell(what, text string) {
	b.mu.Lock()
	told := b.told[what]
	b.told[what] = true
	b.mu.Unlock()
	if !told {
		b.notice(text)
	}
}

// askCache has the builder's cache give way in the background, and reports
// whether it is worth waiting for.
func (b *bounds) askCache() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pruning {
		return true
	}
	bk := b.bk.own()
	if bk == nil || time.Since(b.pruned) < pruneAgain {
		return false
	}
	b.pruning = true
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	b.cancel = cancel
	b.asking.Go(func() {
		defer cancel()
		n, err := bk.Prune(ctx, b.minFree)
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			b.notice(err.Error())
		}
		b.mu.Lock()
		b.pruning, b.pruned, b.gave = false, time.Now(), b.gave+n
		b.mu.Unlock()
	})
	return true
}

// close ends what was asked of the builder's cache: the builder, and those who
// are told, are there until then.
func (b *bounds) close() {
	b.mu.Lock()
	if b.cancel != nil {
		b.cancel()
	}
	b.mu.Unlock()
	b.asking.Wait()
}

// DiskError says that the disk of the data directory is too full to go on.
type DiskError struct {
	Dir                   string
	Free, MinFree, Pruned int64 // bytes; Pruned is what the builder's cache gave back
}

// Error implements error.
func (e *DiskError) Error() string {
	return fmt.Sprintf("not started for want of disk space: %s are free in %s, and %s shall stay free (no space left, after the builder's cache gave back %s)",
		units.Bytes(e.Free), e.Dir, units.Bytes(e.MinFree), units.Bytes(e.Pruned))
}

// Hint says what can be done.
func (e *DiskError) Hint() string {
	return "free some space there (kolla-build gc removes what nothing in the store refers to), or lower --min-free; the next run goes on from what was built"
}

// unpacked is how much larger an image's own layers are in the builder's cache
// than in the store, where they are compressed; measured on Debian packages
// they are 2.5 to 3.5 times as large.
const unpacked = 3

// estimateDisk is what a plan will write to the disk, by the sizes that images
// had when they were last built; known counts the images that have one.
func estimateDisk(p *plan.Plan, sizes map[string]store.Durations, name func(image.ID) string) (bytes int64, known int) {
	for _, it := range p.Items {
		size := sizes[name(it.Image)].Size
		if it.Action != plan.Build || size == 0 {
			continue
		}
		own := size
		if !it.Parent.IsZero() {
			own = max(0, size-sizes[name(it.Parent)].Size)
		}
		known++
		bytes += own * (1 + unpacked)
	}
	return bytes, known
}

// warnOfDisk says before a run that the disk may be too small for it.
func (r *buildRun) warnOfDisk() {
	need, known := estimateDisk(r.plan, r.store.Durations(), r.mem.name)
	_, free := buildkit.Disk(r.cfg.DataDir)
	keep := minFree(r.cfg)
	if known == 0 || free-need >= keep {
		return
	}
	r.env.Notice("warning: %d images will need about %s in %s, by their sizes of earlier builds; %s are free, of which %s stay free (--min-free). The builder's cache gives way first",
		known, units.Bytes(need), r.cfg.DataDir, units.Bytes(free), units.Bytes(keep))
}

// availableMemory returns the bytes that programs can have without swapping:
// the kernel's estimate, or what is left of this control group's share. 0 if
// neither can be told.
func availableMemory() int64 {
	mem := field("/proc/meminfo", "MemAvailable:") * 1024
	if left := groupMemory("/sys/fs/cgroup"); left > 0 && (mem == 0 || left < mem) {
		mem = left
	}
	return mem
}

// groupMemory returns the bytes that are left of a control group's memory, 0 if
// it has no bound. Cached files that nobody has used lately count as left: the
// kernel gives them up first, and building fills memory with them.
func groupMemory(dir string) int64 {
	limit, used := number(filepath.Join(dir, "memory.max")), number(filepath.Join(dir, "memory.current"))
	if limit <= 0 || used <= 0 {
		return 0
	}
	return max(1, limit-used+field(filepath.Join(dir, "memory.stat"), "inactive_file"))
}

// field returns the number after a name at the beginning of a line; 0 if there
// is none.
func field(file, name string) int64 {
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if w := strings.Fields(sc.Text()); len(w) > 1 && w[0] == name {
			n, _ := strconv.ParseInt(w[1], 10, 64)
			return n
		}
	}
	return 0
}

// number reads a file that holds a number; 0 if it does not.
func number(file string) int64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return n
}
