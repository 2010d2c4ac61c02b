package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// Put adds entries in one write of the index: all of them or none. The blobs of each
// must be in the store already; empty fields (MediaType, Size, Platform, Created,
// Stored) are filled in from them. If a name is in use, the new entry gets it, and the
// previous entry stays under its key if it has one. An entry without a name must have a
// key.
func (s *Store) Put(entries ...Entry) error { return s.put(entries, nil) }

// PutNew is Put without replacing names: if a name, in any spelling, belongs to an
// image with another digest, it returns a *NamesTakenError and adds nothing. An entry
// with the name and digest of a stored one keeps the stored fields.
func (s *Store) PutNew(entries ...Entry) error {
	return s.put(entries, func(p *snapshot, items []putItem) error { return s.keepNames(p, items) })
}

// TakenNames returns the names of entries that belong to images with another
// digest, sorted.
func (s *Store) TakenNames(entries []Entry) ([]string, error) {
	p, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	var taken []string
	for _, e := range entries {
		if stored, ok := s.find(p, e.Name); ok && e.Name != "" && stored.Digest != e.Digest {
			taken = append(taken, e.Name)
		}
	}
	slices.Sort(taken)
	return taken, nil
}

func (s *Store) keepNames(p *snapshot, items []putItem) error {
	var taken []string
	for i, it := range items {
		stored, ok := s.find(p, it.e.Name)
		switch {
		case !ok || it.e.Name == "":
		case stored.Digest != it.e.Digest:
			taken = append(taken, it.e.Name)
		default:
			items[i].e.keep(stored)
		}
	}
	if len(taken) > 0 {
		slices.Sort(taken)
		return &NamesTakenError{Names: taken}
	}
	return nil
}

// keep fills in fields from another entry of the same image.
func (e *Entry) keep(stored Entry) {
	if e.Key == "" {
		e.Key = stored.Key
	}
	if e.Kind == "" || e.Kind == KindLoaded {
		e.Kind = stored.Kind
	}
	if e.Origin == "" {
		e.Origin = stored.Origin
	}
}

// putItem is an entry to put, with the size of its manifest in bytes.
type putItem struct {
	e    Entry
	size int64
}

func (s *Store) put(entries []Entry, check func(*snapshot, []putItem) error) error {
	items := make([]putItem, 0, len(entries))
	for _, e := range entries {
		if e.Name == "" && e.Key == "" {
			return fmt.Errorf("putting image %s: it has neither name nor key", e.Digest)
		}
		if err := e.check(); err != nil {
			return fmt.Errorf("putting image: %w", err)
		}
		full, size, err := s.describe(e)
		if err != nil {
			return fmt.Errorf("putting image %s: %w", title(e), err)
		}
		items = append(items, putItem{full, size})
	}
	if len(items) == 0 {
		return nil
	}
	return s.update(func(p *snapshot) (bool, error) {
		if check != nil {
			if err := check(p, items); err != nil {
				return false, err
			}
		}
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

// Tag adds a name to the image with this digest, and copies the fields of its other
// entries.
func (s *Store) Tag(ref string, d digest.Digest) error {
	return s.TagAll(map[string]digest.Digest{ref: d})
}

// TagAll adds names to images in one write of the index: all of them or none.
func (s *Store) TagAll(names map[string]digest.Digest) error {
	p, err := s.snapshot()
	if err != nil {
		return err
	}
	byDigest := map[digest.Digest]Entry{}
	for _, e := range p.entries {
		byDigest[e.Digest] = e // the last one has the newest key
	}
	entries := make([]Entry, 0, len(names))
	for ref, d := range names {
		if ref == "" {
			return fmt.Errorf("tagging image %s: the name is empty", d)
		}
		e, ok := byDigest[d]
		if !ok {
			e = Entry{Digest: d}
		}
		e.Name = ref
		entries = append(entries, e)
	}
	return s.Put(entries...)
}

// describe fills in e from its blobs and checks that they all exist. It returns
// the manifest's size too.
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
		if platform, created, ok := s.readConfig(sum); ok {
			if e.Platform == "" {
				e.Platform = FormatPlatform(platform)
			}
			if e.Created.IsZero() {
				e.Created = created
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
