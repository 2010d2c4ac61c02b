// Package contents lists what bundles contain, as they describe it, for people, and as the inventory of
// a site that has loaded them. It verifies no layer.
//
// It reads the documents of a bundle, and blobs so small that they may be one. It must not read larger ones.
package contents

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/reader"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Listing describes a bundle as the bundle describes itself, without verification.
type Listing struct {
	Bundle        string            `json:"bundle"`
	Tool          string            `json:"tool,omitempty"`
	Configuration map[string]string `json:"configuration,omitempty"`
	Signed        bool              `json:"signed"` // by anyone
	Images        []Image           `json:"images"`
	Blobs         int               `json:"blobs"`  // blobs and byte deltas in the bundle, each counted once
	Bytes         int64             `json:"bytes"`  // of these
	Shared        int64             `json:"shared"` // bytes more than Bytes if each image were a file of its own
	Delta         *Delta            `json:"delta,omitempty"`
	Extra         []string          `json:"extra,omitempty"` // files in a directory that do not belong to the bundle

	carried map[digest.Digest]int64 // as in lister
}

// Carries reports whether the bundle says that it contains a blob, or a byte delta that makes it.
func (l *Listing) Carries(blob digest.Digest) bool {
	_, ok := l.carried[blob]
	return ok
}

// Image is an image of a bundle.
type Image struct {
	Name      string        `json:"name"`
	Digest    digest.Digest `json:"digest"`
	Platforms []string      `json:"platforms,omitempty"`
	Size      int64         `json:"size"` // bytes of its blobs, in this bundle, made from byte deltas or required
	Own       int64         `json:"own"`  // bytes in the bundle that no other image of it uses
	Created   string        `json:"created,omitempty"`
	Key       string        `json:"key,omitempty"`
	Kind      store.Kind    `json:"kind,omitempty"`
}

// Delta describes the requirements of a delta.
type Delta struct {
	Since    string        `json:"since,omitempty"` // place of the inventory that it was made for
	Requires []Requirement `json:"requires"`
	Bytes    int64         `json:"bytes"` // of the required blobs
}

// Requirement is a blob or image that a delta requires.
type Requirement struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
	Image  string        `json:"image"`          // the first one that needs it
	More   int           `json:"more,omitempty"` // how many other images need it
}

// List describes a bundle. If it has a manifest, as save writes it, only the beginning is read, as far as
// the manifests of the images. files are the parts of a bundle that was split, of which path is one, or nil.
func List(ctx context.Context, path string, files []string, stdin io.Reader) (*Listing, error) {
	c, err := list(ctx, path, files, stdin)
	if err != nil {
		return nil, fmt.Errorf("reading bundle %s: %w", path, err)
	}
	return c, nil
}

func list(ctx context.Context, path string, files []string, stdin io.Reader) (*Listing, error) {
	src, err := reader.OpenUnverified(ctx, path, files, stdin)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	l := newLister(src)
	if err := l.read(ctx); err != nil {
		return nil, err
	}
	if !l.indexed {
		return nil, &bundle.FormatError{Detail: "it contains no " + ocispec.ImageIndexFile, Advice: bundle.AdviceNoBundle}
	}
	if err := l.check.Images(l.images); err != nil {
		return nil, err
	}
	c, err := l.contents(ctx)
	if err != nil {
		return nil, err
	}
	c.Bundle, c.Extra, c.carried = path, src.Extra, l.carried
	return c, nil
}

// lister reads the descriptions in a bundle.
type lister struct {
	src     *reader.Source
	check   reader.ManifestCheck
	signed  bool
	indexed bool
	images  []ocispec.Descriptor
	delta   *bundle.DeltaList
	graph   bundle.Graph
	carried map[digest.Digest]int64 // bytes of the files, by blob or restored layer

	reached  map[digest.Digest]bool // manifests that the images refer to
	unread   map[digest.Digest]bool // of them
	required map[digest.Digest]bool // by a delta
}

func newLister(src *reader.Source) *lister {
	return &lister{
		src: src, carried: map[digest.Digest]int64{}, reached: map[digest.Digest]bool{},
		unread: map[digest.Digest]bool{}, required: map[digest.Digest]bool{},
	}
}

