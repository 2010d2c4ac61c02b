package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/bundle/reader"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/kolla-build/kolla-build/pkg/delta"
	"github.com/kolla-build/kolla-build/pkg/imagearchive"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// expectation is how the index and the manifests describe a blob.
type expectation struct {
	size     int64
	manifest bool
	layer    bool // of an image
	plain    bool // a layer that is not compressed, by its media type
	role     bundle.Role
}

// loader reads a bundle once, from front to back.
type loader struct {
	st         *store.Store
	batch      *store.Batch // of the blobs that are being written
	opts       Options
	src        *reader.Source
	check      reader.Checker
	manifest   reader.ManifestCheck
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
	work          delta.Work                       // of byte deltas
	sum           Summary
}

func newLoader(st *store.Store, opts Options) *loader {
	if opts.VerifyKey != nil {
		opts.Trust = true // the signature is verified before anything else is read
	}
	return &loader{
		st: st, opts: opts, manifest: reader.ManifestCheck{Key: opts.VerifyKey},
		expected: map[digest.Digest]expectation{}, received: map[digest.Digest]int64{},
		plain: map[digest.Digest]compress.Layer{},
		sum:   Summary{Renamed: make([]bool, len(opts.Renames))},
	}
}

// open opens a bundle: a file, a directory or parts.
func (l *loader) open(ctx context.Context, in Input) (*reader.Source, error) {
	files := in.Parts
	if len(files) == 0 && in.Path != "-" && parts.IsPart(in.Path) {
		files = []string{in.Path}
	}
	if len(files) > 0 {
		return reader.OpenParts(ctx, l.opts.Progress, l.tempDir(), files...)
	}
	return reader.Open(ctx, in.Path, l.opts.Stdin, l.opts.Progress)
}

