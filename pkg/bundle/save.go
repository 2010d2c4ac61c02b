package bundle

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/store"
)

// containerdName is where ctr and dockerd look for an image's full name.
const containerdName = "io.containerd.image.name"

// Compression is how the whole tar is compressed.
type Compression string

// The compressions that Save writes. Load recognises them by itself.
const (
	None Compression = "" // the default: layers are compressed already
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// Progress is told how far a save or load is, in bytes of blobs; total is 0
// where it is not known yet. It is called from one goroutine and must not block.
type Progress func(done, total int64)

// SaveOptions change what Save does; the zero value is the usual.
type SaveOptions struct {
	Compression Compression
	Progress    Progress
	Stdout      io.Writer // for output "-"; nil is os.Stdout
}

// Summary says what a bundle holds.
type Summary struct {
	Images []store.Entry // sorted by name
	Blobs  int           // each counted once
	Bytes  int64         // of the blobs, each counted once
	Reused int           // Load: blobs that the store had already
}

// Save writes the images to the file output, to stdout if it is "-", or into the
// device or pipe that output is. A file appears under its name when it is whole; an error leaves what was there
// before. Every blob is checked against its digest on the way. Two images of
// one name, or an image without one, are errors.
func Save(ctx context.Context, st *store.Store, entries []store.Entry, output string, opts SaveOptions) (Summary, error) {
	sum, err := save(ctx, st, entries, output, opts)
	if err != nil {
		return sum, fmt.Errorf("saving bundle %s: %w", output, err)
	}
	return sum, nil
}

func save(ctx context.Context, st *store.Store, entries []store.Entry, output string, opts SaveOptions) (Summary, error) {
	p, err := newPlan(ctx, st, entries)
	if err != nil {
		return Summary{}, err
	}
	sum := p.summary()
	if output == "-" {
		w := opts.Stdout
		if w == nil {
			w = os.Stdout
		}
		return sum, p.write(ctx, w, opts)
	}
	output, special, err := destination(output)
	if err != nil {
		return sum, err
	}
	if special {
		f, err := os.OpenFile(output, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return sum, err
		}
		err = p.write(ctx, f, opts)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		return sum, err
	}
	dir := filepath.Dir(output)
	if opts.Compression == None {
		if free := freeSpace(dir); free > 0 && free < uint64(sum.Bytes) {
			return sum, &store.FullError{Path: dir, Need: sum.Bytes, Free: free}
		}
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(output)+".partial-*")
	if err != nil {
		return sum, err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	err = p.write(ctx, f, opts)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), output)
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = &store.FullError{Path: dir, Need: sum.Bytes, Free: freeSpace(dir), Err: err}
	}
	return sum, err
}

// destination is the file that output leads to, and whether it is a device, a
// pipe or the like: those are written to, and never replaced by a file.
func destination(output string) (path string, special bool, err error) {
	if strings.HasPrefix(output, "/dev/") && !strings.HasPrefix(output, "/dev/shm/") {
		return output, true, nil
	}
	if real, err := filepath.EvalSymlinks(output); err == nil {
		output = real
	}
	fi, err := os.Stat(output)
	if err == nil && fi.IsDir() {
		return "", false, fmt.Errorf("it is a directory: name a file in it, such as %s", filepath.Join(output, "set.tar"))
	}
	if _, derr := os.Stat(filepath.Dir(output)); derr != nil {
		return "", false, fmt.Errorf("there is no directory %s: make it first", filepath.Dir(output))
	}
	return output, err == nil && !fi.Mode().IsRegular(), nil
}

func freeSpace(dir string) uint64 {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return 0
	}
	return st.Bavail * uint64(st.Bsize)
}

// plan is what a bundle will hold, in its order.
type plan struct {
	st      *store.Store
	entries []store.Entry
	index   []byte
	docker  []byte // manifest.json
	small   []blob // manifests and configs
	large   []blob // layers
}

type blob struct {
	digest digest.Digest
	size   int64
}

func newPlan(ctx context.Context, st *store.Store, entries []store.Entry) (*plan, error) {
	if len(entries) == 0 {
		return nil, errors.New("there is no image to save")
	}
	p := &plan{st: st, entries: append([]store.Entry(nil), entries...)}
	sort.Slice(p.entries, func(i, j int) bool { return p.entries[i].Name < p.entries[j].Name })
	small, large := map[digest.Digest]int64{}, map[digest.Digest]int64{}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	docker := []dockerImage{}
	for i, e := range p.entries {
		if e.Name == "" {
			return nil, fmt.Errorf("image %s has no name", e.Digest)
		}
		if i > 0 && p.entries[i-1].Name == e.Name {
			return nil, fmt.Errorf("image %s is there twice", e.Name)
		}
		blobs, err := st.Blobs(ctx, e.Digest)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", e.Name, err)
		}
		e.MediaType = blobs[0].MediaType
		e.Stored = time.Time{} // when it was put here is no property of the image
		d := e.Descriptor(blobs[0].Size)
		d.Annotations[containerdName] = e.Name
		index.Manifests = append(index.Manifests, d)
		if di, ok := dockerImageOf(e.Name, blobs); ok {
			docker = append(docker, di)
		}
		for _, b := range blobs {
			if isLayer(b.MediaType) {
				large[b.Digest] = b.Size
			} else {
				small[b.Digest] = b.Size
			}
		}
	}
	for d := range small {
		delete(large, d)
	}
	p.small, p.large = sorted(small), sorted(large)
	var err error
	if p.index, err = json.Marshal(index); err != nil {
		return nil, err
	}
	if len(p.index) > maxIndex {
		return nil, fmt.Errorf("the index of %d images is larger than %s: save fewer at once", len(entries), store.Bytes(maxIndex))
	}
	p.docker, err = json.Marshal(docker)
	return p, err
}