func (l *lister) read(ctx context.Context) error {
	check := reader.Checker{LayoutOnly: true}
	for {
		m, err := check.Next(ctx, l.src)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := l.member(m); err != nil {
			return err
		}
		if m.Digest != "" && l.complete() {
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
	return l.indexed && l.check.Manifest != nil && len(l.unread) == 0 // else anything may follow
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
		refs, read := l.graph.Documents[d]
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
		for _, child := range manifests(l.graph.Documents[d]) {
			l.reach(child)
		}
	}
}

func manifests(refs []bundle.Reference) []digest.Digest {
	var out []digest.Digest
	for _, r := range refs {
		if r.Role.Kind == "manifest" {
			out = append(out, r.Digest)
		}
	}
	return out
}

func (l *lister) member(m reader.Member) error {
	if m.Digest != "" {
		l.carried[m.Digest] = m.Size
		if m.Delta || m.Size > bundle.MaxImageManifest {
			return nil
		}
		b, err := reader.ReadSmall(l.src, m, bundle.MaxImageManifest)
		if err != nil || len(b) == 0 || b[0] != '{' {
			return err
		}
		if err := l.graph.Add(m.Digest, b); err != nil {
			return err
		}
		if _, manifest := l.graph.Documents[m.Digest]; manifest {
			l.found(m.Digest)
		}
		return nil
	}
	limit := int64(bundle.MaxIndex)
	if m.Name == bundle.ManifestName {
		limit = bundle.MaxManifest
	}
	b, err := reader.ReadSmall(l.src, m, limit)
	if err == nil {
		err = l.check.Content(m.Name, b)
	}
	if err != nil {
		return err
	}
	switch m.Name {
	case bundle.SignatureName:
		l.signed = true
	case ocispec.ImageIndexFile:
		l.indexed = true
		l.images, err = bundle.ParseIndex(b)
		for _, d := range l.images {
			l.reach(d.Digest)
		}
	case bundle.DeltaListName:
		var doc bundle.DeltaList
		doc, err = bundle.ParseDeltaList(b)
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
func (l *lister) inFile(r bundle.Reference) int64 {
	if l.delta == nil {
		return r.Size
	}
	return l.carried[r.Digest]
}

func (l *lister) contents(ctx context.Context) (*Listing, error) {
	contents := &Listing{Signed: l.signed, Images: []Image{}}
	described := map[string]bundle.ManifestImage{}
	if doc := l.check.Manifest; doc != nil {
		contents.Tool, contents.Configuration = bundle.Printable(doc.Tool), doc.Configuration
		for _, image := range doc.Images {
			described[image.Name] = image
		}
		for _, f := range doc.Files { // the listing may have ended before these blobs
			if d, ok := bundle.BlobDigest(strings.Replace(f.Name, bundle.DeltaDir+"/", "blobs/", 1)); ok {
				l.carried[d] = f.Size
			}
		}
	}
	users := map[digest.Digest]int{}
	for _, d := range l.images {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		_, err := l.graph.Walk(bundle.ReferenceTo(d), func(r bundle.Reference) {
			users[r.Digest]++
			_, carried := l.carried[r.Digest]
			switch {
			case l.delta != nil && !carried:
			case users[r.Digest] == 1:
				contents.Blobs++
				contents.Bytes += l.inFile(r)
			default:
				contents.Shared += l.inFile(r)
			}
		})
		if err != nil {
			return nil, &bundle.FormatError{Blob: d.Digest, Of: "manifest of " + bundle.Printable(bundle.ImageName(d)),
				Detail: err.Error(), Advice: bundle.AdviceForged}
		}
	}
	for _, d := range l.images {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e := store.EntryOf(d)
		image := Image{Name: bundle.ImageName(d), Digest: d.Digest, Key: e.Key, Kind: e.Kind}
		m := described[image.Name]
		image.Platforms, image.Created = m.Platforms, m.Created
		_, _ = l.graph.Walk(bundle.ReferenceTo(d), func(r bundle.Reference) { // it was visited before
			image.Size += r.Size
			if users[r.Digest] == 1 {
				image.Own += l.inFile(r)
			}
		})
		if _, known := l.graph.Documents[d.Digest]; !known {
			image.Size, image.Own = m.Size, 0 // a delta that omits the whole image
		}
		contents.Images = append(contents.Images, image)
	}
	if l.delta != nil {
		contents.Delta = &Delta{Since: bundle.Printable(l.delta.Since), Requires: []Requirement{}}
		for _, r := range l.delta.Requires {
			contents.Delta.Requires = append(contents.Delta.Requires, Requirement{
				Digest: r.Digest, Size: r.Size, Image: bundle.Printable(r.Image), More: r.More})
			contents.Delta.Bytes += r.Size
		}
	}
	return contents, nil
}
