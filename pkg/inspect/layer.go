package inspect

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/untar"
)

// Type is the type of an entry.
type Type uint8

// Types of entries.
const (
	File Type = iota + 1
	Dir
	Symlink
	Hardlink // Link is the path of another entry in the same layer
	Device
	Fifo
	removed // in comparisons of layers, a path that a layer removes
)

// String returns the name of the type.
func (t Type) String() string {
	return [...]string{"", "file", "directory", "symlink", "hardlink", "device", "fifo", "whiteout"}[t]
}

// Entry is a file, directory or link in a layer. An image has up to 500,000 entries, which are
// in memory at the same time: 128 bytes each, and the strings.
type Entry struct {
	Path     string    // slash-separated, without a leading slash
	Link     string    // target of a link
	ModTime  time.Time // with the precision of the tar
	Digest   Sum       // of a file's content, see Options.Digests
	Size     int64     // bytes, of files
	UID, GID int
	Extra    string // extended attributes and device numbers, equal if these are
	Mode     uint16 // permission bits, with setuid, setgid and sticky
	Type     Type
}

// HasCapabilities reports whether a program gets capabilities when it is started.
func (e Entry) HasCapabilities() bool { return strings.Contains(e.Extra, `security.capability"=`) }

// Sum is a SHA-256 digest, or zero if there is none. A digest.Digest would take three times its size.
type Sum [sha256.Size]byte

// String returns a digest such as "sha256:…", or "".
func (s Sum) String() string {
	if s == (Sum{}) {
		return ""
	}
	return digest.NewDigestFromBytes(digest.SHA256, s[:]).String()
}

// Layer describes the changes of a layer to lower layers.
type Layer struct {
	Entries []Entry // in the order of the tar; the last of a path counts
	Removed []string
	// Opaque are directories whose content in lower layers is removed.
	Opaque []string
}

// Content is the content of a named file.
type Content struct {
	Data []byte
	Size int64 // of the whole file; more than len(Data) if Options.Want was less
}

// Options select what to read of a layer.
type Options struct {
	Limits Limits
	// Usage, if it is not nil, has what the layers before had, and gets what this one has: the
	// limits are for all of them, also for layers that are read at the same time.
	Usage *Usage

	// Digests computes the digest of each file.
	Digests bool

	// Want returns how many bytes of the content of a file are wanted, by its path.
	// It is called for regular files and hard links.
	Want func(path string) int64

	// Large, if it is not nil, is called before a selected file of 32 MiB and more is read, so that
	// the caller can limit how many are in memory.
	Large func()

	// Visit is called with each regular file that Want does not select and with its
	// content. An error ends the reading. The content that it does not read is
	// skipped.
	Visit func(e Entry, content io.Reader) error
}

// ReadLayer reads a layer. The second result is the content of the files that
// Options.Want selects, by path.
func ReadLayer(ctx context.Context, l v1.Layer, opts Options) (*Layer, map[string]Content, error) {
	opts.Limits = opts.Limits.orDefault()
	r := reader{opts: opts, layer: &Layer{}, files: map[string]Content{},
		usage: opts.Usage, dirs: map[string]bool{"": true}}
	if r.usage == nil {
		r.usage = &Usage{}
	}
	if err := r.eachEntry(ctx, l, r.entry); err != nil {
		return nil, nil, err
	}
	if err := r.resolveLinks(ctx, l); err != nil {
		return nil, nil, err
	}
	return r.layer, r.files, nil
}

// largeFile is the size in bytes of files that Options.Large is called for.
const largeFile = 32 << 20

// maxPath is the longest path, in bytes: Linux opens no longer path.
const maxPath = 4096

// reader is the state of ReadLayer.
type reader struct {
	opts     Options
	layer    *Layer
	files    map[string]Content
	captured int64
	usage    *Usage
	dirs     map[string]bool   // that are listed, or part of another path
	links    map[string]string // targets of wanted hard links
}

// eachEntry calls yield with each entry of the tar of a layer.
func (r *reader) eachEntry(ctx context.Context, l v1.Layer, yield func(*tar.Header, io.Reader) error) error {
	rc, err := l.Uncompressed()
	if err != nil {
		return fmt.Errorf("reading layer: %w", err)
	}
	defer rc.Close()
	content := &limitedReader{ctx: ctx, r: rc, remaining: r.opts.Limits.Bytes, max: r.opts.Limits.Bytes}
	tr := tar.NewReader(content)
	body := &limitedReader{ctx: ctx, r: tr, max: r.opts.Limits.Bytes}
	size := int64(0)
	for {
		h, err := untar.Next(tr)
		if errors.Is(err, io.EOF) {
			// Checksums are verified at the end of the stream, which is after the
			// end of the archive.
			if _, err := io.Copy(io.Discard, content); err != nil {
				return fmt.Errorf("reading layer: %w", err)
			}
			return nil
		}
		if err == nil {
			// The holes of a sparse entry take no bytes in the archive.
			if size += h.Size; size < 0 || size > r.opts.Limits.Bytes {
				err = &LimitError{What: "bytes", Max: r.opts.Limits.Bytes}
			}
		}
		if err == nil {
			body.remaining = h.Size
			err = yield(h, body)
		}
		if err != nil {
			return fmt.Errorf("reading layer: %w", err)
		}
	}
}

