package squash

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// write writes the layer: directories first, so that they have their modes and owners
// before they have content, then whiteouts, then files in the order of the layers,
// each followed by its other names.
func (m *merged) write(ctx context.Context, out io.Writer, layers []v1.Layer) error {
	tw := tar.NewWriter(out)
	names := slices.Sorted(maps.Keys(m.entries))
	if err := m.writeDirectories(tw, names); err != nil {
		return err
	}
	files := map[*inode][]string{} // names, sorted
	for _, name := range names {
		e := m.entries[name]
		switch {
		case e.inode == nil:
			if err := tw.WriteHeader(marker(name, whiteoutPrefix)); err != nil {
				return err
			}
		case !e.isDir() && e.link == "":
			files[e.inode] = append(files[e.inode], name)
		}
	}
	for i := -len(m.parent); i < len(layers); i++ {
		inodes := map[int]*inode{}
		for ino := range files {
			if ino.layer == i {
				inodes[ino.member] = ino
			}
		}
		if len(inodes) == 0 {
			continue
		}
		l := layerAt(m.parent, layers, i)
		err := eachMember(ctx, l, func(n int, _ *tar.Header, r io.Reader) error {
			ino := inodes[n]
			if ino == nil {
				return nil
			}
			return writeFile(tw, ino.header, files[ino], r)
		})
		if err != nil {
			return err
		}
	}
	for _, name := range names {
		if e := m.entries[name]; e.link != "" {
			if err := tw.WriteHeader(linkHeader(e.header, name, e.link)); err != nil {
				return err
			}
		}
	}
	return tw.Close()
}

func layerAt(parent, layers []v1.Layer, i int) v1.Layer {
	if i < 0 {
		return parent[len(parent)+i]
	}
	return layers[i]
}

func (m *merged) writeDirectories(tw *tar.Writer, names []string) error {
	for _, name := range names {
		e := m.entries[name]
		if !e.isDir() {
			continue
		}
		if e.member != markerOnly {
			h := outHeader(e.header, name)
			h.Name += "/"
			if err := tw.WriteHeader(h); err != nil {
				return err
			}
		}
		if e.opaque {
			if err := tw.WriteHeader(marker(strings.TrimPrefix(name+"/"+opaqueMarker, "/"), "")); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeFile writes a file under its first name and its other names as links.
func writeFile(tw *tar.Writer, h *tar.Header, names []string, r io.Reader) error {
	if err := tw.WriteHeader(outHeader(h, names[0])); err != nil {
		return fmt.Errorf("%s: %w", names[0], err)
	}
	if h.Typeflag == tar.TypeReg {
		if _, err := io.Copy(tw, r); err != nil {
			return fmt.Errorf("%s: %w", names[0], err)
		}
	}
	for _, name := range names[1:] {
		if err := tw.WriteHeader(linkHeader(h, name, names[0])); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// outHeader returns the header of a member under another name. Extended attributes,
// among them capabilities, are in its PAX records.
func outHeader(h *tar.Header, name string) *tar.Header {
	c := *h
	c.Name, c.Format = name, tar.FormatPAX
	if name == "" {
		c.Name = "."
	}
	c.PAXRecords = maps.Clone(h.PAXRecords)
	return &c
}

func linkHeader(h *tar.Header, name, target string) *tar.Header {
	c := outHeader(h, name)
	c.Typeflag, c.Linkname, c.Size = tar.TypeLink, target, 0
	return c
}

// marker returns the header of a whiteout or an opaque marker: an empty file.
func marker(name, prefix string) *tar.Header {
	i := strings.LastIndexByte(name, '/') + 1
	return &tar.Header{Typeflag: tar.TypeReg, Name: name[:i] + prefix + name[i:], Format: tar.FormatPAX}
}
