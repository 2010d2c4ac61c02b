package save

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unique"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/delta"
	"github.com/kolla-build/kolla-build/pkg/inventory"
)

// deltaPlan holds the state of a planned bundle that is a delta.
type deltaPlan struct {
	since    *inventory.Inventory
	required map[digest.Digest]bundle.Requirement
	needs    map[need]bool
	bases    map[digest.Digest]digest.Digest // by layer: the possible base of a byte delta
	deltas   []madeDelta
	work     delta.Work // of these
	spool    bool       // copy layers to a temporary file before they are read several times
	file     *os.File   // the contents of deltas, one after another; nil before the first
}

// need is that an image needs a blob. The handles keep each text once in memory.
type need struct{ blob, image unique.Handle[string] }

// madeDelta is a byte delta and its position in the file.
type madeDelta struct {
	target       blob
	offset, size int64
	digest       digest.Digest // of the delta
}

func newDeltaPlan(since *inventory.Inventory) *deltaPlan {
	return &deltaPlan{since: since, required: map[digest.Digest]bundle.Requirement{}, needs: map[need]bool{},
		bases: map[digest.Digest]digest.Digest{}}
}

// missing returns the blobs of an image that the other side does not have. The first
// blob is its manifest or index.
func (p *deltaPlan) missing(name string, blobs []ocispec.Descriptor) []ocispec.Descriptor {
	if p.since.Has(blobs[0]) {
		p.require(name, blobs[0].Digest, blobs[0].Size, true)
		return nil
	}
	inImage := map[digest.Digest]bool{}
	var layers []ocispec.Descriptor
	for _, b := range blobs {
		inImage[b.Digest] = true
		if isLayer(b.MediaType) {
			layers = append(layers, b)
		}
	}
	old := p.since.LayersOf(name)
	for i, l := range layers {
		if base := p.base(l, i, old, inImage); base != "" {
			p.bases[l.Digest] = base
		}
	}
	return slices.DeleteFunc(slices.Clone(blobs), func(b ocispec.Descriptor) bool {
		present := p.since.Has(b)
		if present {
			p.require(name, b.Digest, b.Size, false)
		}
		return present
	})
}

// base returns the older layer that a layer replaces: the one at the same position,
// unless the image still has it, else the one with the nearest size.
func (p *deltaPlan) base(l ocispec.Descriptor, position int, old []digest.Digest,
	inImage map[digest.Digest]bool) digest.Digest {
	if p.since.Has(l) {
		return ""
	}
	if position < len(old) && !inImage[old[position]] {
		return old[position]
	}
	var nearest digest.Digest
	distance := int64(-1)
	for _, d := range old {
		n := p.since.Blobs[d] - l.Size
		if n = max(n, -n); !inImage[d] && (distance < 0 || n < distance) {
			nearest, distance = d, n
		}
	}
	return nearest
}

func (p *deltaPlan) require(image string, d digest.Digest, size int64, manifest bool) {
	n := need{unique.Make(string(d)), unique.Make(image)}
	if p.needs[n] {
		return
	}
	p.needs[n] = true
	r, known := p.required[d]
	if known {
		r.More++
	} else {
		r = bundle.Requirement{Digest: d, Size: size, Image: image, Manifest: manifest}
	}
	p.required[d] = r
}

// list returns the content of delta.json.
func (p *deltaPlan) list() ([]byte, error) {
	doc := bundle.DeltaList{Version: bundle.DeltaVersion, Since: p.since.Of, Requires: []bundle.Requirement{}}
	for _, r := range p.required {
		doc.Requires = append(doc.Requires, r)
	}
	slices.SortFunc(doc.Requires, func(a, b bundle.Requirement) int {
		return strings.Compare(string(a.Digest), string(b.Digest))
	})
	return json.Marshal(doc)
}

// makeDeltas makes the byte deltas, in unnamed files in a directory. Layers without a
// byte delta stay in the plan.
func (p *plan) makeDeltas(ctx context.Context, tempDir string, progress bundle.Progress) error {
	err := p.deltas(ctx, tempDir, progress)
	if full := noSpace(tempDir, 0, err); full != err {
		return usererr.WithHint(fmt.Errorf("making byte deltas: %w", full),
			"free some space there, or omit --delta bytes, which needs temporary files")
	}
	return err
}

// leastSpace returns a lower bound of the temporary space: one layer at a time, with its base.
func (p *plan) leastSpace() int64 {
	largest := int64(0)
	for _, b := range p.large {
		if base := p.delta.bases[b.digest]; base != "" {
			required := p.delta.since.Blobs[base]
			if p.delta.spool {
				required += b.size
			}
			largest = max(largest, required)
		}
	}
	return largest
}