func (r *reader) entry(h *tar.Header, body io.Reader) error {
	if r.usage.entries.Add(1) > int64(r.opts.Limits.Entries) {
		return r.exceeded("entries", int64(r.opts.Limits.Entries))
	}
	name := clean(h.Name)
	if len(name) > maxPath || len(h.Linkname) > maxPath {
		return &LimitError{What: "bytes in the path of an entry", Max: maxPath}
	}
	extra := extraOf(h)
	if err := errors.Join(r.keep(name, h.Linkname, extra), r.addParents(name)); err != nil {
		return err
	}
	dir, base := path.Split(name)
	switch {
	case base == opaque:
		r.layer.Opaque = append(r.layer.Opaque, strings.TrimSuffix(dir, "/"))
		return nil
	case strings.HasPrefix(base, whiteout):
		r.layer.Removed = append(r.layer.Removed, dir+strings.TrimPrefix(base, whiteout))
		return nil
	}
	e := Entry{Path: name, Mode: uint16(h.Mode & 0o7777), UID: h.Uid, GID: h.Gid, ModTime: h.ModTime, Extra: extra}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		e.Type, e.Size = File, h.Size
	case tar.TypeDir:
		e.Type = Dir
		r.dirs[name] = true
	case tar.TypeSymlink:
		e.Type, e.Link = Symlink, h.Linkname
	case tar.TypeLink:
		e.Type, e.Link = Hardlink, clean(h.Linkname)
	case tar.TypeChar, tar.TypeBlock:
		e.Type = Device
	case tar.TypeFifo:
		e.Type = Fifo
	default:
		return nil // such as global headers
	}
	delete(r.files, name) // the last entry of a path counts
	delete(r.links, name)
	if err := r.content(&e, body); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r.layer.Entries = append(r.layer.Entries, e)
	return nil
}

// keep counts names that are kept.
func (r *reader) keep(names ...string) error {
	size := 0
	for _, name := range names {
		size += len(name)
	}
	if r.usage.names.Add(int64(size)) > r.opts.Limits.Names {
		return r.exceeded("bytes in the names of entries", r.opts.Limits.Names)
	}
	return nil
}

// exceeded is the error for a limit of which r.usage has more.
func (r *reader) exceeded(what string, limit int64) error {
	return &LimitError{What: what, Max: limit, Layers: r.opts.Usage != nil}
}

// addParents notes the directories of a path.
func (r *reader) addParents(name string) error {
	for {
		name = name[:max(strings.LastIndexByte(name, '/'), 0)]
		if r.dirs[name] {
			return nil
		}
		r.dirs[name] = true
		if r.usage.implied.Add(1) > int64(r.opts.Limits.Implied) {
			return r.exceeded("directories without an entry", int64(r.opts.Limits.Implied))
		}
	}
}

func (r *reader) content(e *Entry, body io.Reader) error {
	want := int64(0)
	if r.opts.Want != nil && (e.Type == File || e.Type == Hardlink) {
		want = r.opts.Want(e.Path)
	}
	if e.Type == Hardlink && want > 0 {
		if r.links == nil {
			r.links = map[string]string{}
		}
		r.links[e.Path] = e.Link
		return nil
	}
	if e.Type != File {
		return nil
	}
	var sum hash.Hash
	if r.opts.Digests {
		sum = sha256.New()
		body = io.TeeReader(body, sum)
	}
	if want > 0 {
		data, err := r.capture(body, min(want, e.Size))
		if err != nil {
			return err
		}
		r.files[e.Path] = Content{Data: data, Size: e.Size}
	} else if r.opts.Visit != nil {
		if err := r.opts.Visit(*e, body); err != nil {
			return err
		}
	}
	if sum != nil {
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
		e.Digest = Sum(sum.Sum(nil))
	}
	return nil
}

func (r *reader) capture(body io.Reader, n int64) ([]byte, error) {
	if r.captured += n; r.captured > r.opts.Limits.Capture {
		return nil, &LimitError{What: "bytes of content", Max: r.opts.Limits.Capture}
	}
	if n >= largeFile && r.opts.Large != nil {
		r.opts.Large()
	}
	// Memory that the data does not fill is not used, if the size in the header is wrong.
	b := make([]byte, n)
	k, err := io.ReadFull(body, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return b[:k], err
}

// resolveLinks gives wanted hard links the content of their targets. If a target was
// not wanted itself, the layer is read again.
func (r *reader) resolveLinks(ctx context.Context, l v1.Layer) error {
	missing := map[string][]string{} // wanted links by their target
	for link, target := range r.links {
		if c, ok := r.files[target]; ok {
			r.files[link] = c
		} else {
			missing[target] = append(missing[target], link)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	found := map[string]Content{}
	err := r.eachEntry(ctx, l, func(h *tar.Header, body io.Reader) error {
		links := missing[clean(h.Name)]
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse || len(links) == 0 {
			return nil
		}
		want := int64(0)
		for _, link := range links {
			want = max(want, r.opts.Want(link))
		}
		data, err := r.capture(body, min(want, h.Size))
		for _, link := range links {
			found[link] = Content{Data: data, Size: h.Size}
		}
		return err
	})
	maps.Copy(r.files, found)
	return err
}

// extraOf returns the attributes in a header that few files have, in one string: a map of one
// attribute would take 300 bytes.
func extraOf(h *tar.Header) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
			fmt.Fprintf(&b, "%q=%q ", name, h.PAXRecords[k])
		}
	}
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		fmt.Fprintf(&b, "device %c %d,%d", h.Typeflag, h.Devmajor, h.Devminor)
	}
	return b.String()
}

// limitedReader ends with ctx, and with an error at a number of bytes.
type limitedReader struct {
	ctx            context.Context //nolint:containedctx // lives as long as one call
	r              io.Reader
	remaining, max int64
}

func (b *limitedReader) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	if b.remaining -= int64(n); b.remaining < 0 {
		return 0, &LimitError{What: "bytes", Max: b.max}
	}
	return n, err
}
