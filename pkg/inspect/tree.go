package inspect

import (
	"iter"
	"maps"
	"slices"
	"strings"
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
	o := overlay[located]{}
	for i, l := range layers {
		o.remove(l)
		for j := range l.Entries {
			e := &l.Entries[j]
			o.put(e.Path, e.Type == Dir, located{e, i})
		}
	}
	return &Tree{o.files()}
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

// overlay is a tree under construction. Names are stored by directory, so that the
// removal of a directory does not need a search through all names.
type overlay[T any] struct {
	root node[T]
}

type node[T any] struct {
	set      bool
	value    T
	children map[string]*node[T]
}

func (o *overlay[T]) remove(l *Layer) {
	for _, dir := range l.Opaque {
		if n := o.find(dir); n != nil {
			n.children = nil
		}
	}
	for _, name := range l.Removed {
		if i := strings.LastIndexByte(name, '/'); i < 0 {
			delete(o.root.children, name)
		} else if n := o.find(name[:i]); n != nil {
			delete(n.children, name[i+1:])
		}
	}
}

func (o *overlay[T]) find(name string) *node[T] {
	n := &o.root
	if name == "" {
		return n
	}
	for part := range strings.SplitSeq(name, "/") {
		if n = n.children[part]; n == nil {
			return nil
		}
	}
	return n
}

// put sets the entry at a path. An entry that is not a directory removes everything
// below its path.
func (o *overlay[T]) put(name string, dir bool, v T) {
	n := &o.root
	if name != "" {
		for part := range strings.SplitSeq(name, "/") {
			next := n.children[part]
			if next == nil {
				next = &node[T]{}
				if n.children == nil {
					n.children = map[string]*node[T]{}
				}
				n.children[part] = next
			}
			n = next
		}
	}
	n.set, n.value = true, v
	if !dir {
		n.children = nil
	}
}

func (o *overlay[T]) files() map[string]T {
	out := map[string]T{}
	var walk func(prefix string, n *node[T])
	walk = func(prefix string, n *node[T]) {
		if n.set {
			out[prefix] = n.value
		}
		for name, c := range n.children {
			at := name
			if prefix != "" {
				at = prefix + "/" + name
			}
			walk(at, c)
		}
	}
	walk("", &o.root)
	return out
}
