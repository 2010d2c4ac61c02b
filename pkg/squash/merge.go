package squash

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The names by which a layer says what is gone from those below it.
const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	auFSMetadata   = ".wh..wh." // AUFS's own files, of which only the marker means something
)

// inode is a file, which may have several names.
type inode struct {
	header *tar.Header
	layer  int // whose member holds it
	member int
}

// entry is what the squashed layer says about a path.
type entry struct {
	*inode        // nil: the path is gone
	layer  int    // that said it last
	opaque bool   // a directory through which nothing of the parent is seen
	link   string // a hard link to a file of the parent, which no layer here touches
}

func (e *entry) isDir() bool { return e.inode != nil && e.header.Typeflag == tar.TypeDir }

// merged is what several layers come to, laid over each other.
type merged struct {
	entries map[string]*entry
	kids    map[string]map[string]bool // names in a directory
	parent  []v1.Layer                 // below them all
}

// merge lays layers over each other, the lowest first.
func merge(ctx context.Context, parent, layers []v1.Layer) (*merged, error) {
	m := &merged{entries: map[string]*entry{}, kids: map[string]map[string]bool{}, parent: parent}
	for i, l := range layers {
		if err := m.layer(ctx, i, l); err != nil {
			return nil, fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	return m, m.mendLinks(ctx)
}

// layer lays one more layer over what there is. What it takes away is taken
// away of the layers below it only, wherever in its tar it says so.
func (m *merged) layer(ctx context.Context, i int, l v1.Layer) error {
	return eachMember(ctx, l, func(n int, h *tar.Header, _ io.Reader) error {
		name, err := cleanName(h.Name)
		if err != nil {
			return err
		}
		dir, base := path.Split(name)
		dir = strings.TrimSuffix(dir, "/")
		switch {
		case base == opaqueMarker:
			m.empty(dir, i)
			m.directory(dir, i).opaque = true
		case strings.HasPrefix(base, auFSMetadata):
		case strings.HasPrefix(base, whiteoutPrefix):
			what := strings.TrimPrefix(base, whiteoutPrefix)
			if what == "" || what == "." || what == ".." {
				return fmt.Errorf("%q says that a file is gone, and names none", h.Name)
			}
			m.gone(path.Join(dir, what), i)
		default:
			return m.add(name, i, n, h)
		}
		return nil
	})
}

// add sets a path.
func (m *merged) add(name string, layer, member int, h *tar.Header) error {
	if h.Typeflag == tar.TypeGNUSparse { // its holes are read as zeros
		h.Typeflag = tar.TypeReg
	}
	e := &entry{inode: &inode{header: h, layer: layer, member: member}, layer: layer}
	if h.Typeflag == tar.TypeLink {
		target, err := cleanName(h.Linkname)
		if err != nil {
			return err
		}
		switch t := m.entries[target]; {
		case t != nil && t.link != "":
			e.link = t.link
		case t != nil && t.inode != nil && !t.isDir():
			e.inode = t.inode
		case t == nil:
			e.link = target
		default:
			return fmt.Errorf("%s is a hard link to %s, which is not a file", name, target)
		}
	}
	m.above(name, layer)
	old := m.entries[name]
	switch {
	case e.isDir() && old != nil && old.isDir():
		e.opaque = old.opaque
	case e.isDir():
		// What was here before, if anything, was no directory: of a directory
		// that the parent has here, nothing may come back.
		e.opaque = old != nil
	case old != nil:
		m.below(name, layer)
	}
	m.set(name, e)
	return nil
}

// above makes sure of the directories over a path. One that is gone, or is no
// directory, comes back empty: a layer need not list it.
func (m *merged) above(name string, layer int) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if e := m.entries[dir]; e != nil && !e.isDir() {
			m.set(dir, &entry{inode: &inode{header: directoryHeader(dir), layer: layer, member: -1}, layer: layer, opaque: true})
		}
	}
}

// directory returns the entry of a directory, which is made if nothing is known
// of it here.
func (m *merged) directory(name string, layer int) *entry {
	m.above(path.Join(name, "x"), layer)
	e := m.entries[name]
	if e == nil || !e.isDir() {
		// The parent has it, and its mode and owner are there: all that is said
		// here is that it is opaque.
		e = &entry{inode: &inode{header: nil, layer: layer, member: -1}, layer: layer}
		e.header = &tar.Header{Typeflag: tar.TypeDir, Name: name}
		e.member = markerOnly
		m.set(name, e)
	}
	return e
}

