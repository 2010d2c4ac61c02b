package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/kolla-build/kolla-build/pkg/imagearchive"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// blobRole is the role of a blob in an image.
type blobRole struct {
	kind  string // "manifest", "config", "layer"
	image string // its name, "" if it has none
	n, of int    // position of a layer, 1-based
}

func (r blobRole) String() string {
	s := r.kind
	if r.of > 0 {
		s += fmt.Sprintf(" %d of %d", r.n, r.of)
	}
	if r.image != "" {
		s += " of " + r.image
	}
	return s
}

// expectation is how the index and the manifests describe a blob.
type expectation struct {
	size     int64
	manifest bool
	layer    bool // of an image
	plain    bool // a layer that is not compressed, by its media type
	role     blobRole
}

// loader reads a bundle once, from front to back.
type loader struct {
	st         *store.Store
	batch      *store.Batch // of the blobs that are being written
	opts       LoadOptions
	src        *source
	check      checker
	manifest   manifestCheck
	checkIndex func() error // called when the index was read; may be nil

	layoutSeen    bool
	indexSeen     bool
	images        []ocispec.Descriptor // of the index
	expected      map[digest.Digest]expectation
	received      map[digest.Digest]int64          // sizes of the blobs that were read
	plain         map[digest.Digest]compress.Layer // the compressed layers that are stored instead of plain ones
	keptLists     map[string][]byte                // see keepList
	docker        *imagearchive.Archive            // nil unless the file is one of docker save
	lateManifests []digest.Digest                  // manifests that were read before it was known that they are
	deltaBases    map[digest.Digest]int64          // what byte deltas may be applied to, with sizes
	sum           Summary
}

func newLoader(st *store.Store, opts LoadOptions) *loader {
	if opts.VerifyKey != nil {
		opts.Trust = true // the signature is verified before anything else is read
	}
	return &loader{
		st: st, opts: opts, manifest: manifestCheck{key: opts.VerifyKey},
		expected: map[digest.Digest]expectation{}, received: map[digest.Digest]int64{},
		plain: map[digest.Digest]compress.Layer{},
	}
}

// open opens a bundle: a file, a directory or parts.
func (l *loader) open(ctx context.Context, in Input) (*source, error) {
	files := in.Parts
	if len(files) == 0 && in.Path != "-" && parts.IsPart(in.Path) {
		files = []string{in.Path}
	}
	if len(files) > 0 {
		return openParts(ctx, l.opts.Progress, l.tempDir(), files...)
	}
	return openSource(ctx, in.Path, l.opts.Stdin, l.opts.Progress)
}

// read reads the bundle and stores its blobs.
func (l *loader) read(ctx context.Context, in Input) error {
	src, err := l.open(ctx, in)
	if err != nil {
		return err
	}
	defer src.close()
	if l.st != nil {
		defer l.st.SaveVerified() // an optimization only
		l.batch = l.st.Batch()
	}
	l.src = src
	if src.parts != nil {
		l.sum.Restored = src.parts.Problems()
	}
	err = l.members(ctx)
	if l.batch != nil {
		if batchErr := l.batch.Wait(); batchErr != nil {
			err = batchErr // of a blob before the place that members reached
		}
	}
	if err != nil {
		return err
	}
	if err := src.finish(ctx); err != nil {
		return err
	}
	if err := l.checkMembers(ctx); err != nil {
		return err
	}
	if err := l.complete(ctx); err != nil {
		return err
	}
	if err := l.settlePlain(ctx); err != nil {
		return err
	}
	if err := l.replacePlain(ctx); err != nil {
		return err
	}
	if l.opts.NamesOnly {
		return nil
	}
	return l.checkImages(ctx)
}

// checkMembers reports files that the bundle must have and that were not read, and differences
// from its manifest.
func (l *loader) checkMembers(ctx context.Context) error {
	if l.keptLists[imagearchive.ManifestFile] != nil && l.docker == nil && !l.indexSeen && !l.layoutSeen {
		if err := l.readDocker(ctx, nil); err != nil { // reports missing files
			return err
		}
	}
	switch {
	case l.docker != nil:
	case !l.indexSeen:
		return &FormatError{Detail: "it contains no " + ocispec.ImageIndexFile, Advice: adviceNoBundle}
	case !l.layoutSeen:
		return &FormatError{Detail: "it contains no " + ocispec.ImageLayoutFile, Advice: adviceNoBundle}
	}
	if err := l.manifest.end(); err != nil {
		return err
	}
	l.sum.Signed = l.manifest.verified
	return l.manifest.images(l.images)
}

