package inputs

import (
	"errors"
	"io/fs"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/pkg/lock"
)

// findStale finds files of earlier locks, such as packages that have been updated since, and removes
// them if the user wants it. It looks only into directories that belong to the layout.
func (f *fetcher) findStale() error {
	keep, err := f.current()
	if err != nil {
		return err
	}
	var dirs []string
	for _, top := range []string{"mirror", "python", "sources", "other", "oci/blobs"} {
		if info, err := f.root.Lstat(top); err == nil && !info.IsDir() {
			continue // the files behind a link have other paths
		}
		err := fs.WalkDir(f.root.FS(), top, func(name string, e fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return err
			case e.IsDir():
				dirs = append(dirs, name)
				return nil
			case keep[name]:
				return nil
			}
			return f.staleFile(name, e)
		})
		if err != nil {
			return err
		}
	}
	if !f.Prune {
		return nil
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		_ = f.root.Remove(dirs[i]) // fails unless it is empty
	}
	return nil
}

func (f *fetcher) staleFile(name string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	f.stale++
	f.staleBytes += info.Size()
	if f.Prune {
		return f.root.Remove(name)
	}
	return nil
}

// current returns the paths of the files that belong to the lock.
func (f *fetcher) current() (map[string]bool, error) {
	keep := map[string]bool{}
	for _, it := range f.items {
		keep[it.path] = true
	}
	for _, page := range f.pages {
		keep[page] = true
	}
	for _, b := range f.Lock.Bases {
		if err := f.baseBlobs(b, keep); err != nil {
			return nil, err
		}
	}
	return keep, nil
}

// baseBlobs adds the blobs of a base image.
func (f *fetcher) baseBlobs(b lock.Base, keep map[string]bool) error {
	manifest := blobPath(b.Digest)
	keep[manifest] = true
	data, err := f.root.ReadFile(manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	m, err := ocijson.Parse(data)
	if err != nil {
		return err
	}
	blobs := m.Layers
	if m.Config != nil {
		blobs = append(blobs, *m.Config)
	}
	for _, d := range blobs {
		keep[blobPath(d.Digest)] = true
	}
	return nil
}
