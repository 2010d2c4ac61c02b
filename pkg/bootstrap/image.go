package bootstrap

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/store"
)

// writeSingleLayer stores an image with one layer, whose tar write writes, and returns
// its digest. It sets the root file system of the configuration, which is called after
// write. If write fails, nothing is stored.
func writeSingleLayer(ctx context.Context, st *store.Store, config func() ocispec.Image,
	write func(io.Writer) error) (digest.Digest, error) {
	pr, pw := io.Pipe()
	diff := digest.Canonical.Digester()
	done := make(chan error, 1)
	go func() {
		out := bufio.NewWriterSize(pw, 256<<10) // the library writes 246 bytes at a time
		z := gzip.NewWriter(out)
		err := write(io.MultiWriter(z, diff.Hash()))
		if err == nil {
			err = z.Close()
		}
		if err == nil {
			err = out.Flush()
		}
		pw.CloseWithError(err)
		done <- err
	}()
	d, n, err := st.WriteBlob(ctx, pr, "", -1)
	pr.CloseWithError(errors.New("the store stopped reading"))
	// An error of the store, such as a full disk, makes the writer fail too: then
	// the error of the store is the cause.
	if writeErr := <-done; err == nil || writeErr != nil && errors.Is(err, writeErr) {
		err = writeErr
	}
	if err != nil {
		return "", err
	}
	layer := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: n}

	c := config()
	c.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff.Digest()}}
	cd, err := writeJSON(ctx, st, ocispec.MediaTypeImageConfig, c)
	if err != nil {
		return "", err
	}
	md, err := writeJSON(ctx, st, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: cd, Layers: []ocispec.Descriptor{layer},
	})
	return md.Digest, err
}

func writeJSON(ctx context.Context, st *store.Store, mediaType string, v any) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("writing image: %w", err)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	_, _, err = st.WriteBlob(ctx, bytes.NewReader(b), d.Digest, d.Size)
	return d, err
}
