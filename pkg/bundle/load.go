package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/store"
)

// LoadOptions change what Load does; the zero value is the usual.
type LoadOptions struct {
	// Rename maps an image's name in the bundle to its name in the store;
	// nil keeps names. See RenameTo. Two images that come to one name are an
	// error, and "" leaves an image out.
	Rename   func(name string) string
	Progress Progress
	Stdin    io.Reader // for path "-"; nil is os.Stdin
}

// Load puts the images of a bundle into the store, from a file or, if path is
// "-", from stdin, and returns their entries as they are in the store now.
// Every digest and size is checked. The names appear together at the end, or
// not at all; blobs that arrived whole before an error stay, unnamed, so that
// loading again goes on from there (or GC removes them).
func Load(ctx context.Context, path string, st *store.Store, opts LoadOptions) (Summary, error) {
	sum, err := Unpack(ctx, path, st, opts)
	if err != nil {
		return sum, err
	}
	if err := st.Put(sum.Images...); err != nil {
		return sum, fmt.Errorf("loading bundle %s: %w", path, err)
	}
	for i, e := range sum.Images {
		if sum.Images[i], _, err = st.Lookup(e.Name); err != nil {
			return sum, fmt.Errorf("loading bundle %s: %w", path, err)
		}
	}
	return sum, nil
}

// Unpack is Load without the last step: all blobs are in the store and checked,
// and no image has a name there yet. The entries returned can be put; images
// that the bundle has no name for are among them.
func Unpack(ctx context.Context, path string, st *store.Store, opts LoadOptions) (Summary, error) {
	src, err := openSource(path, opts.Stdin)
	if err != nil {
		return Summary{}, fmt.Errorf("loading bundle %s: %w", path, err)
	}
	defer src.close()
	l := loader{st: st, src: src, opts: opts, expected: map[digest.Digest]expectation{}, have: map[digest.Digest]int64{}}
	err = l.load(ctx)
	if err == nil {
		l.sum.Images, err = l.entries()
	}
	if err == nil {
		err = l.whole(ctx)
	}
	if err != nil {
		return l.sum, fmt.Errorf("loading bundle %s: %w", path, err)
	}
	return l.sum, nil
}

// RenameTo makes a LoadOptions.Rename that puts images into another registry
// and namespace, keeping the last part of their names and their tags:
// RenameTo("site:4000", "openstack") makes site:4000/openstack/nova-api:t of
// localhost:4000/kolla/nova-api:t. An empty registry or namespace is kept.
func RenameTo(registry, namespace string) func(string) string {
	return func(full string) string {
		host, rest := "", full
		if first, after, ok := strings.Cut(full, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
			host, rest = first, after
		}
		ns, base := "", rest
		if i := strings.LastIndex(rest, "/"); i >= 0 {
			ns, base = rest[:i], rest[i+1:]
		}
		if registry != "" {
			host = registry
		}
		if namespace != "" {
			ns = namespace
		}
		var parts []string
		for _, p := range []string{host, strings.Trim(ns, "/"), base} {
			if p != "" {
				parts = append(parts, strings.TrimSuffix(p, "/"))
			}
		}
		return strings.Join(parts, "/")
	}
}

// expectation is what the index and the manifests read so far say of a blob.
type expectation struct {
	size     int64
	manifest bool
	of       string
}

type loader struct {
	st    *store.Store
	src   *source
	opts  LoadOptions
	check checker

	index    *ocispec.Index
	expected map[digest.Digest]expectation
	have     map[digest.Digest]int64 // blobs seen, with their sizes
	pending  []digest.Digest         // manifests that came before we knew they were
	total    int64
	sum      Summary
}

func (l *loader) load(ctx context.Context) error {
	layout := false
	for {
		m, err := l.check.next(l.src)
		if err == io.EOF {
			break
		}
		if err != nil {
			return l.named(err)
		}
		switch {
		case m.digest != "":
			err = l.blob(ctx, m)
		case m.name == ocispec.ImageLayoutFile:
			layout, err = true, l.layout(m)
		case m.name == ocispec.ImageIndexFile:
			err = l.readIndex(m)
		}
		if err != nil {
			return err
		}
	}
	if l.index == nil || !layout {
		missing := ocispec.ImageIndexFile
		if l.index != nil {
			missing = ocispec.ImageLayoutFile
		}
		return &FormatError{Detail: "it holds no " + missing, Hint: "a bundle is what save writes"}
	}
	return l.complete()
}

func (l *loader) layout(m member) error {
	b, err := readSmall(l.src, m, maxLayout)
	if err != nil {
		return err
	}
	var v ocispec.ImageLayout
	if err := json.Unmarshal(b, &v); err != nil {
		return &FormatError{Member: m.name, Detail: "not what an OCI layout has there", Err: err}
	}
	if !strings.HasPrefix(v.Version, "1.") {
		return &FormatError{Member: m.name, Detail: fmt.Sprintf("layout version %q, this tool knows %s", v.Version, ocispec.ImageLayoutVersion)}
	}
	return nil
}

