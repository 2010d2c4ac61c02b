package bundle

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
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/delta"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// A delta is a bundle without the blobs that the other side has, which are listed in its
// member delta.json; deltas/sha256/HEX is the byte delta from which the layer HEX is
// restored.
const (
	deltaIndex   = "delta.json"
	deltaDir     = "deltas"
	deltaVersion = 1
)

// deltaDocument is the content of delta.json.
type deltaDocument struct {
	Version  int           `json:"version"`
	Since    string        `json:"since,omitempty"` // place of the inventory
	Requires []requirement `json:"requires"`
}

// requirement is a blob that the other side must have. A manifest includes everything
// that it refers to.
type requirement struct {
	Digest   digest.Digest `json:"digest"`
	Size     int64         `json:"size"`
	Image    string        `json:"image"`          // the first one that needs it
	More     int           `json:"more,omitempty"` // how many other images need it
	Manifest bool          `json:"manifest,omitempty"`
}

// deltaPlan holds the state of a planned bundle that is a delta.
type deltaPlan struct {
	since    *inventory.Inventory
	required map[digest.Digest]requirement
	needs    map[need]bool
	bases    map[digest.Digest]digest.Digest // by layer: the possible base of a byte delta
	deltas   []madeDelta
	spool    bool     // copy layers to a temporary file before they are read several times
	file     *os.File // the byte deltas in made, one after another; nil before the first
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
	return &deltaPlan{since: since, required: map[digest.Digest]requirement{}, needs: map[need]bool{},
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
		r = requirement{Digest: d, Size: size, Image: image, Manifest: manifest}
	}
	p.required[d] = r
}

