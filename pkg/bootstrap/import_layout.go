package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// importLayout stores an image of a directory with an OCI layout.
func importLayout(ctx context.Context, st *store.Store, dir string, opts ImportOptions) (store.Entry, error) {
	idx, m, err := openLayout(ctx, dir)
	if err != nil {
		return store.Entry{}, usererr.Errorf("an OCI layout is a directory with oci-layout, index.json and blobs/",
			"not an OCI layout: %w", inputfile.PlainError(err))
	}
	images, names := imagesOf(m, opts.Name == "")
	i, err := choose(names, opts.Name)
	if err != nil {
		return store.Entry{}, err
	}
	img, d, err := layoutImage(ctx, dir, idx, images[i], opts)
	if err != nil {
		return store.Entry{}, err
	}
	e := store.Entry{Name: names[i]}
	if e.Digest, err = st.WriteImage(ctx, img); err != nil {
		return store.Entry{}, err
	}
	// The store verifies the blobs. The digest of the manifest is from the index.
	if e.Digest != d {
		return store.Entry{}, fmt.Errorf("manifest %s: the content has digest %s", d, e.Digest)
	}
	return e, st.Check(ctx, e.Digest)
}

// openLayout opens the index of a foreign layout, which it checks first.
func openLayout(ctx context.Context, dir string) (v1.ImageIndex, *v1.IndexManifest, error) {
	if _, err := os.Stat(filepath.Join(dir, ocispec.ImageLayoutFile)); err != nil {
		return nil, nil, err
	}
	p, err := layout.FromPath(dir)
	if err != nil {
		return nil, nil, err
	}
	if err := checkDocument(ctx, filepath.Join(dir, ocispec.ImageIndexFile), maxIndex, func(b []byte) error {
		_, err := ocijson.ParseLayoutIndex(b, maxImages)
		return err
	}); err != nil {
		return nil, nil, err
	}
	idx, err := p.ImageIndex()
	if err != nil {
		return nil, nil, err
	}
	m, err := idx.IndexManifest()
	return idx, m, err
}

// imagesOf returns the images of a layout with their names, "" for none. If each is wanted
// once, those of an image with several names are left out, except for the first.
func imagesOf(m *v1.IndexManifest, once bool) (images []v1.Descriptor, names []string) {
	for _, d := range m.Manifests {
		name := d.Annotations["io.containerd.image.name"]
		if name == "" {
			name = d.Annotations[ocispec.AnnotationRefName]
		}
		if once && slices.ContainsFunc(images, func(o v1.Descriptor) bool { return o.Digest == d.Digest }) {
			continue
		}
		images, names = append(images, d), append(names, name)
	}
	return images, names
}

// layoutImage returns the image of an entry of a layout's index, for the wanted platform if
// the entry is an index, and the digest of its manifest. The documents of the image are
// checked.
func layoutImage(ctx context.Context, dir string, idx v1.ImageIndex, d v1.Descriptor, opts ImportOptions) (
	v1.Image, digest.Digest, error) {
	if d.MediaType.IsIndex() {
		if err := checkBlob(ctx, dir, digest.Digest(d.Digest.String()), isManifest); err != nil {
			return nil, "", err
		}
		platforms, err := idx.ImageIndex(d.Digest)
		if err != nil {
			return nil, "", err
		}
		if d, err = platformOf(platforms, opts); err != nil {
			return nil, "", err
		}
		idx = platforms
	}
	manifest := digest.Digest(d.Digest.String())
	if err := checkBlob(ctx, dir, manifest, isManifest); err != nil {
		return nil, "", err
	}
	img, err := idx.Image(d.Digest)
	if err != nil {
		return nil, "", err
	}
	m, err := img.Manifest()
	if err != nil {
		return nil, "", fmt.Errorf("manifest %s: %w", manifest, err)
	}
	return img, manifest, checkBlob(ctx, dir, digest.Digest(m.Config.Digest.String()), isConfig)
}

// Limits of the index of a foreign layout.
const (
	maxIndex  = 16 << 20 // bytes
	maxImages = 10_000
)

func isManifest(b []byte) error {
	_, err := ocijson.Parse(b)
	return err
}

func isConfig(b []byte) error {
	_, err := ocijson.ParseConfig(b)
	return err
}

// checkBlob checks a manifest, index or config of a foreign layout before other parsers
// read it.
func checkBlob(ctx context.Context, dir string, d digest.Digest, check func([]byte) error) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d, err)
	}
	err := checkDocument(ctx, filepath.Join(dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded()),
		ocijson.MaxBytes, check)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("blob %s is missing", d)
	case err != nil:
		return fmt.Errorf("blob %s: %w", d, err)
	}
	return nil
}

// checkDocument checks a regular file of at most limit bytes.
func checkDocument(ctx context.Context, path string, limit int64, check func([]byte) error) error {
	if fi, err := os.Stat(path); err != nil {
		return err
	} else if !fi.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", filepath.Base(path))
	}
	b, err := inputfile.Read(ctx, path, limit)
	if err != nil {
		return err
	}
	return check(b)
}
