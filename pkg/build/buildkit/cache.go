package buildkit

import (
	"context"
	"fmt"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/moby/buildkit/client"
)

// CacheLimits bound the builder's cache: the unpacked layers, the cache mounts
// and the results of steps of earlier builds. Sizes are in bytes; 0 stands for a
// share of the disk that the state directory lies on.
type CacheLimits struct {
	MaxUsed int64 // what the cache may take at most; 0: 80 %
	MinFree int64 // what stays free on the disk; 0: see disk.DefaultMinFree
}

// reservedShare is what the cache keeps in any case, in percent of its limit:
// were it thrown away whole whenever something else fills the disk, each run
// would build everything again.
const reservedShare = 10

func (l CacheLimits) resolve(dir string) (reserved, maxUsed, minFree int64) {
	total, _ := disk.Space(dir)
	maxUsed, minFree = l.MaxUsed, l.MinFree
	if maxUsed == 0 {
		maxUsed = total / 100 * 80
	}
	if minFree == 0 {
		minFree = disk.DefaultMinFree(total)
	}
	return maxUsed / 100 * reservedShare, maxUsed, minFree
}

// daemonConfig has one rule for all that the cache holds: what was used least
// lately goes first, and nothing goes as long as there is room. BuildKit's own
// rules drop cache mounts after two days, which a nightly run would miss. What
// a build that runs holds is never dropped.
func daemonConfig(dir string, l CacheLimits) string {
	reserved, maxUsed, minFree := l.resolve(dir)
	return fmt.Sprintf(`[worker.containerd]
  enabled = false
[worker.oci]
  enabled = true
  binary = "runc"
  networkMode = "host"
  gc = true
[[worker.oci.gcpolicy]]
  all = true
  reservedSpace = "%d"
  maxUsedSpace = "%d"
  minFreeSpace = "%d"
`, reserved, maxUsed, minFree)
}

// Prune drops what was used least lately of the builder's cache, until so many
// bytes are free on its disk or only what builds hold is left. It returns the
// bytes that it freed.
func (b *Builder) Prune(ctx context.Context, free int64) (int64, error) {
	ch := make(chan client.UsageInfo)
	freed := make(chan int64)
	go func() {
		var n int64
		for u := range ch {
			n += u.Size
		}
		freed <- n
	}()
	err := b.client.Prune(ctx, ch, client.PruneAll, client.WithKeepOpt(0, 0, 0, free))
	close(ch)
	n := <-freed
	if err != nil {
		return n, fmt.Errorf("pruning the builder's cache: %w", err)
	}
	return n, nil
}
