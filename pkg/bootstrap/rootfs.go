package bootstrap

import (
	"archive/tar"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// maxRootfs bounds what a root file system may unpack to: more than any base
// image has, less than a small archive of zeros can become.
const maxRootfs = 64 << 30

// maxFiles bounds its files; their names are kept in memory.
const maxFiles = 4 << 20

// repacker copies a root file system as a layer: the same files in the same
// order, with names in one form and nothing in the headers that differs from
// one packing to the next.
type repacker struct {
	tw   *tar.Writer
	skip func(name string) bool // leaves a file out; directories are never asked for
	seen map[string]byte        // name to type
	size int64
	last time.Time // newest modification time
}

func newRepacker(w io.Writer) *repacker {
	return &repacker{tw: tar.NewWriter(w), seen: map[string]byte{}}
}

// unsafeError says why an archive is not taken as a root file system.
type unsafeError struct{ name, detail string }

func (e *unsafeError) Error() string {
	return fmt.Sprintf("file %q in it %s (it is not taken as a base image)", e.name, e.detail)
}

// copy repacks all of a tar.
func (p *repacker) copy(r io.Reader) error {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.file(h, tr); err != nil {
			return err
		}
	}
}

func (p *repacker) file(h *tar.Header, r io.Reader) error {
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if name == "" || p.skip != nil && h.Typeflag != tar.TypeDir && p.skip(name) {
		return nil
	}
	if len(p.seen) >= maxFiles {
		return &unsafeError{h.Name, "is one too many"}
	}
	if strings.HasPrefix(path.Base(name), ".wh.") {
		return &unsafeError{h.Name, "has a name that deletes files when it is in a layer"}
	}
	link := h.Linkname
	switch h.Typeflag {
	case tar.TypeReg:
		if p.size += h.Size; p.size > maxRootfs {
			return &unsafeError{h.Name, fmt.Sprintf("makes it larger than %d GiB", int64(maxRootfs)>>30)}
		}
	case tar.TypeDir:
		name += "/"
		if p.seen[name] != 0 {
			return nil
		}
	case tar.TypeSymlink:
	case tar.TypeLink:
		if link, err = cleanName(link); err != nil {
			return err
		}
		if t, ok := p.seen[link]; !ok || t == tar.TypeDir {
			return &unsafeError{h.Name, fmt.Sprintf("is a link to %q, which is no file before it", h.Linkname)}
		}
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		// A container gets its devices from its runtime; archives of a running
		// or debootstrapped system have some.
		if strings.HasPrefix(name, "dev/") {
			return nil
		}
		return &unsafeError{h.Name, "is a device or pipe outside of /dev"}
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return &unsafeError{h.Name, fmt.Sprintf("is of a type (%q) that layers do not have", h.Typeflag)}
	}
	if p.seen[name] != 0 {
		return &unsafeError{h.Name, "is there twice"}
	}
	p.seen[name] = h.Typeflag
	mod := h.ModTime.Truncate(time.Second)
	if mod.After(p.last) {
		p.last = mod
	}
	out := &tar.Header{
		Typeflag: h.Typeflag, Name: name, Linkname: link, Size: h.Size, Mode: h.Mode & 0o7777,
		Uid: h.Uid, Gid: h.Gid, ModTime: mod, PAXRecords: xattrs(h.PAXRecords),
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

// xattrs keeps extended attributes, such as a program's capabilities, of what
// an extended header may say.
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

// add writes a file of our own, and the directories above it that are missing.
func (p *repacker) add(name string, mode int64, mod time.Time, content []byte) error {
	for i, c := range name {
		// A parent may also be a link, such as /sbin to /usr/sbin.
		if c == '/' && p.seen[name[:i]] == 0 {
			if err := p.addDir(name[:i+1], mod); err != nil {
				return err
			}
		}
	}
	p.seen[name] = tar.TypeReg
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), ModTime: mod}
	if err := p.tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := p.tw.Write(content)
	return err
}

// addDir writes a directory, whose name ends with a slash, if it is missing.
func (p *repacker) addDir(name string, mod time.Time) error {
	if p.seen[name] != 0 {
		return nil
	}
	p.seen[name] = tar.TypeDir
	return p.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: mod})
}

// cleanName brings "./usr/bin" and "usr/bin" to one form, and refuses names
// that lead elsewhere. The root itself is "".
func cleanName(n string) (string, error) {
	if strings.HasPrefix(n, "/") {
		return "", &unsafeError{n, "has an absolute name"}
	}
	if strings.ContainsRune(n, 0) {
		return "", &unsafeError{n, "has a null byte in its name"}
	}
	for part := range strings.SplitSeq(n, "/") {
		if part == ".." {
			return "", &unsafeError{n, "leads out of the archive"}
		}
	}
	if n = path.Clean(n); n == "." {
		return "", nil
	}
	return n, nil
}