// markerOnly is the member of a directory of which no layer says more than that
// it is opaque.
const markerOnly = -2

func directoryHeader(name string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, Format: tar.FormatPAX}
}

// gone takes a path away, with all below it.
func (m *merged) gone(name string, layer int) {
	if e := m.entries[name]; e != nil && e.layer == layer && e.inode != nil {
		// This layer has it as well: what is below is gone, and it is new.
		if e.isDir() {
			m.empty(name, layer)
			e.opaque = true
		}
		return
	}
	m.below(name, layer)
	if m.hidden(name) {
		// Nothing of the parent is seen here, so nothing has to be taken away.
		m.drop(name)
		return
	}
	m.above(name, layer)
	m.set(name, &entry{layer: layer})
}

// hidden reports whether a directory over a path lets nothing of the parent
// through.
func (m *merged) hidden(name string) bool {
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if dir == "." {
			dir = ""
		}
		if e := m.entries[dir]; e != nil && e.isDir() && e.opaque {
			return true
		}
		if dir == "" {
			return false
		}
	}
}

// below drops all that lower layers have under a path.
func (m *merged) below(name string, layer int) {
	for kid := range m.kids[name] {
		full := path.Join(name, kid)
		if e := m.entries[full]; e != nil && e.layer == layer && e.inode != nil {
			continue // of this layer: it comes after
		}
		m.below(full, layer)
		m.drop(full)
	}
}

// empty is below, for a directory that stays.
func (m *merged) empty(name string, layer int) { m.below(name, layer) }

func (m *merged) set(name string, e *entry) {
	m.entries[name] = e
	if name == "" {
		return
	}
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	for {
		if m.kids[dir] == nil {
			m.kids[dir] = map[string]bool{}
		}
		m.kids[dir][base] = true
		if dir == "" {
			return
		}
		dir, base = path.Split(dir)
		dir = strings.TrimSuffix(dir, "/")
	}
}

func (m *merged) drop(name string) {
	delete(m.entries, name)
	if len(m.kids[name]) > 0 {
		return // it is still the way to something
	}
	delete(m.kids, name)
	dir, base := path.Split(name)
	delete(m.kids[strings.TrimSuffix(dir, "/")], base)
}

// mendLinks sees to hard links to files of the parent: as long as nothing here
// touches the file they stay links; else they take the file's content over,
// which is what they had before it was touched.
func (m *merged) mendLinks(ctx context.Context) error {
	want := map[string][]*entry{}
	for _, name := range slices.Sorted(maps.Keys(m.entries)) {
		if e := m.entries[name]; e.link != "" && (m.entries[e.link] != nil || m.hidden(e.link)) {
			want[e.link] = append(want[e.link], e)
		}
	}
	for i, again := len(m.parent)-1, 0; i >= 0 && len(want) > 0; i-- {
		renamed := false
		err := eachMember(ctx, m.parent[i], func(n int, h *tar.Header, _ io.Reader) error {
			name, err := cleanName(h.Name)
			if err != nil || len(want[name]) == 0 || h.Typeflag == tar.TypeDir {
				return err
			}
			if h.Typeflag == tar.TypeLink { // the content is under another name
				target, err := cleanName(h.Linkname)
				want[target] = append(want[target], want[name]...)
				delete(want, name)
				renamed = true
				return err
			}
			ino := &inode{header: h, layer: i - len(m.parent), member: n}
			for _, e := range want[name] {
				e.inode, e.link = ino, ""
			}
			delete(want, name)
			return nil
		})
		if err != nil {
			return err
		}
		if renamed && again < maxRenames {
			again++
			i++ // that name may stand before this one in the layer
		}
	}
	for target := range want {
		return fmt.Errorf("a hard link to %s, which no layer has", target)
	}
	return nil
}

// maxRenames bounds how often a layer is read again for a link to a link.
const maxRenames = 100

// eachMember goes through a layer's tar.
func eachMember(ctx context.Context, l v1.Layer, f func(n int, h *tar.Header, r io.Reader) error) error {
	rc, err := l.Uncompressed()
	if err != nil {
		return err
	}
	defer rc.Close()
	tr := tar.NewReader(rc)
	for n := 0; ; n++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(n, h, tr)
		}
		if err != nil {
			return err
		}
	}
}

// cleanName is a member's path without "./" and slashes at its ends; "" is the
// root.
func cleanName(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("the name %q holds a zero byte", name)
	}
	return path.Clean("/" + name)[1:], nil
}
