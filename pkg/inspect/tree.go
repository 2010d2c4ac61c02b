package inspect

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Found is an entry of an image's effective tree.
type Found struct {
	Entry
	Layer int // index of the layer that it comes from, 0 for the lowest
}

// Tree is what the layers of an image come to: what a container would see.
type Tree struct {
	byPath map[string]Found
}

// Merge lays layers over each other, the lowest first.
func Merge(layers []*Layer) *Tree {
	o := overlay[Found]{}
	for i, l := range layers {
		o.remove(l)
		for _, e := range l.Entries {
			o.put(e.Path, e.Type == Dir, Found{e, i})
		}
	}
	return &Tree{o.files()}
}

// ReadTree reads all layers of an image and lays them over each other.
func ReadTree(ctx context.Context, img v1.Image, opts Options) (*Tree, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("reading image: %w", err)
	}
	var all []*Layer
	for i, l := range layers {
		one, _, err := ReadLayer(ctx, l, opts)
		if err != nil {
			return nil, fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		}
		all = append(all, one)
	}
	return Merge(all), nil
}

// Lookup returns the entry at a path, written without a leading slash.
func (t *Tree) Lookup(path string) (Found, bool) {
	f, ok := t.byPath[path]
	return f, ok
}

// Paths returns all paths of the tree, sorted.
func (t *Tree) Paths() []string { return slices.Sorted(maps.Keys(t.byPath)) }

// Part is what is known of some of a layer's files, such as those that a
// package manager writes, whatever T that knowledge is: parts can be kept and
// laid over each other again without reading the layers.
type Part[T any] struct {
	Files   map[string]T `json:"files,omitempty"` // by path
	Removed []string     `json:"removed,omitempty"`
	Opaque  []string     `json:"opaque,omitempty"`
	// Other are paths of entries in the way of wanted files: what was a
	// directory below is something else from this layer on.
	Other []string `json:"other,omitempty"`
}

// MakePart keeps of a layer what concerns some files. files says what is known
// of those that the layer has; mayHold reports whether a path is that of such a
// file or of a directory that one may lie in.
func MakePart[T any](l *Layer, files map[string]T, mayHold func(dir string) bool) Part[T] {
	p := Part[T]{Files: files}
	for _, r := range l.Removed {
		if mayHold(r) {
			p.Removed = append(p.Removed, r)
		}
	}
	for _, o := range l.Opaque {
		if mayHold(o) {
			p.Opaque = append(p.Opaque, o)
		}
	}
	for _, e := range l.Entries {
		if _, known := files[e.Path]; !known && e.Type != Dir && mayHold(e.Path) {
			p.Other = append(p.Other, e.Path)
		}
	}
	return p
}

// MergeParts lays the parts of an image's layers over each other, the lowest
// first, and returns what is left, by path.
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

// ReadFiles returns the content of an image's files that Options.Want wants, as
// a container would see them.
func ReadFiles(ctx context.Context, img v1.Image, opts Options) (map[string]Content, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, fmt.Errorf("reading image: %w", err)
	}
	var parts []Part[Content]
	for i, l := range layers {
		one, files, err := ReadLayer(ctx, l, opts)
		if err != nil {
			return nil, fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		}
		// Wherever wanted files may lie, all that layers do counts.
		parts = append(parts, MakePart(one, files, func(string) bool { return true }))
	}
	return MergeParts(parts), nil
}

// overlay is a tree under construction: names by directory, so that taking a
// directory away costs what it holds and not a look at all there is.
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

// put sets the entry at a path. What is no directory has nothing below it.
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
