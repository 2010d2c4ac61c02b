package store

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// descriptorEditor adds entries to a list of descriptors, in time linear in their number.
type descriptorEditor struct {
	items  []ocispec.Descriptor // those with an empty digest were deleted
	byName map[string]int
	byKey  map[string][]int
}

func newEditor(p *snapshot) *descriptorEditor {
	ed := &descriptorEditor{byName: map[string]int{}, byKey: map[string][]int{}}
	for _, d := range p.index.Manifests {
		ed.add(d)
	}
	return ed
}

func (ed *descriptorEditor) add(d ocispec.Descriptor) {
	i := len(ed.items)
	ed.items = append(ed.items, d)
	if n := d.Annotations[ocispec.AnnotationRefName]; n != "" {
		ed.byName[n] = i
	}
	if k := d.Annotations[annotationKey]; k != "" {
		ed.byKey[k] = append(ed.byKey[k], i)
	}
}

func (ed *descriptorEditor) put(e Entry, size int64) bool {
	next := e.Descriptor(size)
	if e.Name == "" {
		// Nothing changes if the newest entry with the key is this image.
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
		// The previous image stays under its key, unless the new one has the same.
		if k := old.Annotations[annotationKey]; k != "" && k != e.Key {
			previous := EntryOf(old)
			previous.Name = ""
			present := false
			for _, j := range ed.byKey[k] {
				present = present || j != i && ed.items[j].Digest == old.Digest
			}
			if !present {
				ed.add(previous.Descriptor(old.Size))
			}
		}
	}
	ed.dropUnnamed(e.Key)
	ed.add(next)
	return true
}

// latest returns the position of the newest item with a key, or -1.
func (ed *descriptorEditor) latest(key string) int {
	ids := ed.byKey[key]
	for n := len(ids) - 1; n >= 0; n-- {
		if ed.items[ids[n]].Digest != "" {
			return ids[n]
		}
	}
	return -1
}

// dropUnnamed deletes the entries with this key that have no name, because a newer
// entry has the key.
func (ed *descriptorEditor) dropUnnamed(key string) {
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

func (ed *descriptorEditor) list() []ocispec.Descriptor {
	out := make([]ocispec.Descriptor, 0, len(ed.items))
	for _, d := range ed.items {
		if d.Digest != "" {
			out = append(out, d)
		}
	}
	return out
}

// sameBut reports whether descriptors are equal except for one annotation.
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
