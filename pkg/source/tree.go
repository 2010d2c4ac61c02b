package source

import (
	"archive/tar"
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/internal/ctxio"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/untar"
)

// archiveLimits limit the expanded size of a source. The largest source of OpenStack
// has 20,000 files and 1 GiB.
var archiveLimits = untar.Limits{Members: 500_000, Bytes: 64 << 30}

// tree collects files for an archive whose bytes depend only on names, modes and
// contents: members are sorted, owned by root and dated to the epoch.
type tree struct {
	cache   *cache
	entries map[string]*entry
	// replaced counts the directories in whose place a file was put, which takes a search.
	replaced int
	spool    *os.File // contents of members of other archives
	spooled  int64
	newest   time.Time // of the files on disk
}

type entry struct {
	kind byte  // tar.TypeDir, TypeReg or TypeSymlink
	mode int64 // permissions, with setuid, setgid and sticky
	link string
	size int64
	file string // the content: a file on disk, or
	off  int64  // an offset in the spool
}

func newTree(c *cache) *tree { return &tree{cache: c, entries: map[string]*entry{}} }

func (t *tree) close() {
	if t.spool != nil {
		t.spool.Close()
		os.Remove(t.spool.Name())
	}
}

func (t *tree) addEmptyDir(name string) { t.entries[name] = &entry{kind: tar.TypeDir, mode: 0o755} }

// addDir adds a directory on disk under a name; "." adds its content only, without
// the directory itself, whose mode would become that of the directory into which
// the archive is unpacked.
func (t *tree) addDir(ctx context.Context, dir, name string, log func(string)) error {
	dir, err := filepath.EvalSymlinks(dir) // WalkDir does not follow a link
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if len(t.entries) >= archiveLimits.Members {
			return fmt.Errorf("more than %d files", archiveLimits.Members)
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if p == dir && name == "." {
			return nil
		}
		e := &entry{mode: tarMode(info.Mode())}
		switch mode := info.Mode(); {
		case mode.IsDir():
			e.kind = tar.TypeDir
		case mode.IsRegular():
			e.kind, e.size, e.file = tar.TypeReg, info.Size(), p
		case mode&fs.ModeSymlink != 0:
			e.kind, e.mode = tar.TypeSymlink, 0o777
			if e.link, err = os.Readlink(p); err != nil {
				return err
			}
		default: // sockets and similar files are useless in an image
			log(fmt.Sprintf("%s is omitted: it is not a file, a directory or a link", p))
			return nil
		}
		if info.ModTime().After(t.newest) {
			t.newest = info.ModTime()
		}
		t.put(path.Join(name, filepath.ToSlash(rel)), e)
		return nil
	})
}

// tarMode returns a mode in the notation of tar.
func tarMode(mode fs.FileMode) int64 {
	m := int64(mode.Perm())
	for bit, tarBit := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&bit != 0 {
			m |= tarBit
		}
	}
	return m
}

// addContextEntry adds a file of an image's build context.
func (t *tree) addContextEntry(c ContextEntry) error {
	e := &entry{mode: tarMode(c.Mode)}
	if c.Mode.IsDir() {
		e.kind = tar.TypeDir
		t.put(c.Path, e)
		return nil
	}
	r, err := c.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := t.addParents(c.Path, c.Path); err != nil {
		return err
	}
	if c.Mode&fs.ModeSymlink != 0 {
		target, err := io.ReadAll(io.LimitReader(r, maxLink))
		if err != nil {
			return err
		}
		e.kind, e.mode, e.link = tar.TypeSymlink, 0o777, string(target)
	} else {
		e.kind = tar.TypeReg
		if e.off, e.size, err = t.spoolContent(r); err != nil {
			return err
		}
	}
	t.put(c.Path, e)
	return nil
}

// maxLink is the longest target of a symbolic link, in bytes: Linux has no longer.
const maxLink = 4096

// put sets an entry. It replaces the entry with the same name; if that was a
// directory and the new one is not, also everything in it.
func (t *tree) put(name string, e *entry) {
	if old := t.entries[name]; old != nil && old.kind == tar.TypeDir && e.kind != tar.TypeDir {
		t.replaced++
		for n := range t.entries {
			if strings.HasPrefix(n, name+"/") {
				delete(t.entries, n)
			}
		}
	}
	t.entries[name] = e
}