func (p *plan) deltas(ctx context.Context, tempDir string, progress bundle.Progress) error {
	if _, free := disk.Space(tempDir); free > 0 && free < p.leastSpace() {
		return syscall.ENOSPC
	}
	var err error
	if p.delta.file, err = atomicfile.Unnamed(tempDir); err != nil {
		return err
	}
	images := map[digest.Digest]string{}
	for _, e := range p.entries {
		blobs, err := p.st.Blobs(ctx, e.Digest)
		if err != nil {
			return err
		}
		for _, b := range blobs {
			if images[b.Digest] == "" {
				images[b.Digest] = e.Name
			}
		}
	}
	var total, done int64
	for _, b := range p.large {
		if p.delta.bases[b.digest] != "" {
			total += b.size
		}
	}
	var whole []blob
	for _, b := range p.large {
		if progress != nil {
			progress(done, total)
		}
		if p.delta.bases[b.digest] != "" {
			done += b.size
		}
		written := false
		err := retryReads(ctx, func() (err error) {
			written, err = p.makeDelta(ctx, b, images[b.digest], tempDir)
			return err
		})
		if err != nil {
			return err
		}
		if !written {
			whole = append(whole, b)
		}
	}
	p.large = whole
	return nil
}

// tempDir returns the directory for byte deltas: that of the store, or else the nearest
// existing parent directory of the bundle.
func (p *plan) tempDir(output string) string {
	if dir := p.st.TempDir(); dir != "" {
		return dir
	}
	if isDir(output) {
		dir := filepath.Clean(output)
		for !exists(dir) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
		}
		return dir
	}
	target, special, err := atomicfile.Target(output)
	if output == "-" || special || err != nil {
		return os.TempDir()
	}
	return filepath.Dir(target)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// makeDelta makes the byte delta of one layer, if that is possible.
func (p *plan) makeDelta(ctx context.Context, b blob, image, tempDir string) (bool, error) {
	base := p.delta.bases[b.digest]
	size := p.delta.since.Blobs[base]
	if base == "" || !p.st.HasBlob(base, size) {
		return false, nil
	}
	start, err := p.delta.file.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	old, target := p.blobOf(base, size), p.blobOf(b.digest, b.size)
	if p.delta.spool {
		// Both are verified before they are used: what happens to a download does not decide
		// what the bundle contains.
		for _, layer := range []*delta.Blob{&target, &old} {
			f, err := p.spool(ctx, *layer, tempDir)
			if err != nil {
				return false, err
			}
			defer f.Close()
			layer.Open = func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(f, 0, layer.Size)), nil }
		}
	}
	sum := digest.Canonical.Digester()
	header, err := delta.Make(ctx, io.MultiWriter(p.delta.file, sum.Hash()), old, target, tempDir)
	var whole *delta.CarryWholeError
	if errors.As(err, &whole) {
		return false, p.delta.file.Truncate(start)
	}
	if err != nil {
		return false, err
	}
	end, err := p.delta.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return false, err
	}
	work := p.delta.work
	if err := work.Add(header, end-start); err != nil {
		return false, p.delta.file.Truncate(start) // load refuses more deltas
	}
	p.delta.work = work
	p.delta.deltas = append(p.delta.deltas, madeDelta{b, start, end - start, sum.Digest()})
	p.delta.require(image, base, size, false)
	return true, nil
}

// spool copies a layer to a temporary file, because it is read several times.
func (p *plan) spool(ctx context.Context, b delta.Blob, tempDir string) (*os.File, error) {
	f, err := atomicfile.Unnamed(tempDir)
	if err != nil {
		return nil, err
	}
	err = copyFile(ctx, f, bundle.File{Name: bundle.BlobPath(b.Digest), Size: b.Size, Open: b.Open}, make([]byte, 1<<20),
		func(int) {})
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (p *plan) blobOf(d digest.Digest, size int64) delta.Blob {
	return delta.Blob{Digest: d, Size: size, Open: func() (io.ReadCloser, error) { return p.st.OpenBlob(d) }}
}

// summarize adds the figures of a delta.
func (p *deltaPlan) summarize(s *Summary) {
	s.Required, s.Deltas = len(p.required), len(p.deltas)
	for _, m := range p.deltas {
		s.DeltaBytes += m.size
		s.DeltaLayers += m.target.size
	}
	s.Blobs += s.Deltas // as load counts them
	s.Bytes += s.DeltaBytes
}

// close removes the temporary file.
func (p *deltaPlan) close() {
	if p.file != nil {
		p.file.Close()
	}
}
