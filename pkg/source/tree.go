package source

import (
	"archive/tar"
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// tree collects files for an archive whose bytes depend on nothing but their
// names, modes and contents: sorted, of one owner, dated to the epoch.
type tree struct {
	c       *cache
	entries map[string]*entry
	spool   *os.File // contents that came out of other archives
	spooled int64
	newest  time.Time // of the files read from disk
}

type entry struct {
	kind byte // tar.TypeDir, TypeReg, TypeSymlink
	mode int64
	link string
	size int64
	file string // on disk, or
	off  int64  // in the spool
}

func newTree(c *cache) *tree { return &tree{c: c, entries: map[string]*entry{}} }

func (t *tree) close() {
	if t.spool != nil {
		t.spool.Close()
		os.Remove(t.spool.Name())
	}
}

func (t *tree) addEmptyDir(name string) { t.entries[name] = &entry{kind: tar.TypeDir, mode: 0o755} }

// addDir adds a directory of this machine under a name.
func (t *tree) addDir(ctx context.Context, dir, name string, log func(string)) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if p == dir { // it may be a link to a directory
			if info, err = os.Stat(dir); err != nil {
				return err
			}
		}
		to := path.Join(name, filepath.ToSlash(rel))
		e := &entry{mode: int64(info.Mode().Perm())}
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
		default: // sockets and the like are of no use in an image
			log(fmt.Sprintf("%s is left out: it is neither a file, a directory nor a link", p))
			return nil
		}
		if info.ModTime().After(t.newest) {
			t.newest = info.ModTime()
		}
		t.put(to, e)
		return nil
	})
}

// addOwn adds a file of an image's build context.
func (t *tree) addOwn(o Own) error {
	e := &entry{mode: int64(o.Mode.Perm())}
	if o.Mode.IsDir() {
		e.kind = tar.TypeDir
		t.put(o.Path, e)
		return nil
	}
	r, err := o.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := t.parents(o.Path, o.Path); err != nil {
		return err
	}
	if o.Mode&fs.ModeSymlink != 0 {
		target, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		e.kind, e.mode, e.link = tar.TypeSymlink, 0o777, string(target)
	} else {
		e.kind = tar.TypeReg
		if e.off, e.size, err = t.keep(r); err != nil {
			return err
		}
	}
	t.put(o.Path, e)
	return nil
}

// put sets an entry. What was there under its name goes, with all below it when
// a directory gives way to something else; directories keep their content.
func (t *tree) put(name string, e *entry) {
	if old := t.entries[name]; old != nil && old.kind == tar.TypeDir && e.kind != tar.TypeDir {
		for n := range t.entries {
			if strings.HasPrefix(n, name+"/") {
				delete(t.entries, n)
			}
		}
	}
	t.entries[name] = e
}

// addTar unpacks an archive into a directory of the tree.
func (t *tree) addTar(ctx context.Context, file, dir string) error {
	return eachMember(ctx, file, func(h *tar.Header, r io.Reader) error {
		name, err := safeName(h)
		if err != nil {
			return err
		}
		to := path.Join(dir, name)
		if err := t.parents(to, h.Name); err != nil {
			return err
		}
		e := &entry{mode: h.Mode & 0o7777}
		switch h.Typeflag {
		case tar.TypeDir:
			e.kind = tar.TypeDir
			if old := t.entries[to]; old != nil && old.kind == tar.TypeSymlink {
				return &UnsafeError{h.Name, "a directory over a link"}
			}
		case tar.TypeSymlink:
			e.kind, e.mode, e.link = tar.TypeSymlink, 0o777, h.Linkname
		case tar.TypeLink:
			target, err := safeName(&tar.Header{Name: h.Linkname})
			if err != nil {
				return &UnsafeError{h.Name, "a hard link to " + h.Linkname}
			}
			old := t.entries[path.Join(dir, target)]
			if old == nil || old.kind == tar.TypeDir {
				return &UnsafeError{h.Name, "a hard link to " + h.Linkname + ", which is not before it in the archive"}
			}
			c := *old
			e = &c
		default:
			e.kind = tar.TypeReg
			if e.off, e.size, err = t.keep(r); err != nil {
				return err
			}
		}
		t.put(to, e)
		return nil
	})
}

// parents makes the directories above a member that the archive does not list. A
// member below a link would be written to where the link leads.
func (t *tree) parents(name, member string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		e := t.entries[dir]
		switch {
		case e == nil:
			t.entries[dir] = &entry{kind: tar.TypeDir, mode: 0o755}
		case e.kind == tar.TypeSymlink:
			return &UnsafeError{member, "it lies below a link"}
		case e.kind != tar.TypeDir:
			return &UnsafeError{member, "it lies below a file"}
		}
	}
	return nil
}

func (t *tree) keep(r io.Reader) (off, size int64, err error) {
	if t.spool == nil {
		if t.spool, err = t.c.temp(); err != nil {
			return 0, 0, err
		}
	}
	off = t.spooled
	size, err = io.Copy(t.spool, r)
	t.spooled += size
	return off, size, err
}