// index returns the content of delta.json.
func (p *deltaPlan) index() ([]byte, error) {
	doc := deltaDocument{Version: deltaVersion, Since: p.since.Of, Requires: []requirement{}}
	for _, r := range p.required {
		doc.Requires = append(doc.Requires, r)
	}
	slices.SortFunc(doc.Requires, func(a, b requirement) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	return json.Marshal(doc)
}

// makeDeltas makes the byte deltas, in unnamed files in a directory. Layers without a
// byte delta stay in the plan.
func (p *plan) makeDeltas(ctx context.Context, tempDir string, progress Progress) error {
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

func (p *plan) deltas(ctx context.Context, tempDir string, progress Progress) error {
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
	_, err = delta.Make(ctx, io.MultiWriter(p.delta.file, sum.Hash()), old, target, tempDir)
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
	err = copyFile(ctx, f, file{name: blobName(b.Digest), size: b.Size, open: b.Open}, make([]byte, 1<<20), func(int) {})
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
	s.Blobs += s.Deltas // as Load counts them
	s.Bytes += s.DeltaBytes
}

// close removes the temporary file.
func (p *deltaPlan) close() {
	if p.file != nil {
		p.file.Close()
	}
}

// MissingError reports that blobs which a delta requires are missing.
type MissingError struct {
	Since   string // the site that the delta was made for, "" if unknown
	Missing []string
	Images  []string // images that need the blobs, each once: for every blob the first one
	AtLeast int      // how many images need one of the blobs, the others included
}

// Error implements error.
func (e *MissingError) Error() string {
	images := units.List(e.Images, maxNamesShown)
	if e.AtLeast > len(e.Images) {
		shown := min(len(e.Images), maxNamesShown)
		images = fmt.Sprintf("%s and at least %d more", strings.Join(e.Images[:shown], ", "), e.AtLeast-shown)
	}
	return fmt.Sprintf("it is a delta, and the store lacks %s that it requires: %s, for %s", units.Count(len(e.Missing), "blob"),
		units.List(e.Missing, maxNamesShown), images)
}

// Hint returns a hint for the user.
func (e *MissingError) Hint() string {
	hint := "load the earlier bundles first, or save a new one with --since and the output of kolla-build inventory --store"
	if e.Since != "" {
		hint += "; it was made for " + e.Since
	}
	return hint
}

// maxNamesShown is how many names an error lists.
const maxNamesShown = 3

// parseDelta parses delta.json, in at most a small multiple of its size in memory.
func parseDelta(b []byte) (deltaDocument, error) {
	var doc deltaDocument
	err := object(b, func(key string, dec *json.Decoder) error {
		switch key {
		case "version":
			return dec.Decode(&doc.Version)
		case "since":
			return dec.Decode(&doc.Since)
		case "requires":
			return elements(dec, maxBlobs, func(dec *json.Decoder) error {
				var r requirement
				if err := dec.Decode(&r); err != nil {
					return err
				}
				doc.Requires = append(doc.Requires, r)
				if err := r.Digest.Validate(); err != nil {
					return fmt.Errorf("digest %q: %w", r.Digest, err)
				}
				return nil
			})
		}
		return ignore(dec)
	})
	if doc.Since == "store" { // of an earlier release, which named every store alike
		doc.Since = "a store"
	}
	if err == nil && doc.Version != deltaVersion {
		err = fmt.Errorf("its version is %d, this program knows %d", doc.Version, deltaVersion)
	}
	return doc, err
}

// followsBlobs is the problem of a delta.json that is read too late: what it requires is
// checked before any blob is written.
const followsBlobs = "it follows blobs"

// requirements reads delta.json and checks that everything required is in the store,
// before any blob is written.
func (l *loader) requirements(ctx context.Context, m member) error {
	if len(l.received) > 0 {
		return &FormatError{Member: m.name, Detail: followsBlobs, Advice: adviceForeign}
	}
	b, err := l.readSmall(m, maxIndex)
	if err != nil {
		return err
	}
	doc, err := parseDelta(b)
	if err != nil {
		return &FormatError{Member: m.name, Detail: "not the list of a delta", Err: err}
	}
	missing := &MissingError{Since: printable(doc.Since)}
	for _, r := range doc.Requires {
		ok := l.st.HasBlob(r.Digest, r.Size)
		if ok && r.Manifest {
			var damaged *store.BlobError
			err := l.st.CheckBlobs(ctx, r.Digest)
			if ok = err == nil; err != nil && !errors.As(err, &damaged) {
				return err
			}
		}
		if !ok {
			missing.Missing = append(missing.Missing, r.Digest.String())
			missing.AtLeast = max(missing.AtLeast, min(r.More, maxImages)+1)
			if image := printable(r.Image); !slices.Contains(missing.Images, image) && len(missing.Images) < 1000 {
				missing.Images = append(missing.Images, image)
			}
		}
	}
	if len(missing.Missing) > 0 {
		slices.Sort(missing.Images)
		return missing
	}
	l.deltaBases = map[digest.Digest]int64{}
	for _, r := range doc.Requires {
		if !r.Manifest {
			l.deltaBases[r.Digest] = r.Size
		}
	}
	l.sum.Required = len(doc.Requires)
	return nil
}

// printable returns a text from a bundle, quoted unless all of it is printable.
func printable(s string) string {
	if q := fmt.Sprintf("%q", s); len(q) != len(s)+2 || len(s) > 300 {
		return q[:min(len(q), 300)]
	}
	return s
}

// applyDelta makes a layer from a byte delta and stores it.
func (l *loader) applyDelta(ctx context.Context, m member) error {
	expected, known := l.expected[m.digest]
	if !known || expected.manifest {
		return &FormatError{Member: m.name, Detail: "no manifest before it refers to this layer", Advice: adviceForeign}
	}
	if l.sum.Deltas == 0 {
		if err := l.checkDeltaSpace(); err != nil {
			return err
		}
	}
	l.received[m.digest] = expected.size
	l.sum.Blobs++
	l.sum.Deltas++
	l.sum.DeltaBytes += m.size
	l.sum.DeltaLayers += expected.size
	if l.st.HasBlob(m.digest, expected.size) {
		damaged, err := l.st.CheckBlob(ctx, m.digest)
		if err != nil {
			return err
		}
		if !damaged {
			l.sum.Reused++
			return nil
		}
		l.sum.Repaired++
	}
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := delta.Apply(ctx, pw, l.src.tr, delta.Layer{Digest: m.digest, Size: expected.size}, l.openBase, l.st.TempDir())
		pw.CloseWithError(err)
		done <- err
	}()
	_, _, err := l.st.WriteBlob(ctx, pr, m.digest, expected.size)
	pr.CloseWithError(errStopped) // ends Apply if the store gave up
	if applied := <-done; applied != nil && !errors.Is(applied, errStopped) {
		return &FormatError{Member: m.name, Blob: m.digest, Of: expected.role.String(), Err: applied}
	}
	if err != nil {
		return err
	}
	l.sum.Bytes += m.size
	return nil
}

// openBase opens the base of a byte delta. It must be listed in delta.json, so that a
// bundle cannot make the site expand a layer of the bundle.
func (l *loader) openBase(d digest.Digest, size int64) (io.ReadCloser, error) {
	if _, listed := l.deltaBases[d]; !listed {
		return nil, fmt.Errorf("%s, which it was made from, is not in %s", d, deltaIndex)
	}
	if !l.st.HasBlob(d, size) {
		return nil, fmt.Errorf("%s of %d bytes, which it was made from, is not in the store", d, size)
	}
	return l.st.OpenBlob(d)
}

// errStopped ends the writer of a pipe whose reader has given up.
var errStopped = errors.New("the store stopped reading")
