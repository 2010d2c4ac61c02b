package bootstrap

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/untar"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// importDocker stores an image of an archive in the format of docker save before 25.0.
// Its layers are not compressed; the store compresses them.
func importDocker(ctx context.Context, st *store.Store, path string, opts ImportOptions) (store.Entry, error) {
	var none store.Entry
	if err := checkDocuments(ctx, path); err != nil {
		return none, err
	}
	opener := func() (io.ReadCloser, error) { return untar.Open(path) }
	m, err := tarball.LoadManifest(opener)
	if err != nil {
		return none, fmt.Errorf("manifest.json: %w", err)
	}
	var available []string
	for _, d := range m {
		if len(d.RepoTags) == 0 {
			available = append(available, "")
		}
		available = append(available, d.RepoTags...)
	}
	if len(m) == 1 && opts.Name == "" {
		available = available[:1]
	}
	i, err := choose(available, opts.Name)
	if err != nil {
		return none, err
	}
	sel, err := selectDocker(available[i])
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
	return store.Entry{Name: available[i], Digest: d}, st.Check(ctx, d)
}

// checkDocuments checks manifest.json and the configs that it names before other
// parsers read them.
func checkDocuments(ctx context.Context, path string) error {
	configs := map[string]bool{}
	err := eachDocument(ctx, path, map[string]bool{"manifest.json": true}, func(b []byte) error {
		dec := json.NewDecoder(bytes.NewReader(b))
		if t, err := dec.Token(); err != nil || t != json.Delim('[') {
			return errors.New("not an array")
		}
		for n := 0; dec.More(); n++ {
			if n == maxImages {
				return fmt.Errorf("more than %d images", maxImages)
			}
			var entry struct{ Config string }
			if err := dec.Decode(&entry); err != nil {
				return err
			}
			configs[entry.Config] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	return eachDocument(ctx, path, configs, isConfig)
}

// eachDocument calls check with the content of the named members of an archive.
func eachDocument(ctx context.Context, path string, names map[string]bool, check func([]byte) error) error {
	r, err := untar.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	return untar.Each(ctx, r, rootfsLimits, func(h *tar.Header, content io.Reader) error {
		switch {
		case !names[h.Name]:
			return nil
		case h.Typeflag != tar.TypeReg:
			return &untar.UnsafeError{Member: h.Name, Problem: "it is not a regular file"}
		case h.Size > ocijson.MaxBytes:
			return &untar.UnsafeError{Member: h.Name, Problem: "it is larger than " + units.Bytes(ocijson.MaxBytes)}
		}
		b, err := io.ReadAll(content)
		if err == nil {
			err = check(b)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		return nil
	})
}

// checkDocker compares the layers with the diff IDs in the configuration: this format
// contains no other digests of layers.
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
			return fmt.Errorf("layer %d of %d has digest %s, but %s in the configuration", i+1, len(layers), h.Digest(),
				c.RootFS.DiffIDs[i])
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
