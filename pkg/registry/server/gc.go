package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// GCOptions are the settings of garbage collection.
type GCOptions struct {
	// Untagged removes manifests without a tag, too, unless they are part of a tagged
	// index or refer to a kept image as their subject. They include images of a set that
	// was pushed but not committed.
	Untagged bool
	// Unused keeps content that a client has used within this time. 0 disables this; in
	// a running registry the minimum is MinUnused.
	Unused time.Duration
	DryRun bool // change nothing
}

// MinUnused is the smallest GCOptions.Unused of a running registry: it covers the time
// between a client's look-up of a blob and its push of the manifest that refers to it.
const MinUnused = time.Minute

// GCResult counts the content that garbage collection removed, or would remove in a dry
// run.
type GCResult struct {
	Freed     int64 `json:"freed"` // bytes
	Blobs     int   `json:"blobs"`
	Manifests int   `json:"manifests"`
}

// GarbageCollect removes abandoned uploads and unreferenced content from the directory of
// an embedded registry. If the registry is running, the error is a *DirError, and
// CollectRunning must be used.
func GarbageCollect(ctx context.Context, dir string, opts GCOptions) (GCResult, error) {
	if _, err := os.Stat(dir); err != nil {
		return GCResult{}, &DirError{Dir: dir, Err: err}
	}
	if used, err := checkDir(dir); err != nil || !used {
		return GCResult{}, err // nothing was ever pushed
	}
	if _, err := os.Stat(filepath.Join(dir, treeDir)); err != nil {
		return GCResult{}, nil
	}
	if opts.DryRun {
		if err := checkUnlocked(dir); err != nil {
			return GCResult{}, err
		}
	} else {
		lock, err := lockDir(dir, "collects garbage")
		if err != nil {
			return GCResult{}, err
		}
		defer lock.Close()
	}
	uploads, err := uploadSize(dir)
	if err != nil {
		return GCResult{}, err
	}
	log := &requestLog{}
	if !opts.DryRun {
		if err := repair(dir, log.printf); err != nil {
			return GCResult{}, fmt.Errorf("repairing the registry in %s: %w", dir, err)
		}
	}
	result, err := collect(ctx, newUsage(dir), opts)
	result.Freed += uploads
	if err != nil {
		err = fmt.Errorf("collecting garbage in %s: %w", dir, err)
	}
	return result, err
}

