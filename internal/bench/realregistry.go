package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// realRegistry is a registry with its own directory.
type realRegistry struct {
	host string
	dir  string
	stop func()
}

func (s *realSet) newRegistry(ctx context.Context, dir string) (*realRegistry, error) {
	r := &realRegistry{dir: filepath.Join(dir, "registry")}
	relative, err := filepath.Rel(s.b.dir, r.dir)
	if err != nil {
		return nil, err
	}
	if r.host, r.stop, err = s.b.registry(ctx, relative); err != nil {
		return nil, err
	}
	return r, s.pushBase(ctx, r.baseName())
}

// baseName is the name of the base image in the registry, where all contenders have it:
// it does not count as pushed.
func (r *realRegistry) baseName() string { return r.host + "/kolla/debian:trixie" }

func (s *realSet) pushBase(ctx context.Context, reference string) error {
	index, err := layout.ImageIndexFromPath(filepath.Join(s.base, "store"))
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	if len(manifest.Manifests) != 1 {
		return fmt.Errorf("%d base images, not 1", len(manifest.Manifests))
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return err
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		return err
	}
	return remote.Write(ref, image, remote.WithContext(ctx))
}

// size returns the bytes of the registry's blobs. Blobs that repositories share count
// once.
func (r *realRegistry) size() (int64, error) {
	var total int64
	err := filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the file of an upload, which has ended
		}
		if err != nil || e.Name() != "data" || e.IsDir() {
			return err
		}
		st, err := e.Info()
		if err == nil {
			total += st.Size()
		}
		return err
	})
	return total, err
}
