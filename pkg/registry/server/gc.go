package server

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

// GCOptions say what GarbageCollect removes.
type GCOptions struct {
	// Untagged removes manifests that no tag names, too. Images of a set that
	// was pushed but not committed are among them.
	Untagged bool
	DryRun   bool
}

// GarbageCollect removes what no manifest refers to from the directory of an
// embedded registry that does not run (*DirError when one does), and says how
// many bytes that freed.
func GarbageCollect(ctx context.Context, dir string, opts GCOptions) (freed int64, err error) {
	if _, err := os.Stat(dir); err != nil {
		return 0, &DirError{Dir: dir, Err: err}
	}
	if made, err := checkForeign(dir); err != nil || !made {
		return 0, err // nothing was ever pushed
	}
	if _, err := os.Stat(filepath.Join(dir, "docker", "registry", "v2")); err != nil {
		return 0, nil
	}
	lock, err := lockDir(dir, "collects garbage")
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	driver := filesystem.New(filesystem.DriverParameters{RootDirectory: dir, MaxThreads: 25})
	ns, err := storage.NewRegistry(ctx, driver, storage.EnableDelete)
	if err != nil {
		return 0, fmt.Errorf("opening the registry in %s: %w", dir, err)
	}
	before, err := treeSize(dir)
	if err != nil {
		return 0, err
	}
	l := &requestLog{}
	defer l.takeOver()()
	if err := storage.MarkAndSweep(ctx, driver, ns, storage.GCOpts{DryRun: opts.DryRun, RemoveUntagged: opts.Untagged, Quiet: true}); err != nil {
		return 0, fmt.Errorf("collecting garbage in %s: %w", dir, err)
	}
	after, err := treeSize(dir)
	return before - after, err
}

func treeSize(dir string) (int64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
