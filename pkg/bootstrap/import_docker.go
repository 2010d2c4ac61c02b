package bootstrap

import (
	"context"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/store"
)

// importDocker takes an image of what docker save wrote before it wrote OCI
// layouts. Its layers are not compressed; they are compressed on the way.
func importDocker(ctx context.Context, st *store.Store, path string, opts ImportOptions) (store.Entry, error) {
	var none store.Entry
	opener := func() (io.ReadCloser, error) { return openTar(path) }
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

// checkDocker compares layers with the config's diff ids, as nothing else in
// that format says what a layer should be.
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
		return fmt.Errorf("it has %d layers and its config %d", len(layers), len(c.RootFS.DiffIDs))
	}
	for i, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			return fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		}
		h := digest.Canonical.Digester()
		n, err := io.Copy(h.Hash(), io.LimitReader(r, maxRootfs))
		r.Close()
		switch {
		case err != nil:
			return fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		case n == maxRootfs:
			return fmt.Errorf("layer %d of %d is larger than %d GiB", i+1, len(layers), int64(maxRootfs)>>30)
		case h.Digest().String() != c.RootFS.DiffIDs[i].String():
			return fmt.Errorf("layer %d of %d has digest %s, its config says %s", i+1, len(layers), h.Digest(), c.RootFS.DiffIDs[i])
		}
	}
	return nil
}

// selectDocker makes what go-containerregistry wants to select an image by its
// tag; an image without one is the only one.
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