func parseIndex(b []byte) (*ocispec.Index, error) {
	bad := func(detail string, err error) error {
		return &FormatError{Member: ocispec.ImageIndexFile, Detail: detail, Err: err}
	}
	var index ocispec.Index
	if err := json.Unmarshal(b, &index); err != nil {
		return nil, bad("not an index of images", err)
	}
	if index.SchemaVersion != 2 {
		return nil, bad(fmt.Sprintf("schemaVersion is %d, not 2", index.SchemaVersion), nil)
	}
	for i, d := range index.Manifests {
		if err := d.Digest.Validate(); err != nil {
			return nil, bad(fmt.Sprintf("image %d: digest %q", i+1, d.Digest), err)
		}
		if d.Size <= 0 || d.Size > maxManifest {
			return nil, bad(fmt.Sprintf("image %d: its manifest would have %d bytes", i+1, d.Size), nil)
		}
	}
	return &index, nil
}

// fullName is the name under which an image was saved; containerd and docker
// save put a bare tag into the annotation of OCI, and the name into their own.
func fullName(d ocispec.Descriptor) string {
	if n := d.Annotations[containerdName]; n != "" {
		return n
	}
	return d.Annotations[ocispec.AnnotationRefName]
}

func (l *loader) readIndex(m member) error {
	b, err := readSmall(l.src, m, maxIndex)
	if err != nil {
		return err
	}
	if l.index, err = parseIndex(b); err != nil {
		return err
	}
	for _, d := range l.index.Manifests {
		of := "manifest"
		if n := fullName(d); n != "" {
			of += " of " + n
		}
		if err := l.expect(d, expectation{size: d.Size, manifest: true, of: of}); err != nil {
			return err
		}
	}
	return nil
}

// expect notes what a blob must be. A blob that came earlier is held to it now.
func (l *loader) expect(d ocispec.Descriptor, e expectation) error {
	if err := d.Digest.Validate(); err != nil {
		return &FormatError{Detail: fmt.Sprintf("%s: digest %q", e.of, d.Digest), Err: err}
	}
	if e.size < 0 {
		return &FormatError{Blob: d.Digest, Of: e.of, Detail: fmt.Sprintf("it would have %d bytes", e.size)}
	}
	old, known := l.expected[d.Digest]
	switch {
	case known && old.size != e.size:
		return &FormatError{Blob: d.Digest, Of: e.of, Detail: fmt.Sprintf("it has %d bytes here and %d bytes as %s", e.size, old.size, old.of)}
	case known && (old.manifest || !e.manifest):
		return nil
	}
	l.expected[d.Digest] = e
	if !known {
		l.total += e.size
	}
	if size, ok := l.have[d.Digest]; ok {
		if size != e.size {
			return sizeError(d.Digest, e, size)
		}
		if e.manifest {
			l.pending = append(l.pending, d.Digest)
		}
	}
	return nil
}

func sizeError(d digest.Digest, e expectation, got int64) error {
	return &FormatError{Blob: d, Of: e.of, Detail: fmt.Sprintf("it has %d bytes in the tar, %d by its descriptor", got, e.size)}
}

func (l *loader) blob(ctx context.Context, m member) error {
	e, known := l.expected[m.digest]
	if known && e.size != m.size {
		return sizeError(m.digest, e, m.size)
	}
	l.have[m.digest] = m.size
	l.sum.Blobs++
	var err error
	switch {
	case known && e.manifest:
		err = l.manifest(ctx, m, e)
	case l.st.HasBlob(m.digest, m.size):
		l.sum.Reused++
	default:
		_, _, err = l.st.WriteBlob(ctx, l.src.tr, m.digest, m.size)
		err = l.blobError(m, e, err)
	}
	if err != nil {
		return err
	}
	l.sum.Bytes += m.size
	if l.opts.Progress != nil {
		l.opts.Progress(l.sum.Bytes, max(l.total, l.sum.Bytes))
	}
	return nil
}

// blobError says which image a blob that did not arrive belongs to.
func (l *loader) blobError(m member, e expectation, err error) error {
	var be *store.BlobError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &FormatError{Blob: m.digest, Of: e.of, Detail: fmt.Sprintf("it ends before its %d bytes", m.size), Hint: hintTruncated}
	case errors.As(err, &be):
		return &FormatError{Blob: m.digest, Of: e.of, Detail: be.Detail, Hint: "the file is damaged: copy it again"}
	}
	return err
}

