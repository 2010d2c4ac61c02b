package server

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// An abandoned upload occupies disk space. Clients continue an upload soon or begin
// again, so uploads that are idle for longer are removed.
const (
	purgeAge      = time.Hour
	purgeInterval = 10 * time.Minute
)

// purger removes abandoned uploads.
type purger struct {
	dir  string
	quit chan struct{}
	wg   sync.WaitGroup
}

// start removes uploads periodically, until stop is called.
func (p *purger) start() {
	p.wg.Go(func() {
		tick := time.NewTicker(purgeInterval)
		defer tick.Stop()
		for {
			select {
			case <-p.quit:
				return
			case now := <-tick.C:
				_ = p.purge(now.Add(-purgeAge)) // the next purge finds it again
			}
		}
	})
}

func (p *purger) stop() {
	close(p.quit)
	p.wg.Wait()
}

// purge removes uploads that have not been written to since a time.
func (p *purger) purge(before time.Time) error {
	return eachRepository(p.dir, func(_, path string) error {
		uploads, err := os.ReadDir(filepath.Join(path, "_uploads"))
		if err != nil {
			return nil // it has none
		}
		for _, u := range uploads {
			upload := filepath.Join(path, "_uploads", u.Name())
			if last, err := lastWrite(upload); err != nil || last.After(before) {
				continue
			}
			if err := os.RemoveAll(upload); err != nil {
				return err
			}
		}
		return nil
	})
}

// lastWrite returns when a file below a path was last written.
func lastWrite(path string) (last time.Time, err error) {
	err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
		return err
	})
	return last, err
}

// remove removes one upload of a repository. The distribution has accepted a request with
// this name and upload.
func (p *purger) remove(name, upload string) {
	path := filepath.Join(p.dir, treeDir, "repositories", filepath.FromSlash(name), "_uploads", upload)
	if filepath.IsLocal(filepath.FromSlash(name)) {
		_ = os.RemoveAll(path) // purge finds it again
	}
}