// write makes the archive and puts it into the cache.
func (t *tree) write(ctx context.Context) (blob, error) {
	names := make([]string, 0, len(t.entries))
	for n := range t.entries {
		names = append(names, n)
	}
	// By components, so that a directory's content follows it directly.
	sort.Slice(names, func(i, j int) bool {
		return strings.ReplaceAll(names[i], "/", "\x00") < strings.ReplaceAll(names[j], "/", "\x00")
	})
	return t.c.add(ctx, func(w io.Writer) error {
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
	if err := tw.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if e.kind != tar.TypeReg {
		return nil
	}
	var r io.Reader
	if e.file != "" {
		f, err := os.Open(e.file)
		if err != nil {
			return err
		}
		defer f.Close()
		r = f
	} else {
		r = io.NewSectionReader(t.spool, e.off, e.size)
	}
	n, err := io.Copy(tw, io.LimitReader(&ctxReader{ctx, r}, e.size))
	if err == nil && n != e.size {
		err = fmt.Errorf("%s: it became shorter while it was read", name)
	}
	return err
}

// safeName checks a member's name and gives it without "./" and the like. "."
// stands for the directory itself.
func safeName(h *tar.Header) (string, error) {
	switch h.Typeflag {
	case 0, tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeGNUSparse:
	default:
		return "", &UnsafeError{h.Name, "it is a device, a pipe or of an unknown kind"}
	}
	switch {
	case strings.HasPrefix(h.Name, "/"):
		return "", &UnsafeError{h.Name, "its name is absolute"}
	case strings.ContainsRune(h.Name, 0):
		return "", &UnsafeError{h.Name, "its name holds a zero byte"}
	}
	clean := path.Clean(h.Name)
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", &UnsafeError{h.Name, "it leads out of the directory"}
	}
	if clean == "." && h.Typeflag != tar.TypeDir && h.Typeflag != 0 {
		return "", &UnsafeError{h.Name, "it would replace the directory itself"}
	}
	return clean, nil
}

// errNotTar says that a file is no tar archive, compressed or not.
var errNotTar = errors.New("it is not a tar archive")

// eachMember reads an archive, uncompressed or by gzip, bzip2, xz or zstd.
func eachMember(ctx context.Context, file string, f func(*tar.Header, io.Reader) error) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err == nil && info.Size() == 0 {
		return errNotTar
	}
	r, done, err := decompress(ctx, in)
	if err != nil {
		return err
	}
	tr := tar.NewReader(&ctxReader{ctx, r})
	members := 0
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			_ = done()
			if members == 0 && !isContext(err) {
				return errNotTar
			}
			return fmt.Errorf("the archive is damaged: %w", err)
		}
		members++
		if h.Typeflag == tar.TypeXGlobalHeader { // git archives begin with one
			continue
		}
		if err := f(h, tr); err != nil {
			_ = done()
			return err
		}
	}
	// Read to the end, so that the compression's own check is made.
	_, err = io.Copy(io.Discard, r)
	if err2 := done(); err == nil {
		err = err2
	}
	if err != nil {
		return fmt.Errorf("the archive is damaged: %w", err)
	}
	return nil
}

// decompress looks at a file's first bytes. xz and zstd are read by the programs
// of that name.
func decompress(ctx context.Context, f *os.File) (io.Reader, func() error, error) {
	none := func() error { return nil }
	br := bufio.NewReaderSize(f, 1<<16)
	magic, _ := br.Peek(6)
	m := string(magic)
	switch {
	case strings.HasPrefix(m, "\x1f\x8b"):
		r, err := gzip.NewReader(br)
		if err != nil {
			return nil, nil, errNotTar
		}
		return r, none, nil
	case strings.HasPrefix(m, "BZh"):
		return bzip2.NewReader(br), none, nil
	case strings.HasPrefix(m, "\xfd7zXZ\x00"):
		return pipe(ctx, br, "xz", "-dc")
	case strings.HasPrefix(m, "\x28\xb5\x2f\xfd"):
		return pipe(ctx, br, "zstd", "-dcq")
	}
	return br, none, nil
}

func pipe(ctx context.Context, in io.Reader, name string, args ...string) (io.Reader, func() error, error) {
	bin, err := exec.LookPath(name)
	if err != nil {
		return nil, nil, fmt.Errorf("it is compressed by %s, which is not installed here: %w", name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, bin, args...)
	var stderr strings.Builder
	cmd.Stdin, cmd.Stderr = in, &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return out, func() error {
		defer cancel()
		_ = out.Close() // a program that still writes ends by that
		err := cmd.Wait()
		if err != nil && stderr.Len() > 0 {
			return fmt.Errorf("%s: %s", name, strings.TrimSpace(stderr.String()))
		}
		return err
	}, nil
}
