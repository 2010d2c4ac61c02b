// Package limits keeps a run within the machine's memory and disk space: it decides
// whether another image may start now, and estimates the needs of a plan. It must not
// know builders, stores or how images are built.
package limits

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

// Cache is a builder's cache, which can free disk space.
type Cache interface {
	// Prune removes the least recently used entries until minFree bytes are free on the
	// cache's disk, and returns the bytes that it freed.
	Prune(ctx context.Context, minFree int64) (int64, error)
}

// Options describes the machine and what a run may use of it.
type Options struct {
	Dir     string // the data directory, with the store and the builder that this program starts
	MinFree int64  // bytes to keep free on its disk; 0 means disk.DefaultMinFree

	// ImageMemory is how many bytes of memory a running image may need; 0 means no
	// limit. It counts only if the builder runs on this machine, LocalBuilder.
	ImageMemory  int64
	LocalBuilder bool

	// Cache returns the cache of a builder that this program started, nil if it has not
	// started one.
	Cache  func() Cache
	Notice func(string) // for the user; called once for each kind of shortage
}

// pruneInterval is the shortest time between two prunings: entries that are left after
// one are in use.
const pruneInterval = 20 * time.Second

// Limiter decides whether another image may start. Close must be called before
// the builder whose cache it prunes is closed.
type Limiter struct {
	opts      Options
	maxImages int // at the same time, limited by the available memory at the start; 0 means no limit

	// The machine's resources, replaced in tests.
	freeDisk        func(dir string) int64
	availableMemory func() int64

	mu       sync.Mutex
	reported map[string]bool
	pruning  bool
	prunedAt time.Time
	freed    int64              // bytes, by all prunings
	cancel   context.CancelFunc // of the pruning
	done     sync.WaitGroup     // of the pruning
}

// New returns a limiter for a run that starts now.
func New(opts Options) *Limiter {
	opts.MinFree = minFree(opts.Dir, opts.MinFree)
	l := &Limiter{opts: opts, reported: map[string]bool{}, availableMemory: availableMemory,
		freeDisk: func(dir string) int64 { _, free := disk.Space(dir); return free }}
	if memory := l.availableMemory(); opts.LocalBuilder && opts.ImageMemory > 0 && memory > 0 {
		l.maxImages = max(1, int(memory/opts.ImageMemory))
	}
	return l
}

func minFree(dir string, configured int64) int64 {
	if configured > 0 {
		return configured
	}
	total, _ := disk.Space(dir)
	return disk.DefaultMinFree(total)
}

// Admit decides whether an image may start while others are running. It
// implements build.Options.Gate and does not block.
func (l *Limiter) Admit(_ *plan.Item, running int) build.Verdict {
	if free := l.freeDisk(l.opts.Dir); free < l.opts.MinFree {
		if l.prune() || running > 0 {
			l.report("disk",
				fmt.Sprintf(
					"only %s are free in %s, and %s must stay free (--min-free): no further image starts until there is space",
					units.Bytes(free), l.opts.Dir, units.Bytes(l.opts.MinFree)))
			return build.Verdict{}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		return build.Verdict{Err: &DiskError{Dir: l.opts.Dir, Free: free, MinFree: l.opts.MinFree, Pruned: l.freed}}
	}
	if running == 0 || !l.opts.LocalBuilder || l.opts.ImageMemory == 0 {
		return build.Verdict{Start: true} // the first image always starts
	}
	memory := l.availableMemory()
	if l.maxImages > 0 && running >= l.maxImages || memory > 0 && memory < l.opts.ImageMemory {
		l.report("memory",
			fmt.Sprintf("building %s at once: %s of memory are available, and each image may need %s (--image-memory)",
				units.Count(running, "image"), units.Bytes(memory), units.Bytes(l.opts.ImageMemory)))
		return build.Verdict{}
	}
	return build.Verdict{Start: true}
}

// report prints a message about a kind of shortage, once in a run.
func (l *Limiter) report(kind, text string) {
	l.mu.Lock()
	known := l.reported[kind]
	l.reported[kind] = true
	l.mu.Unlock()
	if !known {
		l.opts.Notice(text)
	}
}

// prune frees space in the builder's cache, in the background, and reports
// whether it is worth waiting for.
func (l *Limiter) prune() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pruning {
		return true
	}
	if l.opts.Cache == nil || time.Since(l.prunedAt) < pruneInterval {
		return false
	}
	cache := l.opts.Cache()
	if cache == nil {
		return false
	}
	l.pruning = true
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	l.cancel = cancel
	l.done.Go(func() {
		defer cancel()
		freed, err := cache.Prune(ctx, l.opts.MinFree)
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			l.opts.Notice("warning: " + err.Error())
		}
		l.mu.Lock()
		l.pruning, l.prunedAt, l.freed = false, time.Now(), l.freed+freed
		l.mu.Unlock()
	})
	return true
}

// Close cancels a pruning and waits for its end.
func (l *Limiter) Close() {
	l.mu.Lock()
	if l.cancel != nil {
		l.cancel()
	}
	l.mu.Unlock()
	l.done.Wait()
}

// DiskError is the error of an image that was not started because the disk is
// too full.
type DiskError struct {
	Dir                   string
	Free, MinFree, Pruned int64 // bytes; Pruned is how much pruning the builder's cache freed
}

// Error implements error.
func (e *DiskError) Error() string {
	return fmt.Sprintf("not started for lack of disk space: %s are free in %s, and %s must stay free (no space left, "+
		"after the builder's cache freed %s)",
		units.Bytes(e.Free), e.Dir, units.Bytes(e.MinFree), units.Bytes(e.Pruned))
}

// Hint returns a hint for the user.
func (e *DiskError) Hint() string {
	return "free some space there (kolla-build gc removes what no stored image uses), or lower --min-free; the next run " +
		"continues from what was built"
}

// unpackedRatio is how much larger an image's own layers are in the builder's cache
// than compressed in the store. It was 2.5 to 3.5 for Debian packages.
const unpackedRatio = 3

// estimateDisk returns the bytes that building a plan's images will write to the disk,
// estimated from the size of each image's last build (0 if unknown), and the number of
// images with a known size.
func estimateDisk(p *plan.Plan, size func(image.ID) int64) (bytes int64, knownImages int) {
	for _, it := range p.Items {
		total := size(it.Image)
		if it.Action != plan.Build || total == 0 {
			continue
		}
		estimate := total
		if !it.Parent.IsZero() {
			estimate = max(0, total-size(it.Parent))
		}
		knownImages++
		bytes += estimate * (1 + unpackedRatio)
	}
	return bytes, knownImages
}

// CheckDisk returns a warning if the disk is probably too small for a plan, ""
// if it is not. minFree is as in Options.
func CheckDisk(p *plan.Plan, size func(image.ID) int64, dir string, configuredMinFree int64) string {
	required, knownImages := estimateDisk(p, size)
	_, free := disk.Space(dir)
	reserve := minFree(dir, configuredMinFree)
	if knownImages == 0 || free-required >= reserve {
		return ""
	}
	return fmt.Sprintf("warning: %s will need about %s in %s, judged by earlier builds; "+
		"%s are free, of which %s must stay free (--min-free). Space is taken from the builder's cache first",
		units.Count(knownImages, "image"), units.Bytes(required), dir, units.Bytes(free), units.Bytes(reserve))
}
