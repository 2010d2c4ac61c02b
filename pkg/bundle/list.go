package bundle

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Contents describes a bundle as the bundle describes itself, without verification.
type Contents struct {
	Bundle        string            `json:"bundle"`
	Tool          string            `json:"tool,omitempty"`
	Configuration map[string]string `json:"configuration,omitempty"`
	Signed        bool              `json:"signed"` // by anyone
	Images        []ContentImage    `json:"images"`
	Blobs         int               `json:"blobs"`  // blobs and byte deltas in the bundle, each counted once
	Bytes         int64             `json:"bytes"`  // of these
	Shared        int64             `json:"shared"` // bytes more than Bytes if each image were a file of its own
	Delta         *ContentDelta     `json:"delta,omitempty"`
	Extra         []string          `json:"extra,omitempty"` // files in a directory that do not belong to the bundle
}

// ContentImage is an image of a bundle.
type ContentImage struct {
	Name      string        `json:"name"`
	Digest    digest.Digest `json:"digest"`
	Platforms []string      `json:"platforms,omitempty"`
	Size      int64         `json:"size"` // bytes of its blobs, in this bundle, made from byte deltas or required
	Own       int64         `json:"own"`  // bytes in the bundle that no other image of it uses
	Created   string        `json:"created,omitempty"`
	Key       string        `json:"key,omitempty"`
	Kind      store.Kind    `json:"kind,omitempty"`
}

// ContentDelta describes the requirements of a delta.
type ContentDelta struct {
	Since    string        `json:"since,omitempty"` // place of the inventory that it was made for
	Requires []Requirement `json:"requires"`
	Bytes    int64         `json:"bytes"` // of the required blobs
}

// Requirement is a blob or image that a delta requires.
type Requirement struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
	Image  string        `json:"image"` // the first one that needs it
}

// List reads the content of a bundle, without reading more than the manifests of its
// images. files are the parts of a bundle that was split, of which path is one, or nil.
func List(ctx context.Context, path string, files []string, stdin io.Reader) (*Contents, error) {
	c, err := list(ctx, path, files, stdin)
	if err != nil {
		return nil, fmt.Errorf("reading bundle %s: %w", path, err)
	}
	return c, nil
}

func list(ctx context.Context, path string, files []string, stdin io.Reader) (*Contents, error) {
	src, err := openUnverified(ctx, path, files, stdin)
	if err != nil {
		return nil, err
	}
	defer src.close()
	l := newLister(src)
	if err := l.read(ctx); err != nil {
		return nil, err
	}
	if !l.indexed {
		return nil, &FormatError{Detail: "it contains no " + ocispec.ImageIndexFile, Advice: adviceNoBundle}
	}
	if err := l.check.images(l.images); err != nil {
		return nil, err
	}
	c, err := l.contents(ctx)
	if err != nil {
		return nil, err
	}
	c.Bundle, c.Extra = path, src.extra
	return c, nil
}

// openUnverified opens a bundle; its parts are read without verification, unless some are
// lost and can be restored.
func openUnverified(ctx context.Context, path string, files []string, stdin io.Reader) (*source, error) {
	if len(files) == 0 && path != "-" && parts.IsPart(path) {
		files = []string{path}
	}
	if len(files) == 0 {
		return openSource(ctx, path, stdin, nil)
	}
	set, err := parts.Open(files...)
	if err != nil {
		return nil, err
	}
	if len(set.Lost()) > 0 && set.Needed() == 0 {
		return openParts(ctx, nil, "", files...)
	}
	r := set.Scan(ctx)
	s, err := newSource(r, func() { r.Close() })
	if err != nil {
		r.Close()
	}
	return s, err
}

// lister reads the descriptions in a bundle.
type lister struct {
	src     *source
	check   manifestCheck
	signed  bool
	indexed bool
	images  []ocispec.Descriptor
	delta   *deltaDocument
	graph   graph
	carried map[digest.Digest]int64 // bytes of the files, by blob or restored layer

	reached  map[digest.Digest]bool // manifests that the images refer to
	unread   map[digest.Digest]bool // of them
	required map[digest.Digest]bool // by a delta
}

func newLister(src *source) *lister {
	return &lister{
		src: src, carried: map[digest.Digest]int64{}, reached: map[digest.Digest]bool{},
		unread: map[digest.Digest]bool{}, required: map[digest.Digest]bool{},
	}
}