// checkImages walks over the images. Putting entries does that too, but an error must be found
// before a name is added.
func (l *loader) checkImages(ctx context.Context) error {
	if err := l.checkSharing(ctx); err != nil {
		return err
	}
	for _, d := range l.images {
		if err := l.st.Check(ctx, d.Digest); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) members(ctx context.Context) error {
	for {
		m, err := l.check.next(ctx, l.src)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return l.withMissing(err)
		}
		if err := l.manifest.begin(m); err != nil {
			return err
		}
		switch {
		case m.foreign != nil:
			if err = l.readDocker(ctx, m.foreign); err == nil {
				return nil
			}
		case m.name == imagearchive.ManifestFile || m.name == imagearchive.RepositoriesFile:
			err = l.keepList(m)
		case m.digest != "" && l.opts.NamesOnly:
			// Its content is skipped.
		case m.delta:
			err = l.applyDelta(ctx, m)
		case m.digest != "":
			err = l.blob(ctx, m)
		case m.name == deltaIndex && !l.opts.NamesOnly:
			err = l.requirements(ctx, m)
		case m.name == ocispec.ImageLayoutFile:
			l.layoutSeen, err = true, l.layout(m)
		case m.name == ocispec.ImageIndexFile:
			l.indexSeen, err = true, l.index(m)
		default:
			err = l.readOther(m)
		}
		if err != nil {
			return err
		}
	}
}

// readOther reads a file whose content is only compared with the manifest.
func (l *loader) readOther(m member) error {
	limits := map[string]int64{manifestFile: maxBundleManifest, signatureFile: maxLayout,
		dockerManifest: maxIndex, deltaIndex: maxIndex}
	limit, ok := limits[m.name]
	if !ok {
		return nil
	}
	if _, err := l.readSmall(m, limit); err != nil || m.name != manifestFile {
		return err
	}
	l.src.expect(l.manifest.doc)
	return l.checkSpace()
}

// readSmall reads a file that is not a blob, and compares it with the manifest.
func (l *loader) readSmall(m member, limit int64) ([]byte, error) {
	b, err := readSmall(l.src, m, limit)
	if err == nil {
		err = l.manifest.content(m.name, b)
	}
	return b, err
}

func (l *loader) layout(m member) error {
	b, err := l.readSmall(m, maxLayout)
	if err != nil {
		return err
	}
	if err := checkLayout(b); err != nil {
		return &FormatError{Member: m.name, Detail: "not that of an OCI layout", Err: err}
	}
	return nil
}

// checkLayout checks the content of oci-layout.
func checkLayout(b []byte) error {
	var v ocispec.ImageLayout
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if !strings.HasPrefix(v.Version, "1.") {
		return fmt.Errorf("its version is %q, this program knows %s", v.Version, ocispec.ImageLayoutVersion)
	}
	return nil
}

func parseIndex(b []byte) ([]ocispec.Descriptor, error) {
	bad := func(detail string, err error) error {
		return &FormatError{Member: ocispec.ImageIndexFile, Detail: detail, Err: err}
	}
	images, err := ocijson.ParseLayoutIndex(b, maxImages)
	if err != nil {
		return nil, bad("not an index of images", err)
	}
	for i, d := range images {
		if err := d.Digest.Validate(); err != nil {
			return nil, bad(fmt.Sprintf("image %d: digest %q", i+1, d.Digest), err)
		}
		if d.Size <= 0 || d.Size > maxManifest {
			return nil, bad(fmt.Sprintf("image %d: the size of its manifest is %d bytes", i+1, d.Size), nil)
		}
	}
	return images, nil
}

// fullName returns the name of an image in an index. containerd and docker save
// write the tag alone into OCI's annotation, and the name into containerd's.
func fullName(d ocispec.Descriptor) string {
	if n := d.Annotations[containerdName]; n != "" {
		return n
	}
	return d.Annotations[ocispec.AnnotationRefName]
}

func (l *loader) index(m member) error {
	b, err := l.readSmall(m, maxIndex)
	if err != nil {
		return err
	}
	if l.images, err = parseIndex(b); err != nil {
		return err
	}
	if err := l.manifest.images(l.images); err != nil {
		return err
	}
	if l.checkIndex != nil {
		if err := l.checkIndex(); err != nil {
			return err
		}
	}
	for _, d := range l.images {
		if err := l.expect(d, true, blobRole{kind: "manifest", image: fullName(d)}); err != nil {
			return err
		}
	}
	return nil
}

