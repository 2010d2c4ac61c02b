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

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/untar"
)

// Names of the files by which a layer deletes files of earlier layers.
const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	auFSMetadata   = ".wh..wh." // files of AUFS, which are ignored except for the marker
)

// Limits on layers, which bound time and memory.
const (
	maxPath    = 4096 // bytes of a path, as in Linux
	maxEntries = 1_000_000
	maxNames   = 128 << 20  // bytes of names, links and extended attributes
	maxImplied = 100_000    // directories that are only parts of other paths
	maxRemoved = 20_000_000 // files that whiteouts are compared with
)

// maxBytes bounds the content of a layer, with the holes of sparse files. Tests reduce it.
var maxBytes = int64(256 << 30)

// inode is a file, which may have several names.
type inode struct {
	header *tar.Header
	layer  int // the layer with its content
	member int
}

// entry is what the squashed layer contains for a path.
type entry struct {
	*inode        // nil if the path is deleted
	layer  int    // index of the last layer that changed it
	opaque bool   // a directory that hides that of the parent
	link   string // target of a hard link to a file of the parent that no layer changes
}

func (e *entry) isDir() bool { return e.inode != nil && e.header.Typeflag == tar.TypeDir }

// merged is the result of merging several layers.
type merged struct {
	entries  map[string]*entry
	children map[string]map[string]bool // names in a directory
	names    int64                      // bytes of names, links and extended attributes
	paths    int                        // that were added to children
	removed  int                        // files that whiteouts were compared with
	parent   []v1.Layer                 // the layers of the parent
}

// merge merges layers, the first one first.
func merge(ctx context.Context, parent, layers []v1.Layer) (*merged, error) {
	m := &merged{entries: map[string]*entry{}, children: map[string]map[string]bool{}, parent: parent}
	for i, l := range layers {
		if err := m.layer(ctx, i, l); err != nil {
			return nil, fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	return m, m.resolveLinks(ctx)
}

// layer adds a layer. Its whiteouts apply only to earlier layers, wherever in its tar
// they are.
func (m *merged) layer(ctx context.Context, i int, l v1.Layer) error {
	return eachMember(ctx, l, func(n int, h *tar.Header, _ io.Reader) error {
		name, err := cleanName(h.Name)
		if err != nil {
			return err
		}
		dir, base := path.Split(name)
		dir = strings.TrimSuffix(dir, "/")
		if err := m.keep(h); err != nil {
			return err
		}
		switch {
		case base == opaqueMarker:
			m.removeBelow(dir, i)
			m.directory(dir, i).opaque = true
		case strings.HasPrefix(base, auFSMetadata):
		case strings.HasPrefix(base, whiteoutPrefix):
			deleted := strings.TrimPrefix(base, whiteoutPrefix)
			if deleted == "" || deleted == "." || deleted == ".." {
				return fmt.Errorf("%q is a whiteout of no file", h.Name)
			}
			m.remove(path.Join(dir, deleted), i)
		default:
			return m.add(name, i, n, h)
		}
		return nil
	})
}

// add adds a file.
func (m *merged) add(name string, layer, member int, h *tar.Header) error {
	if h.Typeflag == tar.TypeGNUSparse { // holes are read as zeros
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
	if len(m.entries) >= maxEntries {
		return fmt.Errorf("more than %d files", maxEntries)
	}
	m.restoreParents(name, layer)
	old := m.entries[name]
	switch {
	case e.isDir() && old != nil && old.isDir():
		e.opaque = old.opaque
	case e.isDir():
		// It replaces a file that was not a directory, so a directory of the parent
		// must stay hidden.
		e.opaque = old != nil
	case old != nil:
		m.removeBelow(name, layer)
	}
	m.set(name, e)
	return nil
}

// keep counts the memory of a header that is kept, and checks the limits.
func (m *merged) keep(h *tar.Header) error {
	m.names += int64(len(h.Name) + len(h.Linkname))
	for k, v := range h.PAXRecords {
		m.names += int64(len(k) + len(v))
	}
	switch {
	case m.names > maxNames:
		return fmt.Errorf("more than %s of names", units.Bytes(maxNames))
	case m.paths > maxEntries+maxImplied || len(m.entries) >= maxEntries:
		return fmt.Errorf("more than %d files", maxEntries)
	case m.removed > maxRemoved:
		return fmt.Errorf("whiteouts of more than %d files", maxRemoved)
	}
	return nil
}

// restoreParents replaces parent directories of a path that are deleted or not
// directories by empty directories, since a layer need not list them.
func (m *merged) restoreParents(name string, layer int) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if e := m.entries[dir]; e != nil && !e.isDir() {
			m.set(dir, &entry{inode: &inode{header: directoryHeader(dir), layer: layer, member: -1}, layer: layer, opaque: true})
		}
	}
}

// directory returns the entry of a directory, and adds one if there is none.
func (m *merged) directory(name string, layer int) *entry {
	m.restoreParents(path.Join(name, "x"), layer)
	e := m.entries[name]
	if e == nil || !e.isDir() {
		// Its mode and owner are from the parent.
		e = &entry{inode: &inode{header: nil, layer: layer, member: -1}, layer: layer}
		e.header = &tar.Header{Typeflag: tar.TypeDir, Name: name}
		e.member = markerOnly
		m.set(name, e)
	}
	return e
}

// markerOnly is the position of a directory that is not a member of any layer, only its
// opaque marker is.
const markerOnly = -2

func directoryHeader(name string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, Format: tar.FormatPAX}
}