// collect removes content that no kept manifest refers to. Clients may use the registry at
// the same time.
func collect(ctx context.Context, use *contentUse, opts GCOptions) (GCResult, error) {
	c := &collector{use: use, opts: opts, blobs: map[digest.Digest]bool{}, manifests: map[digest.Digest]manifest{}}
	var repositories []repository
	dir := filepath.Dir(filepath.Dir(filepath.Dir(use.tree)))
	err := eachRepository(dir, func(name, path string) error {
		r := repository{name: name, path: path, kept: map[digest.Digest]bool{}}
		if err := c.mark(&r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		repositories = append(repositories, r)
		return ctx.Err()
	})
	if err != nil {
		return GCResult{}, err
	}
	for _, r := range repositories {
		if err := c.sweepManifests(ctx, r); err != nil {
			return c.result, err
		}
	}
	if err := c.sweepBlobs(ctx); err != nil {
		return c.result, err
	}
	if !opts.DryRun {
		for _, r := range repositories {
			if err := c.sweepLinks(ctx, r); err != nil {
				return c.result, err
			}
		}
	}
	return c.result, nil
}

// collector is one run of garbage collection.
type collector struct {
	use       *contentUse
	opts      GCOptions
	blobs     map[digest.Digest]bool     // to keep
	manifests map[digest.Digest]manifest // read so far
	result    GCResult
}

// repository is a repository with the manifests that are kept in it.
type repository struct {
	name, path string
	revisions  []digest.Digest
	kept       map[digest.Digest]bool
}

// mark finds the manifests of a repository that are kept, and the content that they
// refer to.
func (c *collector) mark(repo *repository) error {
	links, err := filepath.Glob(filepath.Join(escape(repo.path), "_manifests", "revisions", "*", "*", "link"))
	if err != nil {
		return err
	}
	referrers := map[digest.Digest][]digest.Digest{} // by subject
	var roots []digest.Digest
	for _, link := range links {
		d, err := linked(link)
		if err != nil {
			return err
		}
		if d == "" {
			continue
		}
		repo.revisions = append(repo.revisions, d)
		m, err := c.read(d)
		if err != nil {
			return err
		}
		if m.Subject != nil {
			referrers[m.Subject.Digest] = append(referrers[m.Subject.Digest], d)
		}
		if !c.opts.Untagged || c.recent(d) {
			roots = append(roots, d)
		}
	}
	// Tags are read after the manifests: the manifest of a tag that is put in between is
	// recent.
	tags, err := os.ReadDir(filepath.Join(repo.path, "_manifests", "tags"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, tag := range tags {
		d, err := linked(filepath.Join(repo.path, "_manifests", "tags", tag.Name(), "current", "link"))
		if err != nil {
			return err
		}
		if d != "" {
			roots = append(roots, d)
		}
	}
	for len(roots) > 0 {
		d := roots[len(roots)-1]
		roots = roots[:len(roots)-1]
		if repo.kept[d] {
			continue
		}
		repo.kept[d], c.blobs[d] = true, true
		m, err := c.read(d)
		if err != nil {
			return err
		}
		for _, b := range m.blobs() {
			c.blobs[b] = true
			c.blobs[aliasTarget(c.use.tree, repo.name, b)] = true
		}
		roots = append(roots, m.children()...)
		roots = append(roots, referrers[d]...)
	}
	return nil
}

// read reads a manifest. A missing one, which a client has deleted, and content that is
// not a manifest have no references. Any other error ends the collection, because the
// references of such a manifest must be kept.
func (c *collector) read(d digest.Digest) (manifest, error) {
	if m, ok := c.manifests[d]; ok {
		return m, nil
	}
	m, err := readManifest(c.use.blob(d))
	var pe *fs.PathError
	switch {
	case err == nil:
		c.manifests[d] = m
	case errors.As(err, &pe) && !errors.Is(err, fs.ErrNotExist):
		return manifest{}, err
	}
	return m, nil
}

// linked is like readLink, without an error for a missing link.
func linked(path string) (digest.Digest, error) {
	f, err := inputfile.OpenRegular(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "", nil
	case err != nil:
		return "", err
	}
	f.Close()
	return readLink(path), nil
}

func (c *collector) recent(d digest.Digest) bool {
	c.use.mu.Lock()
	defer c.use.mu.Unlock()
	return c.opts.Unused > 0 && c.use.usedSince(d, c.opts.Unused)
}

// remove removes content with removeFile, unless a client uses it. A request records the use
// before it checks whether the content exists, so it finds all of it or nothing.
func (c *collector) remove(d digest.Digest, removeFile func() error) (removed bool, err error) {
	c.use.mu.Lock()
	defer c.use.mu.Unlock()
	if c.use.unresolved > 0 || (c.opts.Unused > 0 && c.use.usedSince(d, c.opts.Unused)) {
		return false, nil
	}
	if c.opts.DryRun {
		return true, nil
	}
	return true, removeFile()
}

// sweepManifests removes the manifests of a repository that are not kept.
func (c *collector) sweepManifests(ctx context.Context, r repository) error {
	for _, d := range r.revisions {
		if r.kept[d] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		removed, err := c.remove(d, func() error {
			name := filepath.Join(d.Algorithm().String(), d.Encoded())
			former, err := filepath.Glob(filepath.Join(escape(r.path), "_manifests", "tags", "*", "index", name))
			if err != nil {
				return err
			}
			for _, path := range append(former, filepath.Join(r.path, "_manifests", "revisions", name)) {
				if err := os.RemoveAll(path); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s@%s: %w", r.name, d, err)
		}
		if removed {
			c.result.Manifests++
		}
	}
	return nil
}

// sweepBlobs removes the blobs that nothing refers to.
func (c *collector) sweepBlobs(ctx context.Context) error {
	root := filepath.Join(c.use.tree, "blobs")
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // nothing was ever pushed, or a client deletes it
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case e.Name() != "data" || e.IsDir():
			return nil
		}
		hex := filepath.Dir(path)
		d := validDigest(filepath.Base(filepath.Dir(filepath.Dir(hex))) + ":" + filepath.Base(hex))
		if d == "" || c.blobs[d] {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		removed, err := c.remove(d, func() error { return os.RemoveAll(hex) })
		if err == nil && removed {
			c.result.Blobs++
			c.result.Freed += info.Size()
		}
		return err
	})
}

// sweepLinks removes a repository's references to blobs that do not exist.
func (c *collector) sweepLinks(ctx context.Context, r repository) error {
	links, err := filepath.Glob(filepath.Join(escape(r.path), "_layers", "*", "*", "link"))
	if err != nil {
		return err
	}
	for _, link := range links {
		if err := ctx.Err(); err != nil {
			return err
		}
		d := readLink(link)
		if d == "" {
			continue
		}
		_, err := c.remove(d, func() error {
			if _, err := os.Stat(c.use.blob(d)); err == nil || !errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return os.RemoveAll(filepath.Dir(link))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// uploadSize returns the size in bytes of abandoned uploads.
func uploadSize(dir string) (n int64, err error) {
	err = eachRepository(dir, func(_, path string) error {
		return filepath.WalkDir(filepath.Join(path, "_uploads"), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil // it has none
			}
			if info, err := e.Info(); err == nil {
				n += info.Size()
			}
			return nil
		})
	})
	return n, err
}
