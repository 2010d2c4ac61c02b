package store

import (
	"context"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Put adds entries in one write of the index: all of them or none. The blobs
// of each must be in the store already; fields that are empty (MediaType,
// Size, Platform, Created, Stored) are filled from them. An entry whose name
// is taken moves the name; what had it before stays under its key, if it has
// one. An entry without a name is held by its key alone.
func (s *Store) Put(entries ...Entry) error {
	type item struct {
		e    Entry
		size int64
	}
	items := make([]item, 0, len(entries))
	for _, e := range entries {
		if e.Name == "" && e.Key == "" {
			return fmt.Errorf("putting image %s: it has neither name nor key", e.Digest)
		}
		if err := checkName(e.Name); err != nil {
			return fmt.Errorf("putting image: %w", err)
		}
		full, size, err := s.describe(e)
		if err != nil {
			return fmt.Errorf("putting image %s: %w", title(e), err)
		}
		items = append(items, item{full, size})
	}
	if len(items) == 0 {
		return nil
	}
	return s.update(func(p *snapshot) (bool, error) {
		changed := false
		ed := newEditor(p)
		for _, it := range items {
			if ed.put(it.e, it.size) {
				changed = true
			}
		}
		p.index.Manifests = ed.list()
		return changed, nil
	})
}

// Tag gives the image with this digest another name, with all that is known of
// it under its other ones.
func (s *Store) Tag(ref string, d digest.Digest) error {
	return s.TagAll(map[string]digest.Digest{ref: d})
}

// TagAll gives names to images in one write of the index: all of them or none.
// It is how a run publishes its set locally once everything is built.
func (s *Store) TagAll(names map[string]digest.Digest) error {
	p, err := s.snapshot()
	if err != nil {
		return err
	}
	known := map[digest.Digest]Entry{}
	for _, e := range p.entries {
		known[e.Digest] = e // the last one has the newest key
	}
	entries := make([]Entry, 0, len(names))
	for ref, d := range names {
		if ref == "" {
			return fmt.Errorf("tagging image %s: the name is empty", d)
		}
		e, ok := known[d]
		if !ok {
			e = Entry{Digest: d}
		}
		e.Name = ref
		entries = append(entries, e)
	}
	return s.Put(entries...)
}

// Remove takes names away, in one write of the index, and returns how many
// there were. Blobs stay until GC. An image whose last name goes is forgotten
// with its keys.
func (s *Store) Remove(names ...string) (int, error) {
	n := 0
	gone := make(map[string]bool, len(names))
	for _, ref := range names {
		gone[ref] = ref != ""
	}
	err := s.update(func(p *snapshot) (bool, error) {
		n = 0
		lost, named := map[digest.Digest]bool{}, map[digest.Digest]bool{}
		var keep []ocispec.Descriptor
		for _, d := range p.index.Manifests {
			ref := d.Annotations[ocispec.AnnotationRefName]
			if gone[ref] {
				n++
				lost[d.Digest] = true
				continue
			}
			if ref != "" {
				named[d.Digest] = true
			}
			keep = append(keep, d)
		}
		p.index.Manifests = nil
		for _, d := range keep {
			if d.Annotations[ocispec.AnnotationRefName] == "" && lost[d.Digest] && !named[d.Digest] {
				continue
			}
			p.index.Manifests = append(p.index.Manifests, d)
		}
		return n > 0, nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Forget drops keys that no name holds any more, neither the image's own nor that
// of an index with it, and that were put before the time given, and returns how
// many. It bounds the index of a store that is
// built into every night; GC then frees their blobs.
func (s *Store) Forget(before time.Time) (int, error) {
	n := 0
	err := s.update(func(p *snapshot) (bool, error) {
		n = 0
		var keep []ocispec.Descriptor
		within := map[digest.Digest]bool{}
		for _, d := range p.index.Manifests {
			if d.Annotations[ocispec.AnnotationRefName] == "" || d.MediaType != ocispec.MediaTypeImageIndex {
				continue
			}
			// What cannot be read holds nothing.
			if b, err := s.readSmall(ocispec.Descriptor{Digest: d.Digest}, "index"); err == nil {
				if doc, err := parseDocument(b); err == nil {
					for _, c := range doc.Manifests {
						within[c.Digest] = true
					}
				}
			}
		}
		for _, d := range p.index.Manifests {
			e := EntryOf(d)
			if e.Name == "" && !within[e.Digest] && e.Stored.Before(before) {
				n++
				continue
			}
			keep = append(keep, d)
		}
		p.index.Manifests = keep
		return n > 0, nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// describe completes e from its blobs and checks that they are all there. It
// returns the manifest's size too.
func (s *Store) describe(e Entry) (Entry, int64, error) {
	sum, err := s.walk(context.Background(), e.Digest, visitStat)
	if err != nil {
		return e, 0, err
	}
	if e.MediaType == "" {
		e.MediaType = sum.mediaType
	}
	e.Size = sum.total
	if e.Platform == "" || e.Created.IsZero() {
		if c, ok := s.readConfig(sum); ok {
			if e.Platform == "" {
				e.Platform = formatPlatform(c.Platform)
			}
			if e.Created.IsZero() && c.Created != nil {
				e.Created = *c.Created
			}
		}
	}
	if e.Stored.IsZero() {
		e.Stored = time.Now()
	}
	e.Stored = e.Stored.Truncate(time.Second)
	return e, sum.size, nil
}

func title(e Entry) string {
	if e.Name != "" {
		return e.Name
	}
	return e.Digest.String()
}

// editor applies puts to a list of descriptors in time linear in their number.
type editor struct {
	items  []ocispec.Descriptor // those with an empty digest are deleted
	byName map[string]int
	byKey  map[string][]int
}

func newEditor(p *snapshot) *editor {
	ed := &editor{byName: map[string]int{}, byKey: map[string][]int{}}
	for _, d := range p.index.Manifests {
		ed.add(d)
	}
	return ed
}

func (ed *editor) add(d ocispec.Descriptor) {
	i := len(ed.items)
	ed.items = append(ed.items, d)
	if n := d.Annotations[ocispec.AnnotationRefName]; n != "" {
		ed.byName[n] = i
	}
	if k := d.Annotations[annotationKey]; k != "" {
		ed.byKey[k] = append(ed.byKey[k], i)
	}
}

func (ed *editor) put(e Entry, size int64) bool {
	next := e.Descriptor(size)
	if e.Name == "" {
		// The newest holder of the key with this very image makes it known already.
		if i := ed.latest(e.Key); i >= 0 && ed.items[i].Digest == e.Digest {
			return false
		}
		ed.dropUnnamed(e.Key)
		ed.add(next)
		return true
	}
	if i, ok := ed.byName[e.Name]; ok {
		old := ed.items[i]
		if sameBut(old, next, annotationStored) && (e.Key == "" || ed.latest(e.Key) == i) {
			return false
		}
		ed.items[i] = ocispec.Descriptor{}
		// What had the name stays under its key, unless that is the key of
		// what has it now.
		if k := old.Annotations[annotationKey]; k != "" && k != e.Key {
			was := EntryOf(old)
			was.Name = ""
			held := false
			for _, j := range ed.byKey[k] {
				held = held || j != i && ed.items[j].Digest == old.Digest
			}
			if !held {
				ed.add(was.Descriptor(old.Size))
			}
		}
	}
	ed.dropUnnamed(e.Key)
	ed.add(next)
	return true
}

// latest returns the item that key finds, -1 if there is none.
func (ed *editor) latest(key string) int {
	ids := ed.byKey[key]
	for n := len(ids) - 1; n >= 0; n-- {
		if ed.items[ids[n]].Digest != "" {
			return ids[n]
		}
	}
	return -1
}

// dropUnnamed deletes entries that only key holds: a newer one has it.
func (ed *editor) dropUnnamed(key string) {
	if key == "" {
		return
	}
	var keep []int
	for _, i := range ed.byKey[key] {
		d := ed.items[i]
		switch {
		case d.Digest == "":
		case d.Annotations[ocispec.AnnotationRefName] == "":
			ed.items[i] = ocispec.Descriptor{}
		default:
			keep = append(keep, i)
		}
	}
	ed.byKey[key] = keep
}

func (ed *editor) list() []ocispec.Descriptor {
	out := make([]ocispec.Descriptor, 0, len(ed.items))
	for _, d := range ed.items {
		if d.Digest != "" {
			out = append(out, d)
		}
	}
	return out
}

// sameBut compares descriptors without one annotation.
func sameBut(a, b ocispec.Descriptor, skip string) bool {
	if a.Digest != b.Digest || a.MediaType != b.MediaType || a.Size != b.Size {
		return false
	}
	n := 0
	for k, v := range a.Annotations {
		if k == skip {
			continue
		}
		n++
		if b.Annotations[k] != v {
			return false
		}
	}
	for k := range b.Annotations {
		if k != skip {
			n--
		}
	}
	return n == 0
}