func (l *loader) manifest(ctx context.Context, m member, e expectation) error {
	b, err := readSmall(l.src, m, maxManifest)
	if err == nil {
		if l.st.HasBlob(m.digest, m.size) {
			l.sum.Reused++
		}
		_, _, err = l.st.WriteBlob(ctx, bytes.NewReader(b), m.digest, m.size)
	}
	if err := l.blobError(m, e, err); err != nil {
		return err
	}
	// Once more, as the store does not read what it has already.
	if got := m.digest.Algorithm().FromBytes(b); got != m.digest {
		return &FormatError{Blob: m.digest, Of: e.of, Detail: "its content has digest " + got.String(), Hint: "the file is damaged: copy it again"}
	}
	return l.children(m.digest, b, e)
}

func (l *loader) children(d digest.Digest, b []byte, e expectation) error {
	var doc struct {
		Config    *ocispec.Descriptor  `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return &FormatError{Blob: d, Of: e.of, Detail: "not a manifest", Err: err}
	}
	image := strings.TrimPrefix(e.of, "manifest of ")
	if doc.Config != nil {
		if err := l.expect(*doc.Config, expectation{size: doc.Config.Size, of: "config of " + image}); err != nil {
			return err
		}
	}
	for i, c := range doc.Layers {
		if len(c.URLs) > 0 && strings.Contains(c.MediaType, "foreign") {
			continue
		}
		of := fmt.Sprintf("layer %d of %d of %s", i+1, len(doc.Layers), image)
		if err := l.expect(c, expectation{size: c.Size, of: of}); err != nil {
			return err
		}
	}
	for _, c := range doc.Manifests {
		if c.Size > maxManifest {
			return &FormatError{Blob: c.Digest, Of: e.of, Detail: fmt.Sprintf("its manifest would have %d bytes", c.Size)}
		}
		if err := l.expect(c, expectation{size: c.Size, manifest: true, of: "manifest of " + image}); err != nil {
			return err
		}
	}
	return nil
}

// complete reads the manifests that came before the index, and finds what
// did not come at all: a blob may be missing from the tar if the store has it.
func (l *loader) complete() error {
	for len(l.pending) > 0 {
		d := l.pending[0]
		l.pending = l.pending[1:]
		b, err := l.read(d)
		if err != nil {
			return err
		}
		if err := l.children(d, b, l.expected[d]); err != nil {
			return err
		}
	}
	missing := make([]digest.Digest, 0)
	for d, e := range l.expected {
		if _, ok := l.have[d]; !ok && !l.st.HasBlob(d, e.size) {
			missing = append(missing, d)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	sort.Slice(missing, func(i, j int) bool { return missing[i] < missing[j] })
	d := missing[0]
	return &FormatError{Blob: d, Of: l.expected[d].of,
		Detail: fmt.Sprintf("it is neither in the bundle nor in the store, nor are %d others", len(missing)-1), Hint: hintTruncated}
}

func (l *loader) read(d digest.Digest) ([]byte, error) {
	r, err := l.st.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxManifest))
}

// named adds to an error of the tar what was still to come.
func (l *loader) named(err error) error {
	var fe *FormatError
	if l.index == nil || !errors.As(err, &fe) || fe.Hint != hintTruncated {
		return err
	}
	n := 0
	for d := range l.expected {
		if _, ok := l.have[d]; !ok {
			n++
		}
	}
	fe.Detail += fmt.Sprintf(", with at least %d blobs missing", n)
	return err
}

// entries makes what the index says of its images ready for the store.
func (l *loader) entries() ([]store.Entry, error) {
	from := map[string]store.Entry{}
	var entries []store.Entry
	for _, d := range l.index.Manifests {
		e := store.EntryOf(d)
		old := fullName(d)
		if e.Name = old; l.opts.Rename != nil && old != "" {
			if e.Name = l.opts.Rename(old); e.Name == "" {
				continue
			}
		}
		if e.Name != "" {
			if was, ok := from[e.Name]; ok {
				if was.Digest == e.Digest {
					continue // one image under two names that come to one
				}
				return nil, &FormatError{Detail: fmt.Sprintf("images %s and %s would both be named %s", was.Name, old, e.Name),
					Hint: "save them apart: kolla-build save takes --registry, --namespace and --tag"}
			}
			from[e.Name] = store.Entry{Name: old, Digest: e.Digest}
		}
		// What the bundle claims of size, platform and time is found anew
		// from the blobs, which have been checked.
		entries = append(entries, store.Entry{Name: e.Name, Digest: e.Digest, Key: e.Key, Kind: e.Kind, Origin: e.Origin, Created: e.Created})
	}
	if len(entries) == 0 {
		return nil, &FormatError{Detail: "it holds no image"}
	}
	sort.SliceStable(entries, func(i, j int) bool { return entries[i].Name < entries[j].Name })
	return entries, nil
}

// whole has the store walk the images, as it will when they are put: so an
// error comes before any name does.
func (l *loader) whole(ctx context.Context) error {
	for _, e := range l.sum.Images {
		if err := l.st.Check(ctx, e.Digest); err != nil {
			return err
		}
	}
	return nil
}