func (l *lister) read(ctx context.Context) error {
	check := checker{layoutOnly: true}
	for {
		m, err := check.next(ctx, l.src)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := l.member(m); err != nil {
			return err
		}
		if m.digest != "" && l.complete() {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// complete reports whether all manifests of all images are known, but for those that a delta
// omits.
func (l *lister) complete() bool {
	return l.indexed && l.check.doc != nil && len(l.unread) == 0 // else anything may follow
}

// reach notes that an image refers to a manifest, and through it to others.
func (l *lister) reach(d digest.Digest) {
	for next := []digest.Digest{d}; len(next) > 0; {
		d := next[len(next)-1]
		next = next[:len(next)-1]
		if l.reached[d] {
			continue
		}
		l.reached[d] = true
		refs, read := l.graph.documents[d]
		if !read && !l.required[d] {
			l.unread[d] = true
		}
		next = append(next, manifests(refs)...)
	}
}

// found notes that a manifest has been read.
func (l *lister) found(d digest.Digest) {
	delete(l.unread, d)
	if l.reached[d] {
		for _, child := range manifests(l.graph.documents[d]) {
			l.reach(child)
		}
	}
}

func manifests(refs []reference) []digest.Digest {
	var out []digest.Digest
	for _, r := range refs {
		if r.role.kind == "manifest" {
			out = append(out, r.digest)
		}
	}
	return out
}

func (l *lister) member(m member) error {
	if m.digest != "" {
		l.carried[m.digest] = m.size
		if m.delta || m.size > maxManifest {
			return nil
		}
		b, err := readSmall(l.src, m, maxManifest)
		if err != nil || len(b) == 0 || b[0] != '{' {
			return err
		}
		if err := l.graph.add(m.digest, b); err != nil {
			return err
		}
		if _, manifest := l.graph.documents[m.digest]; manifest {
			l.found(m.digest)
		}
		return nil
	}
	limit := int64(maxIndex)
	if m.name == manifestFile {
		limit = maxBundleManifest
	}
	b, err := readSmall(l.src, m, limit)
	if err == nil {
		err = l.check.content(m.name, b)
	}
	if err != nil {
		return err
	}
	switch m.name {
	case signatureFile:
		l.signed = true
	case ocispec.ImageIndexFile:
		l.indexed = true
		l.images, err = parseIndex(b)
		for _, d := range l.images {
			l.reach(d.Digest)
		}
	case deltaIndex:
		var doc deltaDocument
		doc, err = parseDelta(b)
		l.delta = &doc
		for _, r := range doc.Requires {
			l.required[r.Digest] = true
			delete(l.unread, r.Digest)
		}
	}
	return err
}

// inFile returns the bytes that a bundle needs for a blob: those of a byte delta in place of
// a layer, none for a blob that a delta requires.
func (l *lister) inFile(r reference) int64 {
	if l.delta == nil {
		return r.size
	}
	return l.carried[r.digest]
}

func (l *lister) contents(ctx context.Context) (*Contents, error) {
	contents := &Contents{Signed: l.signed, Images: []ContentImage{}}
	described := map[string]ManifestImage{}
	if doc := l.check.doc; doc != nil {
		contents.Tool, contents.Configuration = printable(doc.Tool), doc.Configuration
		for _, image := range doc.Images {
			described[image.Name] = image
		}
		for _, f := range doc.Files { // the listing may have ended before these blobs
			if d, ok := blobDigest(strings.Replace(f.Name, deltaDir+"/", "blobs/", 1)); ok {
				l.carried[d] = f.Size
			}
		}
	}
	users := map[digest.Digest]int{}
	for _, d := range l.images {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		_, err := l.graph.walk(root(d), func(r reference) {
			users[r.digest]++
			_, carried := l.carried[r.digest]
			switch {
			case l.delta != nil && !carried:
			case users[r.digest] == 1:
				contents.Blobs++
				contents.Bytes += l.inFile(r)
			default:
				contents.Shared += l.inFile(r)
			}
		})
		if err != nil {
			return nil, &FormatError{Blob: d.Digest, Of: "manifest of " + printable(fullName(d)),
				Detail: err.Error(), Advice: adviceForeign}
		}
	}
	for _, d := range l.images {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e := store.EntryOf(d)
		image := ContentImage{Name: fullName(d), Digest: d.Digest, Key: e.Key, Kind: e.Kind}
		m := described[image.Name]
		image.Platforms, image.Created = m.Platforms, m.Created
		_, _ = l.graph.walk(root(d), func(r reference) { // it was visited before
			image.Size += r.size
			if users[r.digest] == 1 {
				image.Own += l.inFile(r)
			}
		})
		if _, known := l.graph.documents[d.Digest]; !known {
			image.Size, image.Own = m.Size, 0 // a delta that omits the whole image
		}
		contents.Images = append(contents.Images, image)
	}
	if l.delta != nil {
		contents.Delta = &ContentDelta{Since: printable(l.delta.Since), Requires: []Requirement{}}
		for _, r := range l.delta.Requires {
			contents.Delta.Requires = append(contents.Delta.Requires, Requirement{r.Digest, r.Size, printable(r.Image)})
			contents.Delta.Bytes += r.Size
		}
	}
	return contents, nil
}
