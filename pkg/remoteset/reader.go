package remoteset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/setcopy"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Limits of what one repository may make us read.
const (
	maxArtifacts = 1000
	maxDocuments = 20_000
	maxBytes     = 256 << 20 // of all manifests of a set
)

// errOldArtifact is for a manifest that is an artifact from before OCI 1.1.
var errOldArtifact = errors.New("it is an artifact from before OCI 1.1")

// reader reads the images of one repository.
type reader struct {
	set  *Set
	ref  imageref.Ref
	repo *registry.Repository
	read map[digest.Digest]*document

	listed int // artifacts in lists of referrers, in which one can occur many times
}

// document is a manifest or an index.
type document struct {
	raw       []byte
	parsed    ocijson.Document
	mediaType string
}

// repository adds images and the artifacts that refer to them.
func (r *reader) repository(ctx context.Context, images []setcopy.Image) error {
	tags, err := r.repo.Tags(ctx)
	if err != nil {
		return err
	}
	artifactTags := map[string][]string{} // by the digest they belong to
	for _, tag := range tags {
		if hex := imageref.ArtifactSubject(tag); hex != "" {
			artifactTags[hex] = append(artifactTags[hex], tag)
		}
	}
	var subjects []digest.Digest
	for _, image := range images {
		added, err := r.image(ctx, image.Tag, image.Digest)
		if err != nil {
			return fmt.Errorf("%s: %w", image.Tag, err)
		}
		subjects = append(subjects, added...)
	}
	done := map[digest.Digest]bool{}
	for i := 0; i < len(subjects); i++ { // artifacts can have artifacts
		subject := subjects[i]
		if done[subject] {
			continue
		}
		done[subject] = true
		if len(done) > maxDocuments {
			return errTooMany
		}
		added, err := r.referrers(ctx, subject)
		if err != nil {
			return err
		}
		subjects = append(subjects, added...)
		for _, tag := range artifactTags[subject.Encoded()] {
			if tag == registry.ReferrersTag(subject) {
				continue // the list of referrers, which was read
			}
			d, err := r.repo.Head(ctx, tag)
			var missing *registry.NotFoundError
			if errors.As(err, &missing) {
				continue
			}
			if err != nil {
				return err
			}
			if added, err = r.image(ctx, tag, d.Digest); err != nil {
				return fmt.Errorf("artifact %s: %w", tag, err)
			}
			subjects = append(subjects, added...)
		}
	}
	return nil
}

// referrers adds the list of what refers to a manifest, if anything does, and returns the
// manifests in it.
func (r *reader) referrers(ctx context.Context, subject digest.Digest) ([]digest.Digest, error) {
	found, _, err := r.repo.Referrers(ctx, subject)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if r.listed += len(found); r.listed > maxDocuments {
		return nil, errTooMany
	}
	if len(found) > maxArtifacts {
		return nil, fmt.Errorf("%s has more than %d artifacts", subject, maxArtifacts)
	}
	slices.SortFunc(found, func(a, b ocispec.Descriptor) int {
		return strings.Compare(string(a.Digest), string(b.Digest))
	})
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for i, d := range found {
		if i > 0 && found[i-1].Digest == d.Digest {
			continue
		}
		doc, err := r.document(ctx, d.Digest)
		if errors.Is(err, errOldArtifact) {
			r.set.omit(fmt.Sprintf("%s@%s", r.ref.Repository(), d.Digest))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("artifact %s of %s: %w", d.Digest, subject, err)
		}
		index.Manifests = append(index.Manifests,
			registry.ReferrerDescriptor(registry.Manifest{Raw: doc.raw, MediaType: doc.mediaType, Digest: d.Digest}))
	}
	if len(index.Manifests) == 0 {
		return nil, nil
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return nil, err
	}
	parsed, err := ocijson.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("the referrers of %s: %w", subject, err)
	}
	d := digest.FromBytes(raw)
	r.read[d] = &document{raw: raw, parsed: parsed, mediaType: ocispec.MediaTypeImageIndex}
	added, err := r.image(ctx, registry.ReferrersTag(subject), d)
	return slices.DeleteFunc(added, func(a digest.Digest) bool { return a == d }), err
}

// image adds an image under a tag, and returns its manifests and indexes.
func (r *reader) image(ctx context.Context, tag string, d digest.Digest) ([]digest.Digest, error) {
	root, err := r.document(ctx, d)
	if err != nil {
		return nil, err
	}
	w := &blobWalk{reader: r, blobs: map[digest.Digest]location{}, documents: map[digest.Digest]bool{}}
	desc := ocispec.Descriptor{MediaType: root.mediaType, Digest: d, Size: int64(len(root.raw))}
	if err := w.document(ctx, desc, 0); err != nil {
		return nil, err
	}
	e := store.Entry{Name: r.ref.WithTag(tag).Familiar(), Digest: d, MediaType: root.mediaType}
	for _, b := range w.image.blobs {
		e.Size += b.Size
	}
	if root.parsed.IsIndex() {
		for _, m := range root.parsed.Manifests {
			if p := m.Platform; p != nil && p.OS != "" && p.OS != "unknown" {
				w.image.platforms = append(w.image.platforms, store.FormatPlatform(*p))
			}
		}
	} else if err := w.config(ctx, &e, *root.parsed.Config); err != nil {
		return nil, err
	}
	if err := r.set.add(e, w.image, w.blobs); err != nil {
		return nil, err
	}
	return w.order, nil
}

