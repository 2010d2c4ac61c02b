package registry

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ocijson"
)

// maxConfig is the size in bytes of the largest image config that is read.
const maxConfig = ocijson.MaxBytes

// remoteImage is what go-containerregistry needs to make an image: its manifest, and
// where its blobs are.
type remoteImage struct {
	ctx      context.Context // of Fetch: the library's interfaces pass none
	repo     *Repository
	manifest Manifest
	parsed   *v1.Manifest

	mu     sync.Mutex
	config []byte
}

// RawManifest implements partial.CompressedImageCore.
func (i *remoteImage) RawManifest() ([]byte, error) { return i.manifest.Raw, nil }

// MediaType implements partial.CompressedImageCore.
func (i *remoteImage) MediaType() (types.MediaType, error) {
	return types.MediaType(i.manifest.MediaType), nil
}

// RawConfigFile implements partial.CompressedImageCore.
func (i *remoteImage) RawConfigFile() ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.config != nil {
		return i.config, nil
	}
	d := digest.Digest(i.parsed.Config.Digest.String())
	if i.parsed.Config.Size > maxConfig {
		return nil, &SizeError{What: "image config " + d.String(), Limit: maxConfig}
	}
	body, err := i.repo.blob(i.ctx, d, i.parsed.Config.Size)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	config, err := io.ReadAll(body)
	if err != nil {
		return nil, i.repo.host.failure(i.repo.Name(), err)
	}
	if _, err := ocijson.ParseConfig(config); err != nil {
		return nil, fmt.Errorf("image config %s: %w", d, err)
	}
	i.config = config
	return config, nil
}

// LayerByDigest implements partial.CompressedImageCore.
func (i *remoteImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if h == i.parsed.Config.Digest {
		return partial.ConfigLayer(i)
	}
	for _, d := range i.parsed.Layers {
		if d.Digest == h {
			return &remoteLayer{image: i, desc: d}, nil
		}
	}
	return nil, fmt.Errorf("layer %s is not in the image", h)
}

type remoteLayer struct {
	image *remoteImage
	desc  v1.Descriptor
}

// Digest implements partial.CompressedLayer.
func (l *remoteLayer) Digest() (v1.Hash, error) { return l.desc.Digest, nil }

// Size implements partial.CompressedLayer.
func (l *remoteLayer) Size() (int64, error) { return l.desc.Size, nil }

// MediaType implements partial.CompressedLayer.
func (l *remoteLayer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }

// Compressed implements partial.CompressedLayer.
func (l *remoteLayer) Compressed() (io.ReadCloser, error) {
	return l.image.repo.blob(l.image.ctx, digest.Digest(l.desc.Digest.String()), l.desc.Size)
}

// blob opens a blob for reading. It is checked against its digest and size while it is
// read: no more than size bytes are delivered.
func (r *Repository) blob(ctx context.Context, d digest.Digest, size int64) (io.ReadCloser, error) {
	fail := func(err error) (io.ReadCloser, error) {
		return nil, r.host.failure(r.Name()+"@"+d.String(), err)
	}
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("blob %q: %w", d, err)
	}
	if size < 0 {
		return nil, fmt.Errorf("blob %s: its size is %d bytes", d, size)
	}
	ask := func(ctx context.Context, header http.Header) (*http.Response, error) {
		req, err := r.request(context.WithValue(ctx, keyResume, nil), http.MethodGet, "/blobs/"+d.String(), nil, nil)
		if err != nil {
			return nil, err
		}
		maps.Copy(req.Header, header)
		return r.host.do(req, r.ref.Path(), scope(r.ref.Path(), actionsPull))
	}
	req, err := r.request(context.WithValue(ctx, keyResume, askAgain(ask)), http.MethodGet, "/blobs/"+d.String(), nil, nil)
	if err != nil {
		return fail(err)
	}
	resp, err := r.exchange(req, actionsPull, http.StatusOK)
	if err != nil {
		return fail(err)
	}
	return &verifiedBody{body: resp.Body, description: "blob read from " + r.Name(), want: d, size: size, remaining: size,
		sum: d.Algorithm().Hash()}, nil
}

// verifiedBody reads content of a known digest and size.
type verifiedBody struct {
	body            io.ReadCloser
	description     string
	want            digest.Digest
	size, remaining int64
	sum             hash.Hash
	verified        bool
}

// Read implements io.Reader. The content is right if it returns io.EOF.
func (b *verifiedBody) Read(p []byte) (int, error) {
	if b.remaining == 0 {
		return 0, b.verify()
	}
	n, err := b.body.Read(p[:min(int64(len(p)), b.remaining)])
	b.sum.Write(p[:n])
	b.remaining -= int64(n)
	if errors.Is(err, io.EOF) {
		if err = nil; b.remaining > 0 {
			err = &ContentError{What: b.description, Want: b.want.String(),
				Size: fmt.Sprintf("has %d bytes, %d are expected", b.size-b.remaining, b.size), Remote: true}
		}
	}
	return n, err
}

func (b *verifiedBody) verify() error {
	if b.verified {
		return io.EOF
	}
	if n, _ := io.ReadFull(b.body, make([]byte, 1)); n > 0 {
		return &ContentError{What: b.description, Want: b.want.String(),
			Size: fmt.Sprintf("has more than %d bytes", b.size), Remote: true}
	}
	if got := digest.NewDigest(b.want.Algorithm(), b.sum); got != b.want {
		return &ContentError{What: b.description, Want: b.want.String(), Got: got.String(), Remote: true}
	}
	b.verified = true
	return io.EOF
}

// Close implements io.Closer.
func (b *verifiedBody) Close() error { return b.body.Close() }