// read reads the bundle and stores its blobs.
func (l *loader) read(ctx context.Context, in Input) error {
	src, err := l.open(ctx, in)
	if err != nil {
		return err
	}
	defer src.Close()
	if l.st != nil {
		defer l.st.SaveVerified() // an optimization only
		l.batch = l.st.Batch()
	}
	l.src = src
	if src.Parts != nil {
		l.sum.Restored = src.Parts.Problems()
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
	if err := src.Finish(ctx); err != nil {
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
		return &bundle.FormatError{Detail: "it contains no " + ocispec.ImageIndexFile, Advice: bundle.AdviceNoBundle}
	case !l.layoutSeen:
		return &bundle.FormatError{Detail: "it contains no " + ocispec.ImageLayoutFile, Advice: bundle.AdviceNoBundle}
	}
	if err := l.manifest.End(); err != nil {
		return err
	}
	l.sum.Signed = l.manifest.Verified
	return l.manifest.Images(l.images)
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
		m, err := l.check.Next(ctx, l.src)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return l.withMissing(err)
		}
		if err := l.manifest.Begin(m); err != nil {
			return err
		}
		switch {
		case m.Foreign != nil:
			if err = l.readDocker(ctx, m.Foreign); err == nil {
				return nil
			}
		case m.Name == imagearchive.ManifestFile || m.Name == imagearchive.RepositoriesFile:
			err = l.keepList(m)
		case m.Digest != "" && l.opts.NamesOnly:
			// Its content is skipped.
		case m.Delta:
			err = l.applyDelta(ctx, m)
		case m.Digest != "":
			err = l.blob(ctx, m)
		case m.Name == bundle.DeltaListName && !l.opts.NamesOnly:
			err = l.requirements(ctx, m)
		case m.Name == ocispec.ImageLayoutFile:
			l.layoutSeen, err = true, l.layout(m)
		case m.Name == ocispec.ImageIndexFile:
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
func (l *loader) readOther(m reader.Member) error {
	limits := map[string]int64{bundle.ManifestName: bundle.MaxManifest, bundle.SignatureName: bundle.MaxLayout,
		bundle.DockerManifestName: bundle.MaxIndex, bundle.DeltaListName: bundle.MaxIndex}
	limit, ok := limits[m.Name]
	if !ok {
		return nil
	}
	if _, err := l.readSmall(m, limit); err != nil || m.Name != bundle.ManifestName {
		return err
	}
	l.src.Expect(l.manifest.Manifest)
	return l.checkSpace()
}

// readSmall reads a file that is not a blob, and compares it with the manifest.
func (l *loader) readSmall(m reader.Member, limit int64) ([]byte, error) {
	b, err := reader.ReadSmall(l.src, m, limit)
	if err == nil {
		err = l.manifest.Content(m.Name, b)
	}
	return b, err
}

func (l *loader) layout(m reader.Member) error {
	b, err := l.readSmall(m, bundle.MaxLayout)
	if err != nil {
		return err
	}
	if err := bundle.CheckLayout(b); err != nil {
		return &bundle.FormatError{Member: m.Name, Detail: "not that of an OCI layout", Err: err}
	}
	return nil
}

func (l *loader) index(m reader.Member) error {
	b, err := l.readSmall(m, bundle.MaxIndex)
	if err != nil {
		return err
	}
	if l.images, err = bundle.ParseIndex(b); err != nil {
		return err
	}
	if err := l.manifest.Images(l.images); err != nil {
		return err
	}
	if l.checkIndex != nil {
		if err := l.checkIndex(); err != nil {
			return err
		}
	}
	for _, d := range l.images {
		if err := l.expect(d, true, bundle.Role{Kind: "manifest", Image: bundle.ImageName(d)}); err != nil {
			return err
		}
	}
	return nil
}

// expect records the expected properties of a blob, and checks them if it was already
// read.
func (l *loader) expect(layer ocispec.Descriptor, manifest bool, r bundle.Role) error {
	expected := expectation{size: layer.Size, manifest: manifest, role: r}
	expected.layer = r.Kind == "layer" && isImageLayer(layer.MediaType)
	expected.plain = expected.layer && isPlainLayer(layer.MediaType)
	if err := layer.Digest.Validate(); err != nil {
		return &bundle.FormatError{Detail: fmt.Sprintf("%s: digest %q", r, layer.Digest), Err: err}
	}
	if expected.size < 0 || manifest && expected.size > bundle.MaxImageManifest {
		return &bundle.FormatError{Blob: layer.Digest, Of: r.String(),
			Detail: fmt.Sprintf("its size is %d bytes", expected.size), Advice: bundle.AdviceForged}
	}
	old, known := l.expected[layer.Digest]
	switch {
	case known && old.size != expected.size:
		return &bundle.FormatError{Blob: layer.Digest, Of: r.String(),
			Detail: fmt.Sprintf("its size is %d bytes here and %d bytes as %s", expected.size, old.size, old.role)}
	case known && (old.manifest || !manifest):
		return nil
	case !known && len(l.expected) == bundle.MaxBlobs:
		return &bundle.FormatError{Detail: fmt.Sprintf("it refers to more than %d blobs", bundle.MaxBlobs),
			Advice: bundle.AdviceForged}
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
	return &bundle.FormatError{Blob: d, Of: e.role.String(),
		Detail: fmt.Sprintf("its size is %d bytes in the tar, %d by its descriptor", got, e.size)}
}

func (l *loader) blob(ctx context.Context, m reader.Member) error {
	e, known := l.expected[m.Digest]
	if known && e.size != m.Size {
		return sizeError(m.Digest, e, m.Size)
	}
	l.received[m.Digest] = m.Size
	l.sum.Blobs++
	if err := l.storeBlob(ctx, m, e, known); err != nil {
		return err
	}
	l.sum.Bytes += m.Size
	return nil
}

// storeBlob stores a blob unless the store has it, undamaged.
func (l *loader) storeBlob(ctx context.Context, m reader.Member, expected expectation, known bool) error {
	manifest := known && expected.manifest
	if l.st.HasBlob(m.Digest, m.Size) {
		damaged, err := l.st.CheckBlob(ctx, m.Digest)
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
		return l.batch.Write(ctx, r, m.Digest, m.Size, func(err error) error { return blobError(m, expected, err) })
	}
	b, err := reader.ReadSmall(l.src, m, bundle.MaxImageManifest)
	if err != nil {
		return err
	}
	if got := m.Digest.Algorithm().FromBytes(b); got != m.Digest {
		return &bundle.FormatError{Blob: m.Digest, Of: expected.role.String(),
			Detail: "its content has digest " + got.String(),
			Advice: bundle.AdviceDamaged}
	}
	if err := l.batch.Write(ctx, bytes.NewReader(b), m.Digest, m.Size, func(err error) error { return err }); err != nil {
		return err
	}
	return l.children(m.Digest, b, expected)
}

// blobError adds the image to the error of a blob that could not be stored.
func blobError(m reader.Member, e expectation, err error) error {
	of := ""
	if e.role.Kind != "" {
		of = e.role.String()
	}
	var be *store.BlobError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &bundle.FormatError{Blob: m.Digest, Of: of,
			Detail: fmt.Sprintf("it ends before its %d bytes", m.Size), Advice: bundle.AdviceTruncated}
	case errors.As(err, &be):
		return &bundle.FormatError{Blob: m.Digest, Of: of, Detail: be.Detail, Advice: bundle.AdviceDamaged}
	}
	return err
}

// children records the references of a manifest.
func (l *loader) children(d digest.Digest, b []byte, e expectation) error {
	doc, err := ocijson.Parse(b)
	if err != nil {
		return &bundle.FormatError{Blob: d, Of: e.role.String(), Detail: "not a manifest", Err: err}
	}
	image := e.role.Image
	if doc.Config != nil {
		if err := l.expect(*doc.Config, false, bundle.Role{Kind: "config", Image: image}); err != nil {
			return err
		}
	}
	for i, c := range doc.Layers {
		if len(c.URLs) > 0 && strings.Contains(c.MediaType, "foreign") {
			continue
		}
		if err := l.expect(c, false, bundle.Role{Kind: "layer", Image: image, N: i + 1, Of: len(doc.Layers)}); err != nil {
			return err
		}
	}
	for _, c := range doc.Manifests {
		if err := l.expect(c, true, bundle.Role{Kind: "manifest", Image: image}); err != nil {
			return err
		}
	}
	return nil
}
