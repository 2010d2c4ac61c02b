package inputs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bootstrap"
	"github.com/kolla-build/kolla-build/pkg/lock"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// writeBases writes the base images of the lock, and notes the blobs that are new.
func (f *fetcher) writeBases(ctx context.Context) error {
	if len(f.Lock.Bases) == 0 && !f.fetched.paths[layoutIndex] {
		return nil // fetch has written no layout
	}
	if err := f.checkLayout(); err != nil {
		return err
	}
	if err := f.fetched.add(layoutIndex); err != nil {
		return err
	}
	existing := f.blobs()
	err := f.Images(ctx, f.Lock.Bases, filepath.Join(f.Dir, "oci"))
	for name := range f.blobs() {
		if !existing[name] {
			err = errors.Join(err, f.fetched.add(name))
		}
	}
	return err
}

// checkLayout refuses an index that fetch has not written, unless all its images are base images of
// the lock, or of the one that the directory has: releases without a list wrote such an index.
func (f *fetcher) checkLayout() error {
	if f.fetched.paths[layoutIndex] {
		return nil
	}
	file, err := openIn(f.root, layoutIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	name := filepath.Join(f.Dir, layoutIndex)
	if err != nil {
		return fmt.Errorf("%s: %w", name, inputfile.WithoutPath(err))
	}
	defer file.Close()
	bases := slices.Clone(f.Lock.Bases)
	if earlier, err := lock.Read(filepath.Join(f.Dir, lock.FileName)); err == nil {
		bases = append(bases, earlier.Bases...)
	}
	data, err := inputfile.ReadAll(file, name, ocijson.MaxBytes)
	var images []ocispec.Descriptor
	if err == nil {
		images, err = ocijson.ParseLayoutIndex(data, len(bases))
	}
	for _, image := range images {
		if !slices.ContainsFunc(bases, func(b lock.Base) bool { return b.Digest == image.Digest }) {
			err = fmt.Errorf("it has %s, which is in no lock of this directory", image.Digest)
		}
	}
	if err != nil {
		return usererr.Errorf("move it away, or name another directory with --output", "%s is not replaced: %w", name, err)
	}
	return nil
}

// blobs returns the paths of the blobs that exist.
func (f *fetcher) blobs() map[string]bool {
	const dir = "oci/blobs/sha256"
	names := map[string]bool{}
	entries, _ := fs.ReadDir(f.root.FS(), dir) // without it, no blob is noted as new
	for _, e := range entries {
		names[path.Join(dir, e.Name())] = true
	}
	return names
}

// WriteBases writes base images into an OCI layout, whose index has no others then. image returns
// one of them.
func WriteBases(ctx context.Context, bases []lock.Base, dir string,
	image func(context.Context, lock.Base) (v1.Image, error)) error {
	if err := removeDamagedBlobs(ctx, dir); err != nil {
		return err
	}
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("writing the OCI layout: %w", err)
	}
	for _, b := range bases {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		img, err := image(ctx, b)
		if err != nil {
			return fmt.Errorf("base image %s: %w", b.Name, err)
		}
		if d, err := img.Digest(); err != nil || d.String() != b.Digest.String() {
			return fmt.Errorf("base image %s: its digest is %s, the lock has %s", b.Name, d, b.Digest)
		}
		platform, err := v1.ParsePlatform(b.Platform)
		if err != nil {
			return fmt.Errorf("base image %s: platform %q: %w", b.Name, b.Platform, err)
		}
		name := map[string]string{ocispec.AnnotationRefName: layoutName(bases, b)}
		if err := p.AppendImage(img, layout.WithAnnotations(name), layout.WithPlatform(*platform)); err != nil {
			return fmt.Errorf("base image %s: writing the OCI layout: %w", b.Name, err)
		}
	}
	return nil
}

