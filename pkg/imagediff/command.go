package imagediff

import (
	"context"
	"runtime/debug"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// softMemory is the memory in bytes at which the garbage collector runs more often. Two images at the
// limits have 170 MB of entries.
const softMemory = 220 << 20

// maxFiles is how many files of a layer are printed without --debug.
const maxFiles = 100

// Run is the diff command. It prints how two images differ, as text or as JSON,
// and returns usererr.ErrReported if they do. Other errors are inconclusive.
func Run(ctx context.Context, cfg *config.Config, con *console.Console, a, b string, asJSON bool) error {
	return usererr.Inconclusive(run(ctx, cfg, con, a, b, asJSON))
}

// LimitMemory makes the garbage collector run more often until restore is called. It is not for the
// time in which package databases are read, which can be larger.
func LimitMemory() (restore func()) {
	before := debug.SetMemoryLimit(-1)
	debug.SetMemoryLimit(min(before, softMemory))
	return func() { debug.SetMemoryLimit(before) }
}

func run(ctx context.Context, cfg *config.Config, con *console.Console, a, b string, asJSON bool) error {
	f, err := NewFinder(ctx, cfg, con, a, b)
	if err != nil {
		return err
	}
	defer f.Close()
	var images [2]Image
	for i, ref := range []string{a, b} {
		if images[i], err = f.Find(ctx, ref); err != nil {
			return err
		}
	}
	reader := workspace.PackageReader(cfg)
	reader.ReadOnly = !images[0].remote && !images[1].remote // the cache saves downloads
	d, err := compareImages(ctx, images[0], images[1], reader)
	if err != nil {
		return err
	}
	defer LimitMemory()()
	if asJSON {
		err = d.WriteJSON(con.Stdout)
	} else {
		limit := maxFiles
		if cfg.Debug {
			limit = 0
		}
		err = d.WriteText(console.Printable(con.Stdout), limit)
	}
	if err == nil && !d.Same {
		err = usererr.ErrReported
	}
	return err
}
