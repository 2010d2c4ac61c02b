package bootstrap

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/untar"
)

// rootfsLimits limit the expanded size of a root file system: more than any base image
// needs, and less than a small archive of zeros can expand to. The names of its files
// are kept in memory.
var rootfsLimits = untar.Limits{Members: 1 << 20, Bytes: 64 << 30}

// repacker copies a root file system to a layer: the same files in the same order, with
// normalized names and without headers that differ between two archives of the same
// files.
type repacker struct {
	tw       *tar.Writer
	skip     func(name string) bool // leaves a file out; not called for directories
	seen     map[string]byte        // type by name
	modified time.Time              // the newest
}

func newRepacker(w io.Writer) *repacker {
	return &repacker{tw: tar.NewWriter(w), seen: map[string]byte{}}
}

// copy repacks an archive.
func (p *repacker) copy(ctx context.Context, r io.Reader) error {
	return untar.Each(ctx, r, rootfsLimits, p.file)
}

func (p *repacker) file(h *tar.Header, r io.Reader) error {
	unsafe := func(problem string) error { return &untar.UnsafeError{Member: h.Name, Problem: problem} }
	name, err := untar.CleanName(h.Name)
	if err != nil {
		return err
	}
	if name == "." || p.skip != nil && h.Typeflag != tar.TypeDir && p.skip(name) {
		return nil
	}
	if strings.HasPrefix(path.Base(name), ".wh.") {
		return unsafe("in a layer, its name deletes files")
	}
	link := h.Linkname
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeSymlink:
	case tar.TypeDir:
		name += "/"
		if p.seen[name] != 0 {
			return nil
		}
	case tar.TypeLink:
		if link, err = untar.CleanName(link); err != nil {
			return err
		}
		if kind, ok := p.seen[link]; !ok || kind == tar.TypeDir {
			return unsafe(fmt.Sprintf("a hard link to %q, which is not an earlier file", h.Linkname))
		}
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		// A container gets its devices from the runtime. Archives of a running or
		// debootstrapped system have some.
		if strings.HasPrefix(name, "dev/") {
			return nil
		}
		return unsafe("a device or FIFO outside of /dev")
	default:
		return unsafe(fmt.Sprintf("its type %q does not exist in layers", h.Typeflag))
	}
	if p.seen[name] != 0 {
		return unsafe("it exists twice")
	}
	p.seen[name] = h.Typeflag
	modified := h.ModTime.Truncate(time.Second)
	if modified.After(p.modified) {
		p.modified = modified
	}
	out := &tar.Header{
		Typeflag: h.Typeflag, Name: name, Linkname: link, Size: h.Size, Mode: h.Mode & 0o7777,
		Uid: h.Uid, Gid: h.Gid, ModTime: modified, PAXRecords: xattrs(h.PAXRecords),
	}
	if err := p.tw.WriteHeader(out); err != nil {
		return fmt.Errorf("file %q: %w", h.Name, err)
	}
	if h.Typeflag == tar.TypeReg {
		if _, err := io.Copy(p.tw, r); err != nil {
			return err
		}
	}
	return nil
}

// xattrs returns the extended attributes, such as the capabilities of a program, in
// the records of an extended header.
func xattrs(records map[string]string) map[string]string {
	var out map[string]string
	for k, v := range records {
		if strings.HasPrefix(k, "SCHILY.xattr.") && !strings.HasPrefix(k, "SCHILY.xattr.security.selinux") {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

// add writes a file of our own, and its missing parent directories.
func (p *repacker) add(name string, mode int64, modified time.Time, content []byte) error {
	for i, c := range name {
		// A parent may be a link, such as /sbin to /usr/sbin.
		if c == '/' && p.seen[name[:i]] == 0 {
			if err := p.addDir(name[:i+1], modified); err != nil {
				return err
			}
		}
	}
	p.seen[name] = tar.TypeReg
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), ModTime: modified}
	if err := p.tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := p.tw.Write(content)
	return err
}

// addDir writes a directory, whose name ends in a slash, if it is missing.
func (p *repacker) addDir(name string, modified time.Time) error {
	if p.seen[name] != 0 {
		return nil
	}
	p.seen[name] = tar.TypeDir
	return p.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: modified})
}

// isRootFileSystem reports whether there is a shell or an os-release file.
func (p *repacker) isRootFileSystem() bool {
	for _, n := range []string{"etc/os-release", "usr/lib/os-release", "bin/sh", "usr/bin/sh"} {
		if p.seen[n] != 0 {
			return true
		}
	}
	return false
}