func (p *plan) summary() Summary {
	s := Summary{Images: p.entries, Blobs: len(p.small) + len(p.large)}
	for _, list := range [][]blob{p.small, p.large} {
		for _, b := range list {
			s.Bytes += b.size
		}
	}
	return s
}

// isLayer tells what is long from what a listing wants to read early. Unknown
// media types count as long.
func isLayer(mediaType string) bool {
	switch mediaType {
	case "", ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageConfig,
		"application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.distribution.manifest.list.v2+json",
		"application/vnd.docker.container.image.v1+json":
		return false
	}
	return true
}

func sorted(m map[digest.Digest]int64) []blob {
	out := make([]blob, 0, len(m))
	for d, n := range m {
		out = append(out, blob{d, n})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].digest < out[j].digest })
	return out
}

// dockerImage is an element of manifest.json.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerImageOf describes a single-platform image for docker load; an index
// has no place in that format.
func dockerImageOf(ref string, blobs []ocispec.Descriptor) (dockerImage, bool) {
	_, err := name.NewTag(ref)
	if err != nil || len(blobs) < 2 || blobs[0].MediaType == ocispec.MediaTypeImageIndex || isLayer(blobs[1].MediaType) {
		return dockerImage{}, false
	}
	di := dockerImage{Config: blobName(blobs[1].Digest), RepoTags: []string{ref}}
	for _, b := range blobs[2:] {
		if !isLayer(b.MediaType) {
			return dockerImage{}, false
		}
		di.Layers = append(di.Layers, blobName(b.Digest))
	}
	return di, true
}

func blobName(d digest.Digest) string {
	return "blobs/" + d.Algorithm().String() + "/" + d.Encoded()
}

func (p *plan) write(ctx context.Context, w io.Writer, opts SaveOptions) error {
	buf := bufio.NewWriterSize(w, 1<<20)
	var out io.Writer = buf
	closeAll := buf.Flush
	switch opts.Compression {
	case None:
	case Gzip:
		z := gzip.NewWriter(buf)
		out, closeAll = z, func() error { return errors.Join(z.Close(), buf.Flush()) }
	case Zstd:
		// One goroutine: with more, the bytes would depend on the machine.
		z, err := zstd.NewWriter(buf, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return err
		}
		out, closeAll = z, func() error { return errors.Join(z.Close(), buf.Flush()) }
	default:
		return fmt.Errorf("unknown compression %q: use %q or %q", opts.Compression, Gzip, Zstd)
	}
	if err := p.writeTar(ctx, tar.NewWriter(out), opts.Progress); err != nil {
		return err
	}
	return closeAll()
}

func (p *plan) writeTar(ctx context.Context, tw *tar.Writer, progress Progress) error {
	layout, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{{ocispec.ImageLayoutFile, layout}, {ocispec.ImageIndexFile, p.index}, {dockerManifest, p.docker}} {
		if err := tw.WriteHeader(header(f.name, int64(len(f.content)))); err != nil {
			return err
		}
		if _, err := tw.Write(f.content); err != nil {
			return err
		}
	}
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		h := header(dir, 0)
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
	}
	done, total := int64(0), p.summary().Bytes
	buf := make([]byte, 1<<20)
	for _, list := range [][]blob{p.small, p.large} {
		for _, b := range list {
			if err := p.writeBlob(ctx, tw, b, buf); err != nil {
				return err
			}
			if done += b.size; progress != nil {
				progress(done, total)
			}
		}
	}
	return tw.Close()
}

func (p *plan) writeBlob(ctx context.Context, tw *tar.Writer, b blob, buf []byte) error {
	r, err := p.st.OpenBlob(b.digest)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := tw.WriteHeader(header(blobName(b.digest), b.size)); err != nil {
		return err
	}
	// The reader's own error comes after the last byte; without reading to the
	// end a flipped bit would pass.
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if _, werr := tw.Write(buf[:n]); werr != nil {
			return fmt.Errorf("blob %s: %w", b.digest, werr)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// header describes a file with nothing in it that differs between machines.
func header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)}
}
