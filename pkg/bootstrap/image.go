package bootstrap

import (
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

// writeSingleLayer makes an image of one layer, whose tar write produces, and
// returns its digest. The config's root file system is filled in here. An
// error of write leaves no blob.
func writeSingleLayer(ctx context.Context, st *store.Store, config func() ocispec.Image, write func(io.Writer) error) (digest.Digest, error) {
	pr, pw := io.Pipe()
	diff := digest.Canonical.Digester()
	done := make(chan error, 1)
	go func() {
		z := gzip.NewWriter(pw)
		err := write(io.MultiWriter(z, diff.Hash()))
		if err == nil {
			err = z.Close()
		}
		pw.CloseWithError(err)
		done <- err
	}()
	d, n, err := st.WriteBlob(ctx, pr, "", -1)
	pr.CloseWithError(errors.New("the store takes no more"))
	if werr := <-done; err == nil || werr != nil && isCause(err, werr) {
		err = werr
	}
	if err != nil {
		return "", err
	}
	layer := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: d, Size: n}

	// Only now is everything known that the config tells.
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

// isCause tells an error of the writer, which comes back through the pipe, from
// one of the store, such as a full disk, which makes the writer fail as well.
func isCause(err, werr error) bool { return errors.Is(err, werr) }

func writeJSON(ctx context.Context, st *store.Store, mediaType string, v any) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("writing image: %w", err)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	_, _, err = st.WriteBlob(ctx, bytes.NewReader(b), d.Digest, d.Size)
	return d, err
}
