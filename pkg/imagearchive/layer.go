package imagearchive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/untar"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// headSize is the number of bytes by which the form of a file is recognized: the header
// of a tar.
const headSize = 512

// Limits of the expanded size of a layer. gzip expands at most a thousandfold; a few
// kilobytes of zstd can describe terabytes.
const (
	freeExpansion = 1 << 30 // bytes that any layer may expand to
	maxExpansion  = 2000    // maximum ratio to the size of the layer above that
)

// layerForm is how the content of a file is stored.
type layerForm int

const (
	document   layerForm = iota // no layer
	plainTar                    // is compressed
	gzipped                     // stays as it is
	zstandard                   // likewise
	recompress                  // xz or bzip2: is compressed again
)

// formOf returns the form of a file, from its first bytes.
func formOf(head []byte) layerForm {
	switch untar.FormatOf(head) {
	case untar.Gzip:
		return gzipped
	case untar.Zstd:
		return zstandard
	case untar.XZ, untar.Bzip2:
		return recompress
	}
	if isTar(head) {
		return plainTar
	}
	return document
}

// isTar reports whether a file begins like a tar. An empty one is all zeros.
func isTar(head []byte) bool {
	if len(head) < headSize {
		return false
	}
	_, err := tar.NewReader(bytes.NewReader(head)).Next()
	return !errors.Is(err, tar.ErrHeader)
}

// IsPlainLayer reports whether a file that begins with head is a layer that is not
// compressed.
func IsPlainLayer(head []byte) bool { return formOf(head) == plainTar }

// settings are the compression of layers that were plain.
var settings = compress.Default

// StoredLayer returns the compressed form of a plain layer in the store. A damaged one is
// removed.
func StoredLayer(ctx context.Context, st *store.Store, diffID digest.Digest) (compress.Layer, bool, error) {
	layer, ok := st.Compressed(diffID, settings.Version())
	if !ok {
		return layer, false, nil
	}
	damaged, err := st.CheckBlob(ctx, layer.Descriptor.Digest)
	return layer, err == nil && !damaged, err
}

// StoreLayer stores a layer, and compresses it unless it is compressed. Its content
// must be a tar.
func StoreLayer(ctx context.Context, st *store.Store, r io.Reader) (compress.Layer, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head, err := in.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return compress.Layer{}, err
	}
	switch f := formOf(head); f {
	case plainTar:
		return storePlain(ctx, st, in)
	case recompress:
		return storeRecompressed(ctx, st, in)
	case gzipped, zstandard:
		return storeCompressed(ctx, st, in, f)
	}
	return compress.Layer{}, errors.New("it is not a layer: neither a plain nor a compressed tar")
}

func storePlain(ctx context.Context, st *store.Store, r io.Reader) (compress.Layer, error) {
	l, err := settings.Stream(ctx, st, r)
	if err != nil {
		return compress.Layer{}, err
	}
	return l, st.RecordCompressed(l.DiffID, settings.Version(), l)
}

func storeRecompressed(ctx context.Context, st *store.Store, r io.Reader) (compress.Layer, error) {
	compressed := &countingReader{r: r}
	content, err := untar.Decompress(compressed)
	if err != nil {
		return compress.Layer{}, err
	}
	defer content.Close()
	return storePlain(ctx, st, &expandedReader{r: content, compressed: compressed})
}

// storeCompressed stores a layer unchanged and computes its diff ID at the same time.
func storeCompressed(ctx context.Context, st *store.Store, r io.Reader, f layerForm) (compress.Layer, error) {
	pr, pw := io.Pipe()
	type result struct {
		diffID digest.Digest
		err    error
	}
	expanded := make(chan result, 1)
	go func() {
		d, err := expandedDigest(pr)
		pr.CloseWithError(err) // nil lets writes fail with io.ErrClosedPipe
		expanded <- result{d, err}
	}()
	d, size, err := st.WriteBlob(ctx, io.TeeReader(r, pw), "", -1)
	pw.CloseWithError(err) // nil is io.EOF
	res := <-expanded
	switch {
	case res.err != nil && (err == nil || errors.Is(err, res.err)):
		return compress.Layer{}, res.err
	case err != nil:
		return compress.Layer{}, err
	}
	mediaType := ocispec.MediaTypeImageLayerGzip
	if f == zstandard {
		mediaType = ocispec.MediaTypeImageLayerZstd
	}
	return compress.Layer{
		DiffID:     res.diffID,
		Descriptor: ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: size},
	}, nil
}

// expandedDigest returns the digest of the tar in a compressed layer.
func expandedDigest(r io.Reader) (digest.Digest, error) {
	compressed := &countingReader{r: r}
	content, err := untar.Decompress(compressed)
	if err != nil {
		return "", err
	}
	defer content.Close()
	sum := digest.Canonical.Digester()
	if _, err := io.Copy(sum.Hash(), &expandedReader{r: content, compressed: compressed}); err != nil {
		return "", fmt.Errorf("decompressing it: %w", err)
	}
	return sum.Digest(), nil
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// expandedReader reads the content of a compressed layer, which must be a tar of a
// plausible size.
type expandedReader struct {
	r          io.Reader
	compressed *countingReader
	head       []byte
	n          int64
}

func (e *expandedReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if missing := headSize - len(e.head); missing > 0 {
		e.head = append(e.head, p[:min(n, missing)]...)
		if (len(e.head) == headSize || err == io.EOF) && !isTar(e.head) {
			return 0, errors.New("its content is not a tar")
		}
	}
	e.n += int64(n)
	if e.n > freeExpansion && e.n/maxExpansion > e.compressed.n {
		return 0, fmt.Errorf("it expands to more than %d times its size", maxExpansion)
	}
	return n, err
}