// document reads a manifest or an index.
func (r *reader) document(ctx context.Context, d digest.Digest) (*document, error) {
	if doc := r.read[d]; doc != nil {
		return doc, nil
	}
	if len(r.read) > maxDocuments {
		return nil, errTooMany
	}
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("manifest %q: %w", d, err)
	}
	m, err := r.repo.Manifest(ctx, d.String())
	if err != nil {
		return nil, err
	}
	if r.set.bytes.Add(int64(len(m.Raw))) > maxBytes {
		return nil, usererr.Errorf("save fewer images or tags at once", "the manifests have more than %s",
			units.Bytes(maxBytes))
	}
	parsed, err := ocijson.Parse(m.Raw)
	if err == nil && parsed.IsArtifact() {
		return nil, errOldArtifact
	}
	if err == nil {
		err = parsed.CheckImage()
	}
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d, err)
	}
	doc := &document{raw: m.Raw, parsed: parsed, mediaType: parsed.MediaType}
	switch {
	case doc.mediaType != "":
	case parsed.IsIndex():
		doc.mediaType = ocispec.MediaTypeImageIndex
	default:
		doc.mediaType = ocispec.MediaTypeImageManifest
	}
	r.read[d] = doc
	return doc, nil
}

// blobWalk collects the blobs of one image, in the order of store.Blobs.
type blobWalk struct {
	*reader
	image     image
	blobs     map[digest.Digest]location
	documents map[digest.Digest]bool
	order     []digest.Digest // of documents
}

func (w *blobWalk) document(ctx context.Context, d ocispec.Descriptor, depth int) error {
	switch {
	case w.documents[d.Digest]:
		return nil
	case depth > ocijson.MaxNesting:
		return errors.New("indexes are nested too deeply")
	case len(w.documents) > ocijson.MaxManifests:
		return errTooMany
	}
	w.documents[d.Digest] = true
	w.order = append(w.order, d.Digest)
	doc, err := w.reader.document(ctx, d.Digest)
	if err != nil {
		return err
	}
	if d.Size != int64(len(doc.raw)) {
		return fmt.Errorf("manifest %s has %d bytes, %d are expected", d.Digest, len(doc.raw), d.Size)
	}
	w.add(d, location{manifest: true, content: doc.raw})
	if c := doc.parsed.Config; c != nil {
		if err := w.blob(*c); err != nil {
			return err
		}
	}
	for _, l := range doc.parsed.Layers {
		if len(l.URLs) > 0 && strings.Contains(l.MediaType, "foreign") {
			continue // fetched from its URLs by who runs the image
		}
		if err := w.blob(l); err != nil {
			return err
		}
	}
	for _, m := range doc.parsed.Manifests {
		if err := w.document(ctx, m, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *blobWalk) blob(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	if d.Size < 0 {
		return fmt.Errorf("blob %s: its size is %d bytes", d.Digest, d.Size)
	}
	if earlier, ok := w.blobs[d.Digest]; ok && earlier.size != d.Size {
		return fmt.Errorf("blob %s has two sizes, %d and %d bytes", d.Digest, earlier.size, d.Size)
	}
	w.add(d, location{})
	return nil
}

// add adds a blob once.
func (w *blobWalk) add(d ocispec.Descriptor, at location) {
	if _, ok := w.blobs[d.Digest]; ok {
		return
	}
	at.repository, at.size = w.ref, d.Size
	w.blobs[d.Digest] = at
	w.image.blobs = append(w.image.blobs, d)
}

// config reads platform and time of creation of an image from its config, if that is of the
// usual form.
func (w *blobWalk) config(ctx context.Context, e *store.Entry, d ocispec.Descriptor) error {
	if d.Size > ocijson.MaxBytes {
		return nil
	}
	var raw []byte
	err := retry.Policy{Retries: 3}.Do(ctx, func() error {
		body, err := w.set.client.SourceBlob(ctx, w.ref, d.Digest, d.Size)
		if err == nil {
			raw, err = io.ReadAll(body)
			body.Close()
		}
		err = retryable(err)
		var damaged *retry.Error
		if err != nil && !errors.As(err, &damaged) {
			err = &retry.Error{Err: err} // the client has already repeated it
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reading config %s: %w", d.Digest, err)
	}
	at := w.blobs[d.Digest]
	at.content = raw
	w.blobs[d.Digest] = at
	c, err := ocijson.ParseConfig(raw)
	if err != nil || c.Platform.OS == "" || c.Platform.Architecture == "" {
		return nil //nolint:nilerr // an artifact, whose config can be anything
	}
	e.Platform = store.FormatPlatform(c.Platform)
	w.image.platforms = []string{e.Platform}
	e.Created, _ = time.Parse(time.RFC3339Nano, c.Created)
	return nil
}
