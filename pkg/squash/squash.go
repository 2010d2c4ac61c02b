package squash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Version is part of the keys of squashed images. It must be changed whenever the same
// layers give different bytes.
const Version = "2"

// Blobs stores the blobs of a squashed image.
type Blobs interface {
	// WriteBlob stores the content of r and returns its digest and size. want and
	// size are "" and -1 if they are not known.
	WriteBlob(ctx context.Context, r io.Reader, want digest.Digest, size int64) (digest.Digest, int64, error)
}

// Result is a squashed image.
type Result struct {
	Manifest digest.Digest
	Squashed int // number of layers that were merged, 0 if the image is unchanged
}

// Image merges the layers that img adds to parent, writes the new blobs and returns
// the new manifest's digest. parent is nil for an image without one. An image that
// adds one layer or none is unchanged.
func Image(ctx context.Context, img, parent v1.Image, blobs Blobs) (Result, error) {
	raw, err := img.RawManifest()
	if err != nil {
		return Result{}, err
	}
	layers, err := img.Layers()
	if err != nil {
		return Result{}, err
	}
	keptLayers, history, err := shared(img, parent)
	if err != nil {
		return Result{}, err
	}
	if len(layers)-keptLayers < 2 {
		return Result{Manifest: digest.FromBytes(raw)}, nil
	}
	m, err := merge(ctx, layers[:keptLayers], layers[keptLayers:])
	if err != nil {
		return Result{}, err
	}
	diffID, desc, err := m.store(ctx, layers[keptLayers:], blobs)
	if err != nil {
		return Result{}, err
	}
	var man ocispec.Manifest
	if err := json.Unmarshal(raw, &man); err != nil {
		return Result{}, err
	}
	desc.MediaType = ocispec.MediaTypeImageLayer
	if man.Config.MediaType != ocispec.MediaTypeImageConfig {
		desc.MediaType = "application/vnd.docker.image.rootfs.diff.tar"
	}
	man.Layers = append(man.Layers[:keptLayers:keptLayers], desc)
	conf, err := squashedConfig(img, keptLayers, history, len(layers)-keptLayers, diffID)
	if err != nil {
		return Result{}, err
	}
	if man.Config.Digest, man.Config.Size, err = blobs.WriteBlob(ctx, bytes.NewReader(conf), digest.FromBytes(conf),
		int64(len(conf))); err != nil {
		return Result{}, err
	}
	out, err := json.Marshal(man)
	if err != nil {
		return Result{}, err
	}
	d, _, err := blobs.WriteBlob(ctx, bytes.NewReader(out), digest.FromBytes(out), int64(len(out)))
	return Result{Manifest: d, Squashed: len(layers) - keptLayers}, err
}

// shared returns the number of layers and history entries that an image shares with its
// parent.
func shared(img, parent v1.Image) (layers, history int, err error) {
	if parent == nil {
		return 0, 0, nil
	}
	conf, err := img.ConfigFile()
	if err != nil {
		return 0, 0, err
	}
	pc, err := parent.ConfigFile()
	if err != nil {
		return 0, 0, err
	}
	diffIDs, parentIDs := conf.RootFS.DiffIDs, pc.RootFS.DiffIDs
	if len(parentIDs) > len(diffIDs) {
		return 0, 0, fmt.Errorf("the image has %d layers and its parent %d", len(diffIDs), len(parentIDs))
	}
	for i := range parentIDs {
		if diffIDs[i] != parentIDs[i] {
			return 0, 0, fmt.Errorf("layer %d differs from the parent's", i+1)
		}
	}
	return len(parentIDs), min(len(pc.History), len(conf.History)), nil
}

// store writes the squashed layer, which is not compressed.
func (m *merged) store(ctx context.Context, layers []v1.Layer, blobs Blobs) (digest.Digest, ocispec.Descriptor, error) {
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := m.write(ctx, pw, layers)
		pw.CloseWithError(err)
		done <- err
	}()
	d, size, err := blobs.WriteBlob(ctx, pr, "", -1)
	pr.CloseWithError(err)
	werr := <-done
	if err == nil {
		err = werr
	}
	return d, ocispec.Descriptor{Digest: d, Size: size}, err
}

// squashedConfig returns the image's config with one layer in place of those that
// were merged. Their steps stay in the history as steps without a layer.
func squashedConfig(img v1.Image, keptLayers, history, squashed int, diffID digest.Digest) ([]byte, error) {
	raw, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	var conf map[string]json.RawMessage
	if err := json.Unmarshal(raw, &conf); err != nil {
		return nil, err
	}
	var root ocispec.RootFS
	var steps []ocispec.History
	if err := json.Unmarshal(conf["rootfs"], &root); err != nil {
		return nil, err
	}
	root.DiffIDs = append(root.DiffIDs[:keptLayers:keptLayers], diffID)
	if conf["rootfs"], err = json.Marshal(root); err != nil {
		return nil, err
	}
	if len(conf["history"]) > 0 {
		if err := json.Unmarshal(conf["history"], &steps); err != nil {
			return nil, err
		}
	}
	if len(steps) > 0 {
		for i := history; i < len(steps); i++ {
			steps[i].EmptyLayer = true
		}
		last := steps[len(steps)-1]
		steps = append(steps, ocispec.History{Created: last.Created, CreatedBy: "kolla-build --squash",
			Comment: fmt.Sprintf("%d layers made one", squashed)})
		if conf["history"], err = json.Marshal(steps); err != nil {
			return nil, err
		}
	}
	return json.Marshal(conf)
}
