package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/reader"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/kolla-build/kolla-build/pkg/imagearchive"
)

// This file handles uncompressed layers, as Docker 25 and later saves them. They are
// stored compressed, and the manifests that list them are changed. Often the role of a
// blob is not known yet when it is read; then a tar is treated as a layer.

// isImageLayer reports whether a blob with the media type is a layer of an image, compressed
// or not: skopeo writes the type of compressed layers for plain ones, too.
func isImageLayer(mediaType string) bool {
	return strings.Contains(mediaType, "image.layer.") && strings.Contains(mediaType, ".tar") ||
		strings.Contains(mediaType, "image.rootfs.") && strings.Contains(mediaType, ".tar")
}

func isPlainLayer(mediaType string) bool {
	return isImageLayer(mediaType) && strings.HasSuffix(mediaType, "tar")
}

// storePlain stores an uncompressed layer compressed, and reports whether the blob was
// one. Otherwise it returns a reader of the blob.
func (l *loader) storePlain(ctx context.Context, m reader.Member, expected expectation, listed bool) (bool, io.Reader,
	error) {
	if listed && !expected.layer || m.Digest.Algorithm() != digest.Canonical {
		return false, l.src.Content(m.Size), nil
	}
	switch layer, ok, err := imagearchive.StoredLayer(ctx, l.st, m.Digest); {
	case err != nil:
		return false, nil, err
	case ok:
		l.plain[m.Digest] = layer
		l.sum.Reused++
		return true, nil, nil
	}
	in := peekable(l.src.Content(m.Size))
	head, err := in.Peek(int(min(m.Size, 512)))
	if err != nil && !errors.Is(err, io.EOF) || !imagearchive.IsPlainLayer(head) {
		return false, in, nil // an error returns when in is read
	}
	layer, err := imagearchive.StoreLayer(ctx, l.st, in)
	if err != nil {
		return false, nil, blobError(m, expected, err)
	}
	if layer.DiffID != m.Digest {
		return false, nil, &bundle.FormatError{
			Blob: m.Digest, Of: expected.role.String(), Detail: "its content has digest " + layer.DiffID.String(),
			Advice: bundle.AdviceDamaged,
		}
	}
	l.plain[m.Digest] = layer
	return true, nil, nil
}

// peeker is a reader whose beginning can be read without consuming it.
type peeker interface {
	io.Reader
	Peek(n int) ([]byte, error)
}

func peekable(r io.Reader) peeker {
	if p, ok := r.(peeker); ok {
		return p
	}
	return bufio.NewReaderSize(r, 4096)
}