// expect records the expected properties of a blob, and checks them if it was already
// read.
func (l *loader) expect(layer ocispec.Descriptor, manifest bool, r blobRole) error {
	expected := expectation{size: layer.Size, manifest: manifest, role: r}
	expected.layer = r.kind == "layer" && isImageLayer(layer.MediaType)
	expected.plain = expected.layer && isPlainLayer(layer.MediaType)
	if err := layer.Digest.Validate(); err != nil {
		return &FormatError{Detail: fmt.Sprintf("%s: digest %q", r, layer.Digest), Err: err}
	}
	if expected.size < 0 || manifest && expected.size > maxManifest {
		return &FormatError{Blob: layer.Digest, Of: r.String(),
			Detail: fmt.Sprintf("its size is %d bytes", expected.size), Advice: adviceForeign}
	}
	old, known := l.expected[layer.Digest]
	switch {
	case known && old.size != expected.size:
		return &FormatError{Blob: layer.Digest, Of: r.String(),
			Detail: fmt.Sprintf("its size is %d bytes here and %d bytes as %s", expected.size, old.size, old.role)}
	case known && (old.manifest || !manifest):
		return nil
	case !known && len(l.expected) == maxBlobs:
		return &FormatError{Detail: fmt.Sprintf("it refers to more than %d blobs", maxBlobs), Advice: adviceForeign}
	}
	l.expected[layer.Digest] = expected
	if size, ok := l.received[layer.Digest]; ok {
		if size != expected.size {
			return sizeError(layer.Digest, expected, size)
		}
		if manifest {
			l.lateManifests = append(l.lateManifests, layer.Digest)
		}
	}
	return nil
}

func sizeError(d digest.Digest, e expectation, got int64) error {
	return &FormatError{Blob: d, Of: e.role.String(),
		Detail: fmt.Sprintf("its size is %d bytes in the tar, %d by its descriptor", got, e.size)}
}

func (l *loader) blob(ctx context.Context, m member) error {
	e, known := l.expected[m.digest]
	if known && e.size != m.size {
		return sizeError(m.digest, e, m.size)
	}
	l.received[m.digest] = m.size
	l.sum.Blobs++
	if err := l.storeBlob(ctx, m, e, known); err != nil {
		return err
	}
	l.sum.Bytes += m.size
	return nil
}

// storeBlob stores a blob unless the store has it, undamaged.
func (l *loader) storeBlob(ctx context.Context, m member, expected expectation, known bool) error {
	manifest := known && expected.manifest
	if l.st.HasBlob(m.digest, m.size) {
		damaged, err := l.st.CheckBlob(ctx, m.digest)
		switch {
		case err != nil:
			return err
		case damaged:
			l.sum.Repaired++
		default:
			l.sum.Reused++
			if !manifest {
				return nil
			}
		}
	}
	if !manifest {
		done, r, err := l.storePlain(ctx, m, expected, known)
		if err != nil || done {
			return err
		}
		return l.batch.Write(ctx, r, m.digest, m.size, func(err error) error { return blobError(m, expected, err) })
	}
	b, err := readSmall(l.src, m, maxManifest)
	if err != nil {
		return err
	}
	if got := m.digest.Algorithm().FromBytes(b); got != m.digest {
		return &FormatError{Blob: m.digest, Of: expected.role.String(), Detail: "its content has digest " + got.String(),
			Advice: adviceDamaged}
	}
	if err := l.batch.Write(ctx, bytes.NewReader(b), m.digest, m.size, func(err error) error { return err }); err != nil {
		return err
	}
	return l.children(m.digest, b, expected)
}

// blobError adds the image to the error of a blob that could not be stored.
func blobError(m member, e expectation, err error) error {
	of := ""
	if e.role.kind != "" {
		of = e.role.String()
	}
	var be *store.BlobError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &FormatError{Blob: m.digest, Of: of,
			Detail: fmt.Sprintf("it ends before its %d bytes", m.size), Advice: adviceTruncated}
	case errors.As(err, &be):
		return &FormatError{Blob: m.digest, Of: of, Detail: be.Detail, Advice: adviceDamaged}
	}
	return err
}

// children records the references of a manifest.
func (l *loader) children(d digest.Digest, b []byte, e expectation) error {
	doc, err := ocijson.Parse(b)
	if err != nil {
		return &FormatError{Blob: d, Of: e.role.String(), Detail: "not a manifest", Err: err}
	}
	image := e.role.image
	if doc.Config != nil {
		if err := l.expect(*doc.Config, false, blobRole{kind: "config", image: image}); err != nil {
			return err
		}
	}
	for i, c := range doc.Layers {
		if len(c.URLs) > 0 && strings.Contains(c.MediaType, "foreign") {
			continue
		}
		if err := l.expect(c, false, blobRole{"layer", image, i + 1, len(doc.Layers)}); err != nil {
			return err
		}
	}
	for _, c := range doc.Manifests {
		if err := l.expect(c, true, blobRole{kind: "manifest", image: image}); err != nil {
			return err
		}
	}
	return nil
}
