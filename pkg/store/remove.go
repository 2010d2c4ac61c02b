package store

import (
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Remove removes names in one write of the index, and returns how many existed.
// Blobs stay until GC. When an image's last name is removed, its keys are, too.
func (s *Store) Remove(names ...string) (int, error) {
	n := 0
	remove := make(map[string]bool, len(names))
	for _, ref := range names {
		remove[ref] = ref != ""
	}
	err := s.update(func(snap *snapshot) (bool, error) {
		n = 0
		removed, named := map[digest.Digest]bool{}, map[digest.Digest]bool{}
		var keep []ocispec.Descriptor
		for _, d := range snap.index.Manifests {
			ref := d.Annotations[ocispec.AnnotationRefName]
			if remove[ref] {
				n++
				removed[d.Digest] = true
				continue
			}
			if ref != "" {
				named[d.Digest] = true
			}
			keep = append(keep, d)
		}
		snap.index.Manifests = nil
		for _, d := range keep {
			if d.Annotations[ocispec.AnnotationRefName] == "" && removed[d.Digest] && !named[d.Digest] {
				continue
			}
			snap.index.Manifests = append(snap.index.Manifests, d)
		}
		return n > 0, nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Forget removes entries that were stored before the given time and have no name,
// neither their own nor through an index, and returns their number. It limits the index
// of a store with nightly builds; GC then frees the blobs.
func (s *Store) Forget(before time.Time) (int, error) {
	n := 0
	err := s.update(func(snap *snapshot) (bool, error) {
		keep := s.remembered(snap, before)
		n = len(snap.index.Manifests) - len(keep)
		snap.index.Manifests = keep
		return n > 0, nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// remembered returns the entries that Forget keeps.
func (s *Store) remembered(snap *snapshot, before time.Time) []ocispec.Descriptor {
	nested := map[digest.Digest]bool{}
	for _, d := range snap.index.Manifests {
		if d.Annotations[ocispec.AnnotationRefName] == "" || d.MediaType != ocispec.MediaTypeImageIndex {
			continue
		}
		// An unreadable index has no references.
		if doc, _, err := s.readDocument(d.Digest, "index"); err == nil {
			for _, c := range doc.Manifests {
				nested[c.Digest] = true
			}
		}
	}
	var keep []ocispec.Descriptor
	for _, d := range snap.index.Manifests {
		if e := EntryOf(d); e.Name != "" || nested[e.Digest] || !e.Stored.Before(before) {
			keep = append(keep, d)
		}
	}
	return keep
}