// remove deletes a path and everything below it.
func (m *merged) remove(name string, layer int) {
	if e := m.entries[name]; e != nil && e.layer == layer && e.inode != nil {
		// The same layer adds it again: only files of earlier layers are deleted.
		if e.isDir() {
			m.removeBelow(name, layer)
			e.opaque = true
		}
		return
	}
	m.removeBelow(name, layer)
	if m.isHidden(name) {
		// The parent is hidden here, so no whiteout is needed.
		m.drop(name)
		return
	}
	m.restoreParents(name, layer)
	m.set(name, &entry{layer: layer})
}

// isHidden reports whether an opaque directory hides the parent's file of this path.
func (m *merged) isHidden(name string) bool {
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

// removeBelow drops what earlier layers have below a path.
func (m *merged) removeBelow(name string, layer int) {
	m.removed += len(m.children[name])
	for child := range m.children[name] {
		full := path.Join(name, child)
		if e := m.entries[full]; e != nil && e.layer == layer && e.inode != nil {
			continue // of this layer
		}
		m.removeBelow(full, layer)
		m.drop(full)
	}
}

func (m *merged) set(name string, e *entry) {
	m.entries[name] = e
	if name == "" {
		return
	}
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	for {
		if m.children[dir] == nil {
			m.children[dir] = map[string]bool{}
		}
		known := m.children[dir][base] // with its parents
		if known {
			return
		}
		m.children[dir][base] = true
		if m.paths++; dir == "" {
			return
		}
		dir, base = path.Split(dir)
		dir = strings.TrimSuffix(dir, "/")
	}
}

func (m *merged) drop(name string) {
	delete(m.entries, name)
	if len(m.children[name]) > 0 {
		return // it still has children
	}
	delete(m.children, name)
	dir, base := path.Split(name)
	delete(m.children[strings.TrimSuffix(dir, "/")], base)
}

// resolveLinks replaces hard links to changed or hidden files of the parent by the
// content of these files in the parent.
func (m *merged) resolveLinks(ctx context.Context) error {
	want := map[string][]*entry{}
	for _, name := range slices.Sorted(maps.Keys(m.entries)) {
		if e := m.entries[name]; e.link != "" && (m.entries[e.link] != nil || m.isHidden(e.link)) {
			want[e.link] = append(want[e.link], e)
		}
	}
	for i, rereads := len(m.parent)-1, 0; i >= 0 && len(want) > 0; i-- {
		renamed := false
		err := eachMember(ctx, m.parent[i], func(n int, h *tar.Header, _ io.Reader) error {
			name, err := cleanName(h.Name)
			if err != nil || len(want[name]) == 0 || h.Typeflag == tar.TypeDir {
				return err
			}
			if h.Typeflag == tar.TypeLink { // a link to another name
				target, err := cleanName(h.Linkname)
				want[target] = append(want[target], want[name]...)
				delete(want, name)
				renamed = true
				return err
			}
			if err := m.keep(h); err != nil {
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
		if renamed && rereads < maxRereads {
			rereads++
			i++ // the target may precede the link in the layer
		}
	}
	for target := range want {
		return fmt.Errorf("a hard link to %s, which is in no layer", target)
	}
	return nil
}

// maxRereads is how often a layer is read again for a link to a link.
const maxRereads = 100

// eachMember calls f for each member of a layer's tar.
func eachMember(ctx context.Context, l v1.Layer, f func(n int, h *tar.Header, r io.Reader) error) error {
	rc, err := l.Uncompressed()
	if err != nil {
		return err
	}
	defer rc.Close()
	tr := tar.NewReader(rc)
	remaining := maxBytes
	for n := 0; ; n++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := untar.Next(tr)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && h.Size > remaining {
			err = fmt.Errorf("a layer of more than %s", units.Bytes(maxBytes))
		}
		if err == nil {
			remaining -= h.Size
			err = f(n, h, tr)
		}
		if err != nil {
			return err
		}
	}
}

// cleanName returns the path of a member without "./" and leading and trailing
// slashes; "" is the root.
func cleanName(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("the name %q contains a zero byte", name)
	}
	if len(name) > maxPath {
		return "", fmt.Errorf("a name of %d bytes is too long", len(name))
	}
	return path.Clean("/" + name)[1:], nil
}
