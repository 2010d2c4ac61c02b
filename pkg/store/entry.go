package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Annotations of a descriptor in index.json. An image's name is in OCI's own
// annotation, where other tools look for it.
const (
	annotationKey    = "io.kolla-build.key"
	annotationKind   = "io.kolla-build.kind"
	annotationOrigin = "io.kolla-build.origin"
	annotationSize   = "io.kolla-build.size"
	annotationStored = "io.kolla-build.stored"
)

// Kind is the origin of an image in the store.
type Kind string

// The kinds of images.
const (
	KindBuilt  Kind = "built"  // by a run
	KindBase   Kind = "base"   // bootstrapped, imported or pulled, to build on
	KindLoaded Kind = "loaded" // from a bundle that was not trusted: nothing is built on it
)

// Entry is an image in the store.
type Entry struct {
	// full reference, such as "localhost:4000/kolla/nova-api:t"; "" if another image has the name now
	Name      string
	Digest    digest.Digest // of the manifest, or of the index of a multi-platform image
	MediaType string        // of what Digest refers to
	Size      int64         // bytes of manifest, config and layers as stored (compressed)
	Key       string        // content key of the build, "" for other images
	Platform  string        // such as "linux/amd64", "" for an index
	Created   time.Time     // from the image's config
	Stored    time.Time     // when it was stored here
	Kind      Kind          // "" for images that another tool stored here
	Origin    string        // for people: where a base image came from
}

// EntryOf reads an entry from a descriptor in the index of this store, or of
// another OCI layout.
func EntryOf(d ocispec.Descriptor) Entry {
	a := d.Annotations
	e := Entry{
		Name: a[ocispec.AnnotationRefName], Digest: d.Digest, MediaType: d.MediaType,
		Key: a[annotationKey], Kind: Kind(a[annotationKind]), Origin: a[annotationOrigin],
	}
	if e.Size, _ = strconv.ParseInt(a[annotationSize], 10, 64); e.Size == 0 {
		e.Size = d.Size
	}
	e.Created, _ = time.Parse(time.RFC3339Nano, a[ocispec.AnnotationCreated])
	e.Stored, _ = time.Parse(time.RFC3339Nano, a[annotationStored])
	if d.Platform != nil {
		e.Platform = FormatPlatform(*d.Platform)
	}
	return e
}

// FormatPlatform returns a platform in the form of Entry.Platform: "linux/arm64/v8".
func FormatPlatform(p ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

func parsePlatform(s string) *ocispec.Platform {
	parts := strings.Split(s, "/")
	if len(parts) < 2 {
		return nil
	}
	p := &ocispec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) > 2 {
		p.Variant = parts[2]
	}
	return p
}

// Descriptor is the inverse of EntryOf. size is the size of the manifest alone, in
// bytes.
func (e Entry) Descriptor(size int64) ocispec.Descriptor {
	a := map[string]string{}
	set := func(k, v string) {
		if v != "" {
			a[k] = v
		}
	}
	set(ocispec.AnnotationRefName, e.Name)
	set(annotationKey, e.Key)
	set(annotationKind, string(e.Kind))
	origin := e.Origin
	if strings.ContainsFunc(origin, func(r rune) bool { return !isVisible(r) }) {
		origin = strconv.QuoteToASCII(origin) // a path can contain anything
	}
	set(annotationOrigin, origin)
	set(annotationSize, strconv.FormatInt(e.Size, 10))
	if !e.Created.IsZero() {
		set(ocispec.AnnotationCreated, e.Created.UTC().Format(time.RFC3339Nano))
	}
	if !e.Stored.IsZero() {
		set(annotationStored, e.Stored.UTC().Format(time.RFC3339Nano))
	}
	return ocispec.Descriptor{
		MediaType: e.MediaType, Digest: e.Digest, Size: size, Annotations: a, Platform: parsePlatform(e.Platform),
	}
}

// maxName is the length in bytes of the names and other texts of an entry.
const maxName = 4096

// isVisible reports whether a terminal shows a character in its place: it is not a
// control character and does not change the direction of text.
func isVisible(r rune) bool { return unicode.IsPrint(r) && r != unicode.ReplacementChar }

// check rejects entries whose texts would confuse people or the tools that read
// the layout. Names are references, with "@OS/ARCH" for images that are stored
// beside one for another platform.
func (e Entry) check() error {
	fields := map[string]string{"name": e.Name, "key": e.Key, "kind": string(e.Kind), "platform": e.Platform}
	for field, text := range fields {
		if len(text) > maxName {
			return fmt.Errorf("image %s of %d bytes is too long", field, len(text))
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r == ' ' && field != "key" || !isVisible(r) }) {
			return fmt.Errorf("image %s %q contains a space, control or invisible character", field, text)
		}
	}
	for part := range strings.SplitSeq(e.Name, "/") {
		if part == ".." || part == "." {
			return fmt.Errorf("image name %q contains %q", e.Name, part)
		}
	}
	return nil
}
