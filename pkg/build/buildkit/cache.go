package buildkit

import (
	"context"
	"fmt"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/moby/buildkit/client"
)

// CacheLimits are the limits of the builder's cache: unpacked layers, cache mounts
// and the results of steps. Sizes are in bytes; 0 means a share of the disk with the
// state directory.
type CacheLimits struct {
	MaxUsed int64 // maximum size of the cache; 0: 80 %
	MinFree int64 // kept free on the disk; 0: disk.DefaultMinFree
}

// reservedShare is the part of its limit, in percent, that the cache always keeps.
// Otherwise each run would start without a cache when something else fills the disk.
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

// daemonConfig has one rule for the whole cache: entries are removed only when space is
// needed, the least recently used first. BuildKit's own rules remove cache mounts,
// which nightly runs need, after two days. Entries that a running build uses are never
// removed.
func daemonConfig(dir string, l CacheLimits) string {
	reserved, maxUsed, minFree := l.resolve(dir)
	// Each build lists the entitlements of its steps, and only this process can reach
	// the daemon.
	return fmt.Sprintf(`insecure-entitlements = ["network.host", "security.insecure"]
[worker.containerd]
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

// Prune removes cache entries, the least recently used first, until minFree bytes are
// free on its disk or only entries in use are left. It returns the bytes that it freed.
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
