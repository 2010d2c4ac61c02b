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
	// Untagged removes manifests without a tag, too. Images of a set that was pushed but
	// not committed are among them.
	Untagged bool
	DryRun   bool
}

// GarbageCollect removes uploads that were given up, and what no manifest refers to, from
// the directory of an embedded registry that is not running (*DirError if it is). It
// returns how many bytes that freed.
func GarbageCollect(ctx context.Context, dir string, opts GCOptions) (freed int64, err error) {
	if _, err := os.Stat(dir); err != nil {
		return 0, &DirError{Dir: dir, Err: err}
	}
	if used, err := checkDir(dir); err != nil || !used {
		return 0, err // nothing was ever pushed
	}
	if _, err := os.Stat(filepath.Join(dir, treeDir)); err != nil {
		return 0, nil
	}
	lock, err := lockDir(dir, "collects garbage")
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	before, err := treeSize(dir)
	if err != nil {
		return 0, err
	}
	log := &requestLog{}
	defer log.takeOver()()
	if !opts.DryRun {
		if err := repair(dir, log.printf); err != nil {
			return 0, fmt.Errorf("repairing the registry in %s: %w", dir, err)
		}
	}
	if err := sweep(ctx, dir, opts); err != nil {
		return 0, fmt.Errorf("collecting garbage in %s: %w", dir, err)
	}
	after, err := treeSize(dir)
	return before - after, err
}

// sweep runs the distribution's garbage collection.
func sweep(ctx context.Context, dir string, opts GCOptions) error {
	for _, part := range []string{"repositories", "blobs"} {
		if _, err := os.Stat(filepath.Join(dir, treeDir, part)); err != nil {
			return nil // nothing was ever pushed; the distribution fails on that
		}
	}
	driver := filesystem.New(filesystem.DriverParameters{RootDirectory: dir, MaxThreads: 25})
	ns, err := storage.NewRegistry(ctx, driver, storage.EnableDelete)
	if err != nil {
		return err
	}
	return storage.MarkAndSweep(ctx, driver, ns, storage.GCOpts{DryRun: opts.DryRun, RemoveUntagged: opts.Untagged, Quiet: true})
}

// treeSize is the size in bytes of the files below a directory.
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
