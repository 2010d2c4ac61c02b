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
	"sort"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// containerdName is the annotation in which ctr and dockerd look for an image's
// full name.
const containerdName = "io.containerd.image.name"

// plan is the content of a bundle that is to be written.
type plan struct {
	st      *store.Store
	entries []store.Entry
	index   []byte
	docker  []byte     // manifest.json
	small   []blob     // manifests and configs
	large   []blob     // layers
	delta   *deltaPlan // nil unless the bundle is a delta
}

type blob struct {
	digest digest.Digest
	size   int64
}

func newPlan(ctx context.Context, st *store.Store, entries []store.Entry, since *inventory.Inventory) (*plan, error) {
	if len(entries) == 0 {
		return nil, errors.New("no images to save")
	}
	p := &plan{st: st, entries: append([]store.Entry(nil), entries...)}
	sort.Slice(p.entries, func(i, j int) bool { return p.entries[i].Name < p.entries[j].Name })
	small, large := map[digest.Digest]int64{}, map[digest.Digest]int64{}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	docker := []dockerImage{}
	if since != nil {
		p.delta = newDeltaPlan(since)
	}
	for i, e := range p.entries {
		if e.Name == "" {
			return nil, fmt.Errorf("image %s has no name", e.Digest)
		}
		if i > 0 && p.entries[i-1].Name == e.Name {
			return nil, fmt.Errorf("image %s occurs twice", e.Name)
		}
		blobs, err := st.Blobs(ctx, e.Digest)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", e.Name, err)
		}
		e.MediaType = blobs[0].MediaType
		e.Stored = time.Time{} // not a property of the image
		if e.Kind == store.KindLoaded {
			e.Kind = ""
		}
		d := e.Descriptor(blobs[0].Size)
		d.Annotations[containerdName] = e.Name
		index.Manifests = append(index.Manifests, d)
		if di, ok := dockerImageOf(e.Name, blobs); ok {
			docker = append(docker, di)
		}
		if p.delta != nil {
			blobs = p.delta.missing(e.Name, blobs)
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
	if len(p.index) > maxIndex || len(entries) > maxImages || len(p.small)+len(p.large) > maxBlobs {
		return nil, usererr.Errorf("save them to several bundles", "%d images with %d blobs are too many for one bundle", len(entries), len(p.small)+len(p.large))
	}
	if p.delta != nil {
		return p, nil // engines cannot load it
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
	if p.delta != nil {
		p.delta.summarize(&s)
	}
	return s
}

// isLayer reports whether a blob can be large and follows the small ones in the
// tar. Blobs of unknown media types count as large.
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

// dockerImageOf describes an image for docker load, whose format has no
// multi-platform images.
func dockerImageOf(ref string, blobs []ocispec.Descriptor) (dockerImage, bool) {
	if _, err := imageref.ParseTag(ref); err != nil || len(blobs) < 2 || blobs[0].MediaType == ocispec.MediaTypeImageIndex || isLayer(blobs[1].MediaType) {
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
		// With more than one goroutine, the bytes would depend on the machine.
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
	type file struct {
		name    string
		content []byte
	}
	files := []file{{ocispec.ImageLayoutFile, layout}, {ocispec.ImageIndexFile, p.index}}
	if p.delta == nil {
		files = append(files, file{dockerManifest, p.docker})
	} else {
		index, err := p.delta.index()
		if err != nil {
			return err
		}
		files = append(files, file{deltaIndex, index})
	}
	for _, f := range files {
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
	for i, list := range [][]blob{p.small, p.large} {
		if i == 1 && p.delta != nil { // behind the manifests, which refer to the layers
			if err := p.delta.write(ctx, tw); err != nil {
				return err
			}
		}
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
	// The reader reports damage at the end of the blob, so it is read to the end.
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

// header returns the header of a file, with nothing that differs between machines.
func header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)}
}