// addArchive unpacks an archive into a directory of the tree.
func (t *tree) addArchive(ctx context.Context, file, dir string) error {
	return eachMember(ctx, file, func(h *tar.Header, r io.Reader) error {
		name, err := memberName(h)
		if err != nil {
			return err
		}
		if len(t.entries) >= archiveLimits.Members {
			return fmt.Errorf("more than %d files", archiveLimits.Members)
		}
		if t.replaced > maxReplaced {
			return fmt.Errorf("files in place of more than %d directories", maxReplaced)
		}
		target := path.Join(dir, name)
		if err := t.addParents(target, h.Name); err != nil {
			return err
		}
		e := &entry{mode: h.Mode & 0o7777}
		switch h.Typeflag {
		case tar.TypeDir:
			e.kind = tar.TypeDir
			if old := t.entries[target]; old != nil && old.kind == tar.TypeSymlink {
				return &untar.UnsafeError{Member: h.Name, Problem: "a directory in place of a link"}
			}
		case tar.TypeSymlink:
			e.kind, e.mode, e.link = tar.TypeSymlink, 0o777, h.Linkname
		case tar.TypeLink:
			linked, err := untar.CleanName(h.Linkname)
			if err != nil {
				return &untar.UnsafeError{Member: h.Name, Problem: "a hard link to " + h.Linkname}
			}
			old := t.entries[path.Join(dir, linked)]
			if old == nil || old.kind == tar.TypeDir {
				return &untar.UnsafeError{
					Member:  h.Name,
					Problem: "a hard link to " + h.Linkname + ", which is not an earlier member",
				}
			}
			c := *old
			e = &c
		default:
			e.kind = tar.TypeReg
			if e.off, e.size, err = t.spoolContent(r); err != nil {
				return err
			}
		}
		t.put(target, e)
		return nil
	})
}

// maxReplaced is how many members of an archive may be in place of a directory.
const maxReplaced = 100

// addParents adds the parent directories of a member that the archive does not list.
// A member below a link would be written to the target of the link.
func (t *tree) addParents(name, member string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		e := t.entries[dir]
		switch {
		case e == nil:
			t.addEmptyDir(dir)
		case e.kind == tar.TypeSymlink:
			return &untar.UnsafeError{Member: member, Problem: "it is below a link"}
		case e.kind != tar.TypeDir:
			return &untar.UnsafeError{Member: member, Problem: "it is below a file"}
		}
	}
	return nil
}

// spoolContent appends content to the spool.
func (t *tree) spoolContent(r io.Reader) (off, size int64, err error) {
	if t.spool == nil {
		if t.spool, err = t.cache.temp("new"); err != nil {
			return 0, 0, err
		}
	}
	off = t.spooled
	size, err = io.Copy(t.spool, r)
	t.spooled += size
	return off, size, err
}

// setGitModes reduces the modes of files to those of git: executable or not.
func (t *tree) setGitModes() {
	for _, e := range t.entries {
		switch {
		case e.kind == tar.TypeDir, e.kind == tar.TypeReg && e.mode&0o111 != 0:
			e.mode = 0o755
		case e.kind == tar.TypeReg:
			e.mode = 0o644
		}
	}
}

// write stores the archive in the cache.
func (t *tree) write(ctx context.Context) (blob, error) {
	names := make([]string, 0, len(t.entries))
	for n := range t.entries {
		names = append(names, n)
	}
	// By path elements, so that the content of a directory follows it directly.
	sort.Slice(names, func(i, j int) bool {
		return strings.ReplaceAll(names[i], "/", "\x00") < strings.ReplaceAll(names[j], "/", "\x00")
	})
	return t.cache.add(ctx, func(w io.Writer) error {
		buf := bufio.NewWriterSize(w, 1<<16)
		tw := tar.NewWriter(buf)
		for _, n := range names {
			if err := t.writeEntry(ctx, tw, n, t.entries[n]); err != nil {
				return err
			}
		}
		if err := tw.Close(); err != nil {
			return err
		}
		return buf.Flush()
	})
}

func (t *tree) writeEntry(ctx context.Context, tw *tar.Writer, name string, e *entry) error {
	h := &tar.Header{Typeflag: e.kind, Name: name, Mode: e.mode, Linkname: e.link, Size: e.size, ModTime: time.Unix(0, 0)}
	if e.kind == tar.TypeDir {
		h.Name += "/"
	}
	if !utf8.ValidString(name) || !utf8.ValidString(e.link) {
		h.Format = tar.FormatGNU // names in PAX headers are UTF-8, those of Linux are bytes
	}
	if err := tw.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if e.kind != tar.TypeReg {
		return nil
	}
	var r io.Reader
	if e.file != "" {
		f, err := inputfile.OpenRegular(e.file)
		if err != nil {
			return err
		}
		defer f.Close()
		r = f
	} else {
		r = io.NewSectionReader(t.spool, e.off, e.size)
	}
	if err := copyExactly(tw, ctxio.NewReader(ctx, r), e.size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// memberName returns the clean name of a member: "." is the directory itself. A
// member that is not a file, a directory or a link is an *untar.UnsafeError.
func memberName(h *tar.Header) (string, error) {
	switch h.Typeflag {
	case 0, tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeGNUSparse:
	default:
		return "", &untar.UnsafeError{Member: h.Name, Problem: "a device, a FIFO or of an unknown type"}
	}
	name, err := untar.CleanName(h.Name)
	if err == nil && name == "." && h.Typeflag != tar.TypeDir && h.Typeflag != 0 {
		err = &untar.UnsafeError{Member: h.Name, Problem: "it would replace the directory itself"}
	}
	return name, err
}

// eachMember calls yield with each member of an archive, compressed or not.
func eachMember(ctx context.Context, file string, yield func(*tar.Header, io.Reader) error) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return untar.ErrNotTar
	}
	r, err := untar.Open(file)
	if err != nil {
		return err
	}
	defer r.Close()
	return untar.Each(ctx, r, archiveLimits, yield)
}
