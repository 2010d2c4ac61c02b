package inspect

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// Found is an entry of the file system of an image.
type Found struct {
	Entry
	Layer int // index of its layer, 0 for the lowest
}

// located is a Found without a copy of the entry, of which a tree may have a million.
type located struct {
	*Entry
	layer int
}

// Tree is the file system of an image, as a container sees it.
type Tree struct {
	byPath map[string]located
}

// Lookup returns the entry at a path, which has no leading slash; the root is "".
// Directories that no layer lists are not found.
func (t *Tree) Lookup(path string) (Found, bool) {
	l, ok := t.byPath[path]
	if !ok {
		return Found{}, false
	}
	return Found{*l.Entry, l.layer}, true
}

// All returns the paths and entries in no particular order.
func (t *Tree) All() iter.Seq2[string, Found] {
	return func(yield func(string, Found) bool) {
		for name, l := range t.byPath {
			if !yield(name, Found{*l.Entry, l.layer}) {
				return
			}
		}
	}
}

// Merge applies layers, the lowest first.
func Merge(layers []*Layer) *Tree {
	actions := overlayOf(layers)
	t := &Tree{make(map[string]located, len(actions))}
	for name, l := range actions.files() {
		t.byPath[name] = l
	}
	return t
}

// merge applies layers, the lowest first, and returns the entries that remain.
func merge(layers []*Layer) []located {
	var out []located
	for _, l := range overlayOf(layers).files() {
		out = append(out, l)
	}
	return out
}

// overlayOf lists what layers do, the lowest first.
func overlayOf(layers []*Layer) overlay[located] {
	n := 0
	for _, l := range layers {
		n += len(l.Entries) + len(l.Removed) + len(l.Opaque)
	}
	o := make(overlay[located], 0, n) // its growth would take as much memory again
	for i, l := range layers {
		o.remove(l)
		for j := range l.Entries {
			e := &l.Entries[j]
			o.put(e.Path, e.Type == Dir, located{e, i})
		}
	}
	return o
}

// Part is the information T about some files of a layer, such as those of a package
// manager. Parts can be stored, and merged without reading the layers again.
type Part[T any] struct {
	Files   map[string]T `json:"files,omitempty"` // by path
	Removed []string     `json:"removed,omitempty"`
	Opaque  []string     `json:"opaque,omitempty"`
	// Other are paths of entries that replace a directory in lower layers that may
	// contain relevant files.
	Other []string `json:"other,omitempty"`
}

// MakePart returns the Part of a layer. files is the information about the files in the
// layer; relevant reports whether a path is such a file, or a directory that may
// contain one.
func MakePart[T any](l *Layer, files map[string]T, relevant func(path string) bool) Part[T] {
	p := Part[T]{Files: files}
	for _, r := range l.Removed {
		if relevant(r) {
			p.Removed = append(p.Removed, r)
		}
	}
	for _, o := range l.Opaque {
		if relevant(o) {
			p.Opaque = append(p.Opaque, o)
		}
	}
	for _, e := range l.Entries {
		if _, known := files[e.Path]; !known && e.Type != Dir && relevant(e.Path) {
			p.Other = append(p.Other, e.Path)
		}
	}
	return p
}

// MergeParts applies the parts of the layers of an image, the lowest first, and
// returns the remaining information by path.
func MergeParts[T any](parts []Part[T]) map[string]T {
	o := overlay[*T]{}
	for _, p := range parts {
		o.remove(&Layer{Removed: p.Removed, Opaque: p.Opaque})
		for _, name := range p.Other {
			o.put(name, false, nil)
		}
		for _, name := range slices.Sorted(maps.Keys(p.Files)) {
			v := p.Files[name]
			o.put(name, false, &v)
		}
	}
	out := map[string]T{}
	for name, v := range o.files() {
		if v != nil {
			out[name] = *v
		}
	}
	return out
}

// overlay lists what layers do to paths, one after the other. A list that is sorted at the end
// takes less memory than a tree of maps, and the removal of a directory needs no search.
type overlay[T any] []action[T]

type action[T any] struct {
	path  string
	value T
	order int32
	kind  actionKind
}

type actionKind uint8

const (
	putFile actionKind = iota // removes everything below its path
	putDir
	removePath  // and everything below
	removeBelow // everything below
)

func (o *overlay[T]) add(path string, kind actionKind, value T) {
	*o = append(*o, action[T]{path, value, int32(len(*o)), kind})
}

func (o *overlay[T]) remove(l *Layer) {
	var none T
	for _, dir := range l.Opaque {
		o.add(dir, removeBelow, none)
	}
	for _, name := range l.Removed {
		o.add(name, removePath, none)
	}
}

// put sets the entry at a path. An entry that is not a directory removes everything
// below its path.
func (o *overlay[T]) put(name string, dir bool, value T) {
	kind := putFile
	if dir {
		kind = putDir
	}
	o.add(name, kind, value)
}

// files yields the paths and values that remain.
func (o overlay[T]) files() iter.Seq2[string, T] {
	slices.SortFunc(o, func(a, b action[T]) int {
		return cmp.Or(comparePaths(a.path, b.path), cmp.Compare(a.order, b.order))
	})
	// above are the directories of the current path that an action removed the content of, and
	// the last such action of each and of the directories around it.
	type removal struct {
		path  string
		order int32
	}
	return func(yield func(string, T) bool) {
		var above []removal
		for i := 0; i < len(o); {
			path := o[i].path
			for len(above) > 0 && !isBelow(path, above[len(above)-1].path) {
				above = above[:len(above)-1]
			}
			around := int32(-1)
			if len(above) > 0 {
				around = above[len(above)-1].order
			}
			last, removedBelow := -1, around
			for ; i < len(o) && o[i].path == path; i++ {
				switch o[i].kind {
				case putFile, putDir:
					last = i
				case removePath:
					last = -1
				}
				if o[i].kind != putDir {
					removedBelow = max(removedBelow, o[i].order)
				}
			}
			if removedBelow > around {
				above = append(above, removal{path, removedBelow})
			}
			if last >= 0 && o[last].order > around && !yield(path, o[last].value) {
				return
			}
		}
	}
}

// isBelow reports whether a path is in a directory, of which the root is "".
func isBelow(path, dir string) bool {
	if dir == "" {
		return path != ""
	}
	return len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}

// comparePaths orders paths so that those in a directory follow it directly.
func comparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == b[i]:
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		default:
			return cmp.Compare(a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b))
}
