package imagearchive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/pkg/compress"
)

// Images stores the configs and manifests of the images and returns them in the order
// of the archive. All members must have been added. They have no names in the store
// yet.
func (a *Archive) Images(ctx context.Context) ([]Image, error) {
	if f, err := a.find(ManifestFile); err == nil {
		return a.listedImages(ctx, f)
	}
	if _, ok := a.links[ManifestFile]; ok {
		_, err := a.find(ManifestFile)
		return nil, &Error{Member: ManifestFile, Detail: err.Error()}
	}
	return a.v1Images(ctx)
}

// listedImage is an entry of manifest.json.
type listedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// listedImages returns the images of manifest.json.
func (a *Archive) listedImages(ctx context.Context, f file) ([]Image, error) {
	fail := func(detail string, err error) ([]Image, error) {
		return nil, &Error{Member: ManifestFile, Detail: detail, Err: err}
	}
	var entries []listedImage
	dec := json.NewDecoder(bytes.NewReader(f.data))
	if token, err := dec.Token(); err != nil || token != json.Delim('[') {
		return fail("not a list of images", err)
	}
	for dec.More() {
		if len(entries) == maxImages {
			return fail(fmt.Sprintf("more than %d images", maxImages), nil)
		}
		var entry listedImage
		if err := dec.Decode(&entry); err != nil {
			return fail(fmt.Sprintf("image %d", len(entries)+1), ocijson.PlainError("it", err))
		}
		entries = append(entries, entry)
	}
	if _, err := dec.Token(); err != nil {
		return fail("it ends in the middle", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fail("there is more after the list of images", nil)
	}
	if len(entries) == 0 {
		return fail("it lists no image", nil)
	}
	out := make([]Image, len(entries))
	for i, entry := range entries {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		out[i].Names = entry.RepoTags
		if a.st == nil {
			continue
		}
		var err error
		if out[i].Digest, err = a.storeListed(ctx, entry); err != nil {
			return fail(describeImage(entry.RepoTags, i+1), err)
		}
	}
	return out, nil
}

// describeImage names an image in an error.
func describeImage(names []string, position int) string {
	if len(names) > 0 {
		return "image " + names[0]
	}
	return fmt.Sprintf("image %d", position)
}

// storeListed stores an image of manifest.json. Its config is not changed, so that the
// image keeps its ID.
func (a *Archive) storeListed(ctx context.Context, entry listedImage) (digest.Digest, error) {
	f, err := a.find(entry.Config)
	switch {
	case err != nil:
		return "", fmt.Errorf("config %q: %w", entry.Config, err)
	case f.layer != nil:
		return "", fmt.Errorf("config %q: it is a tar", entry.Config)
	}
	config, err := a.config(entry.Config, f.data)
	if err != nil {
		return "", fmt.Errorf("config %q: %w", entry.Config, err)
	}
	if len(config.DiffIDs) != len(entry.Layers) {
		return "", fmt.Errorf("config %q lists %d layers, %s lists %d", entry.Config, len(config.DiffIDs), ManifestFile,
			len(entry.Layers))
	}
	layers := make([]compress.Layer, len(entry.Layers))
	for i, name := range entry.Layers {
		l, err := a.layer(name)
		if err == nil && l.DiffID != config.DiffIDs[i] {
			err = fmt.Errorf("its content has digest %s, config %q says %s", l.DiffID, entry.Config, config.DiffIDs[i])
		}
		if err != nil {
			return "", fmt.Errorf("layer %d of %d, %q: %w", i+1, len(entry.Layers), name, err)
		}
		layers[i] = l
	}
	return a.storeManifest(ctx, f.data, layers)
}

// config parses the config with the given name, which many images may share.
func (a *Archive) config(name string, data []byte) (ocijson.Config, error) {
	if c, ok := a.configs[name]; ok {
		return c, nil
	}
	if m := hexName.FindStringSubmatch(name); m != nil {
		if got := digest.FromBytes(data); got.Encoded() != m[1] {
			return ocijson.Config{}, fmt.Errorf("its content has digest %s", got)
		}
	}
	c, err := ocijson.ParseConfig(data)
	if err == nil {
		a.configs[name] = c
	}
	return c, err
}

func (a *Archive) layer(name string) (compress.Layer, error) {
	f, err := a.find(name)
	switch {
	case err != nil:
		return compress.Layer{}, err
	case f.layer == nil:
		return compress.Layer{}, errors.New("it is not a layer: not a tar, compressed or not")
	}
	return *f.layer, nil
}

// storeManifest stores a config and a manifest.
func (a *Archive) storeManifest(ctx context.Context, config []byte, layers []compress.Layer) (digest.Digest, error) {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageConfig,
			Digest:    digest.FromBytes(config),
			Size:      int64(len(config)),
		},
		Layers: []ocispec.Descriptor{},
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, l.Descriptor)
	}
	if _, _, err := a.st.WriteBlob(ctx, bytes.NewReader(config), m.Config.Digest, m.Config.Size); err != nil {
		return "", err
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	d, _, err := a.st.WriteBlob(ctx, bytes.NewReader(raw), digest.FromBytes(raw), int64(len(raw)))
	return d, err
}