// settlePlain stores tars unchanged that turned out not to be layers, and compresses
// layers that the store had uncompressed.
func (l *loader) settlePlain(ctx context.Context) error {
	for d, e := range l.expected {
		layer, compressed := l.plain[d]
		switch {
		case compressed && !e.layer:
			if err := l.expand(ctx, d, layer); err != nil {
				return err
			}
		case !compressed && e.plain && l.st.HasBlob(d, e.size):
			if err := l.compressStored(ctx, d, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// compressStored compresses a layer that the store has uncompressed. A blob that is not
// a tar stays.
func (l *loader) compressStored(ctx context.Context, d digest.Digest, e expectation) error {
	r, err := l.st.OpenBlob(d)
	if err != nil {
		return err
	}
	defer r.Close()
	in := bufio.NewReaderSize(r, 4096)
	if head, _ := in.Peek(512); !imagearchive.IsPlainLayer(head) {
		return nil
	}
	layer, err := imagearchive.StoreLayer(ctx, l.st, in)
	if err != nil {
		return &bundle.FormatError{Blob: d, Of: e.role.String(), Detail: "compressing it", Err: err}
	}
	l.plain[d] = layer
	return nil
}

// expand stores the tar of a compressed layer.
func (l *loader) expand(ctx context.Context, d digest.Digest, layer compress.Layer) error {
	r, err := l.st.OpenBlob(layer.Descriptor.Digest)
	if err != nil {
		return err
	}
	defer r.Close()
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	_, _, err = l.st.WriteBlob(ctx, z, d, l.expected[d].size)
	return err
}

// replacePlain changes the manifests and indexes that list plain layers.
func (l *loader) replacePlain(ctx context.Context) error {
	if len(l.plain) == 0 {
		return nil
	}
	done := map[digest.Digest]ocispec.Descriptor{}
	for i, d := range l.images {
		to, err := l.replaced(ctx, d.Digest, done, 0)
		if err != nil {
			return &bundle.FormatError{Blob: d.Digest, Of: "manifest of " + bundle.ImageName(d),
				Detail: "compressing its layers", Err: err}
		}
		l.images[i].Digest, l.images[i].Size = to.Digest, to.Size
	}
	return l.st.SaveCompressed()
}

// replaced returns the manifest or index that replaces another one: the same one if
// nothing in it changes.
func (l *loader) replaced(ctx context.Context, d digest.Digest, done map[digest.Digest]ocispec.Descriptor,
	depth int) (ocispec.Descriptor, error) {
	if to, ok := done[d]; ok {
		return to, nil
	}
	if depth > ocijson.MaxNesting {
		return ocispec.Descriptor{}, errors.New("its indexes are nested too deeply")
	}
	raw, err := l.st.ReadManifest(d)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	doc, err := ocijson.Parse(raw)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	equivalent := ocispec.Descriptor{Digest: d, Size: int64(len(raw))}
	changes := map[digest.Digest]ocispec.Descriptor{}
	for _, layer := range doc.Layers {
		if to, ok := l.plain[layer.Digest]; ok && isImageLayer(layer.MediaType) {
			changes[layer.Digest] = to.Descriptor
		}
	}
	for _, child := range doc.Manifests {
		if !l.st.HasBlob(child.Digest, child.Size) {
			continue
		}
		to, err := l.replaced(ctx, child.Digest, done, depth+1)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		if to.Digest != child.Digest {
			changes[child.Digest] = to
		}
	}
	done[d] = equivalent
	if len(changes) == 0 {
		return equivalent, nil
	}
	if raw, err = replaceDescriptors(raw, changes); err != nil {
		return ocispec.Descriptor{}, err
	}
	to := ocispec.Descriptor{Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	_, _, err = l.st.WriteBlob(ctx, strings.NewReader(string(raw)), to.Digest, to.Size)
	done[d] = to
	return to, err
}

// replaceDescriptors replaces descriptors of layers and manifests in a document, and
// annotations that consist of a replaced digest, as attestations have. Other fields
// stay as they are.
func replaceDescriptors(raw []byte, changes map[digest.Digest]ocispec.Descriptor) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	var mediaType string
	if err := json.Unmarshal(fields["mediaType"], &mediaType); err != nil {
		mediaType = ""
	}
	for _, name := range []string{"layers", "manifests"} {
		if len(fields[name]) == 0 {
			continue
		}
		var list []map[string]json.RawMessage
		if err := json.Unmarshal(fields[name], &list); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, entry := range list {
			if err := replaceDescriptor(entry, changes, strings.HasPrefix(mediaType, "application/vnd.docker.")); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		var err error
		if fields[name], err = json.Marshal(list); err != nil {
			return nil, err
		}
	}
	return json.Marshal(fields)
}

func replaceDescriptor(entry map[string]json.RawMessage, changes map[digest.Digest]ocispec.Descriptor,
	docker bool) error {
	set := func(name string, value any) error {
		b, err := json.Marshal(value)
		entry[name] = b
		return err
	}
	var d digest.Digest
	if err := json.Unmarshal(entry["digest"], &d); err != nil {
		return err
	}
	if to, ok := changes[d]; ok {
		if err := errors.Join(set("digest", to.Digest), set("size", to.Size)); err != nil {
			return err
		}
		if mediaType := to.MediaType; mediaType != "" {
			if docker {
				mediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip"
			}
			if err := set("mediaType", mediaType); err != nil {
				return err
			}
		}
	}
	var annotations map[string]string
	if len(entry["annotations"]) == 0 || json.Unmarshal(entry["annotations"], &annotations) != nil {
		return nil
	}
	changed := false
	for key, value := range annotations {
		if to, ok := changes[digest.Digest(value)]; ok {
			annotations[key], changed = to.Digest.String(), true
		}
	}
	if !changed {
		return nil
	}
	return set("annotations", annotations)
}
