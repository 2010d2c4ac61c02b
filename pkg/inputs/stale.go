package inputs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/usererr"
)

// findStale finds files of earlier locks, such as packages that have been updated since, and removes
// them with Prune. Files that fetch did not write are never among them.
func (f *fetcher) findStale(ctx context.Context) error {
	keep, err := f.current()
	if err != nil {
		return err
	}
	folded := map[string]bool{} // FAT and others have one file for names that differ in case
	for name := range keep {
		folded[strings.ToLower(name)] = true
	}
	var candidates []string
	for _, name := range slices.Sorted(maps.Keys(f.fetched.paths)) {
		if !folded[strings.ToLower(name)] {
			candidates = append(candidates, name)
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	// Behind a link, a file of an earlier lock may be one of the current lock.
	links := linkFinder{f: f, seen: map[string]bool{}}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(keep)), candidates) {
		if err := links.check(ctx, name); err != nil {
			return err
		}
	}
	var stale []string
	size := int64(0)
	for _, name := range candidates {
		info, err := f.root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			delete(f.fetched.paths, name)
		case err != nil:
			return err
		case info.Mode().IsRegular():
			stale = append(stale, name)
			size += info.Size()
		}
	}
	if f.Prune {
		if err := f.remove(ctx, stale); err != nil {
			return err
		}
	}
	f.stale, f.staleBytes = len(stale), size
	return nil
}

// remove removes files, and the directories that are empty then.
func (f *fetcher) remove(ctx context.Context, names []string) error {
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := f.root.Remove(name); err != nil {
			return err
		}
		delete(f.fetched.paths, name)
		if strings.HasPrefix(name, "oci/") {
			continue // an OCI layout has its directories even if they are empty
		}
		for dir := path.Dir(name); dir != "." && f.root.Remove(dir) == nil; {
			dir = path.Dir(dir)
		}
	}
	return f.fetched.save(f.Dir)
}

// linkFinder finds symbolic links.
type linkFinder struct {
	f    *fetcher
	seen map[string]bool // paths that are not links
}

// check returns an error if a path or one of its parent directories is a symbolic link.
func (l *linkFinder) check(ctx context.Context, name string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if name == "." || l.seen[name] {
		return nil
	}
	if err := l.check(ctx, path.Dir(name)); err != nil {
		return err
	}
	info, err := l.f.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return usererr.Errorf("replace the link with the directory that it refers to, or remove the files of earlier locks yourself",
			"%s is a symbolic link, through which files of the lock may be reached", filepath.Join(l.f.Dir, name))
	}
	l.seen[name] = true
	return nil
}

// current returns the paths of the files that belong to the lock.
func (f *fetcher) current() (map[string]bool, error) {
	keep := map[string]bool{layoutIndex: true}
	for _, it := range f.items {
		keep[it.path] = true
	}
	for _, page := range f.pages {
		keep[page] = true
	}
	for _, b := range f.Lock.Bases {
		blobs, err := baseBlobs(f.root, b)
		if err != nil {
			return nil, fmt.Errorf("base image %s: %w", b.Name, err)
		}
		keep[blobPath(b.Digest)] = true
		for _, d := range blobs {
			keep[blobPath(d.Digest)] = true
		}
	}
	return keep, nil
}