// layoutName is the name of a base image in the layout: its own, with its platform if
// there are several.
func layoutName(bases []lock.Base, b lock.Base) string {
	for _, other := range bases {
		if other.Name == b.Name && other.Platform != b.Platform {
			return b.Name + "@" + b.Platform
		}
	}
	return b.Name
}

// removeDamagedBlobs removes blobs whose content does not match their names, such as
// those of an interrupted copy.
func removeDamagedBlobs(ctx context.Context, dir string) error {
	blobs := filepath.Join(dir, "blobs", "sha256")
	entries, err := os.ReadDir(blobs)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if digest.NewDigestFromEncoded(digest.SHA256, e.Name()).Validate() != nil {
			continue // a file of the user
		}
		name := filepath.Join(blobs, e.Name())
		if !e.Type().IsRegular() { // opening a pipe would block
			if err := os.Remove(name); err != nil {
				return err
			}
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil {
			err = verify(ctx, f, digest.NewDigestFromEncoded(digest.SHA256, e.Name()), info.Size())
		}
		f.Close()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// ImportBases stores the base images in a store, and calls named with the digest of
// each.
func (d *Dir) ImportBases(ctx context.Context, st *store.Store, named func(lock.Base) error) error {
	for _, b := range d.lock.Bases {
		if _, ok, err := st.ByDigest(b.Digest); err != nil || !ok {
			if err := d.checkBase(b); err != nil {
				return usererr.WithHint(fmt.Errorf("base image %s: %w", b.Name, err), adviceIncomplete)
			}
			e, err := bootstrap.Import(ctx, st, filepath.Join(d.path, "oci"),
				bootstrap.ImportOptions{Name: layoutName(d.lock.Bases, b), Platform: b.Platform})
			if err != nil {
				return err
			}
			if e.Digest != b.Digest {
				return fmt.Errorf("base image %s: %s has %s, the lock has %s", b.Name, filepath.Join(d.path, "oci"), e.Digest,
					b.Digest)
			}
		}
		if err := named(b); err != nil {
			return err
		}
	}
	return nil
}

// checkBase checks that the layout has all blobs of an image, as regular files within
// the directory.
func (d *Dir) checkBase(b lock.Base) error {
	blobs, err := baseBlobs(d.root, b)
	if err != nil {
		return err
	}
	for _, desc := range blobs {
		name := blobPath(desc.Digest)
		switch info, err := d.root.Stat(name); {
		case err != nil:
			return fmt.Errorf("%s: %w", filepath.Join(d.path, name), inputfile.WithoutPath(err))
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s: not a regular file", filepath.Join(d.path, name))
		case info.Size() != desc.Size:
			return fmt.Errorf("%s: %d bytes instead of %d", filepath.Join(d.path, name), info.Size(), desc.Size)
		}
	}
	return nil
}

// baseBlobs returns the config and the layers of a base image, from its manifest in the layout.
func baseBlobs(root *os.Root, b lock.Base) ([]ocispec.Descriptor, error) {
	name := filepath.Join(root.Name(), blobPath(b.Digest))
	f, err := openIn(root, blobPath(b.Digest))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, inputfile.WithoutPath(err))
	}
	defer f.Close()
	data, err := inputfile.ReadAll(f, name, ocijson.MaxBytes)
	if err != nil {
		return nil, err
	}
	if digest.FromBytes(data) != b.Digest {
		return nil, fmt.Errorf("%s does not have its digest", name)
	}
	m, err := ocijson.Parse(data)
	if err == nil && m.Config == nil {
		err = errors.New("it has no config")
	}
	if err != nil {
		return nil, fmt.Errorf("its manifest: %w", err)
	}
	blobs := append(m.Layers, *m.Config)
	for _, desc := range blobs {
		if err := desc.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("its manifest: %w", err)
		}
	}
	return blobs, nil
}

func blobPath(d digest.Digest) string {
	return path.Join("oci", "blobs", d.Algorithm().String(), strings.ReplaceAll(d.Encoded(), "/", "_"))
}
