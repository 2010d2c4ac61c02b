package bootstrap

import (
	"context"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/untar"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// importDocker stores an image of an archive in the format of docker save before 25.0.
// Its layers are not compressed; the store compresses them.
func importDocker(ctx context.Context, st *store.Store, path string, opts ImportOptions) (store.Entry, error) {
	var none store.Entry
	opener := func() (io.ReadCloser, error) { return untar.Open(path) }
	m, err := tarball.LoadManifest(opener)
	if err != nil {
		return none, fmt.Errorf("manifest.json: %w", err)
	}
	var have []string
	for _, d := range m {
		if len(d.RepoTags) == 0 {
			have = append(have, "")
		}
		have = append(have, d.RepoTags...)
	}
	if len(m) == 1 && opts.Name == "" {
		have = have[:1]
	}
	i, err := choose(have, opts.Name)
	if err != nil {
		return none, err
	}
	sel, err := selectDocker(have[i])
	if err != nil {
		return none, err
	}
	img, err := tarball.Image(opener, sel)
	if err != nil {
		return none, err
	}
	if err := checkDocker(img); err != nil {
		return none, err
	}
	d, err := st.WriteImage(ctx, img)
	if err != nil {
		return none, err
	}
	return store.Entry{Name: have[i], Digest: d}, st.Check(ctx, d)
}

// checkDocker compares the layers with the diff IDs in the configuration: this format
// has no other digests of layers.
func checkDocker(img v1.Image) error {
	c, err := img.ConfigFile()
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	if len(layers) != len(c.RootFS.DiffIDs) {
		return fmt.Errorf("%d layers, but %d in the configuration", len(layers), len(c.RootFS.DiffIDs))
	}
	for i, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			return fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		}
		h := digest.Canonical.Digester()
		n, err := io.Copy(h.Hash(), io.LimitReader(r, rootfsLimits.Bytes))
		r.Close()
		switch {
		case err != nil:
			return fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		case n == rootfsLimits.Bytes:
			return fmt.Errorf("layer %d of %d is larger than %s", i+1, len(layers), units.Bytes(n))
		case h.Digest().String() != c.RootFS.DiffIDs[i].String():
			return fmt.Errorf("layer %d of %d has digest %s, but %s in the configuration", i+1, len(layers), h.Digest(), c.RootFS.DiffIDs[i])
		}
	}
	return nil
}

// selectDocker returns the tag by which go-containerregistry selects an image, or nil
// for the only one.
func selectDocker(ref string) (*name.Tag, error) {
	if ref == "" {
		return nil, nil
	}
	t, err := name.NewTag(ref)
	if err != nil {
		return nil, fmt.Errorf("image name %q: %w", ref, err)
	}
	return &t, nil
}
