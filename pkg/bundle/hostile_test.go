package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// packed is a bundle that is made by hand.
type packed struct {
	images []ocispec.Descriptor
	blobs  map[digest.Digest][]byte
}

func (p *packed) add(mediaType string, b []byte) ocispec.Descriptor {
	if p.blobs == nil {
		p.blobs = map[digest.Digest][]byte{}
	}
	d := digest.FromBytes(b)
	p.blobs[d] = b
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

func (p *packed) addJSON(t testing.TB, mediaType string, doc any) ocispec.Descriptor {
	t.Helper()
	return p.add(mediaType, must[[]byte](t)(json.Marshal(doc)))
}

// image adds an image of one layer.
func (p *packed) image(t testing.TB, name, content string, annotations map[string]string) ocispec.Descriptor {
	t.Helper()
	config := p.addJSON(t, ocispec.MediaTypeImageConfig, map[string]string{"os": "linux", "architecture": "amd64"})
	layer := p.add(ocispec.MediaTypeImageLayer, []byte(content))
	d := p.addJSON(t, ocispec.MediaTypeImageManifest,
		ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer}})
	d.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	for k, v := range annotations {
		d.Annotations[k] = v
	}
	p.images = append(p.images, d)
	return d
}

func (p *packed) bytes(t testing.TB) []byte {
	t.Helper()
	return makeTar(t, p.items(t)...)
}

// items returns the members of the bundle, blobs last.
func (p *packed) items(t testing.TB) []item {
	t.Helper()
	index := must[[]byte](t)(json.Marshal(map[string]any{"schemaVersion": 2, "manifests": p.images}))
	items := []item{{tar.Header{Name: "oci-layout"}, layoutFile}, {tar.Header{Name: "index.json"}, string(index)}}
	for d, b := range p.blobs {
		items = append(items, item{tar.Header{Name: blobName(d)}, string(b)})
	}
	return items
}

func loadBytes(t testing.TB, s *store.Store, b []byte, opts LoadOptions) (Summary, error) {
	t.Helper()
	opts.Stdin = bytes.NewReader(b)
	return Load(t.Context(), "-", s, opts)
}

// Keys, kinds and origins in a bundle count only for a bundle that is trusted.
func TestClaimsOfBundle(t *testing.T) {
	claims := map[string]string{"io.kolla-build.key": "key-of-leaf", "io.kolla-build.kind": "base", "io.kolla-build.origin": "registry"}
	var p packed
	p.image(t, "site.example/unrelated/tool:1", "evil", claims)
	b := p.bytes(t)
	s := openStore(t)
	sum := must[Summary](t)(loadBytes(t, s, b, LoadOptions{}))
	if e := sum.Images[0]; e.Key != "" || e.Kind != store.KindLoaded || e.Origin != "" {
		t.Errorf("not trusted: %+v", e)
	}
	if _, ok, _ := s.ByKey("key-of-leaf"); ok {
		t.Error("the key of a bundle that is not trusted was stored")
	}
	sum = must[Summary](t)(loadBytes(t, s, b, LoadOptions{Trust: true}))
	if e := sum.Images[0]; e.Key != "key-of-leaf" || e.Kind != store.KindBase || e.Origin != "registry" {
		t.Errorf("trusted: %+v", e)
	}
	// An image without a name has nothing but its key.
	p.images[0].Annotations[ocispec.AnnotationRefName] = ""
	if _, err := loadBytes(t, openStore(t), p.bytes(t), LoadOptions{}); err == nil || !strings.Contains(err.Error(), "has a name") {
		t.Errorf("an image without a name: %v", err)
	}
}

// A name that the store has is not moved to another image unless asked for, in any
// spelling, and before content is read, unless the image may be the same in another form.
func TestNamesAreNotReplaced(t *testing.T) {
	s := openStore(t)
	var own packed
	ours := own.image(t, "debian:trixie", "ours", map[string]string{"io.kolla-build.kind": "base"})
	must[Summary](t)(loadBytes(t, s, own.bytes(t), LoadOptions{Trust: true}))
	for _, name := range []string{"debian:trixie", "docker.io/library/debian:trixie"} {
		var p packed
		p.image(t, name, "theirs", nil)
		p.image(t, "other:t", "other", nil)
		_, err := loadBytes(t, s, p.bytes(t), LoadOptions{})
		var taken *store.NamesTakenError
		if !errors.As(err, &taken) || len(taken.Names) != 1 || !strings.Contains(usererr.Hint(err), "--replace") {
			t.Errorf("%s: %v, hint %q", name, err, usererr.Hint(err))
		}
		for d := range p.blobs {
			if own.blobs[d] == nil && s.HasBlob(d, -1) {
				t.Errorf("%s: content was read", name)
			}
		}
		if entries, _ := s.Entries(); len(entries) != 1 || entries[0].Digest != ours.Digest {
			t.Errorf("%s: entries %+v", name, entries)
		}
	}
	// The same image again is not a replacement.
	must[Summary](t)(loadBytes(t, s, own.bytes(t), LoadOptions{}))
	var p packed
	theirs := p.image(t, "debian:trixie", "theirs", nil)
	sum := must[Summary](t)(loadBytes(t, s, p.bytes(t), LoadOptions{Replace: true}))
	if sum.Images[0].Digest != theirs.Digest {
		t.Errorf("replaced: %+v", sum.Images[0])
	}
}

func TestHostileNames(t *testing.T) {
	for _, name := range []string{"kolla/../../base:t", "../base:t", "ba\u202ese:t", "a\x1b[2J:t", "Upper/Case:t", "a b:t",
		"kolla/base@sha256:" + strings.Repeat("a", 64), "kolla//base:t", "localhost:99999/x:t", strings.Repeat("a/", 200) + "b"} {
		var p packed
		p.image(t, name, "x", nil)
		s := openStore(t)
		_, err := loadBytes(t, s, p.bytes(t), LoadOptions{Trust: true})
		var fe *FormatError
		if !errors.As(err, &fe) || strings.ContainsAny(err.Error(), "\x1b\u202e") {
			t.Errorf("%q: %v", name, err)
		}
		if entries, _ := s.Entries(); len(entries) != 0 {
			t.Errorf("%q: entries %+v", name, entries)
		}
	}
}

// An image that lists another image's manifest as a layer, within one bundle: save
// writes all of both, and load reads it.
func TestManifestListedAsLayer(t *testing.T) {
	var p packed
	victim := p.image(t, "", "victim", nil)
	victim.Annotations, p.images = nil, nil
	config := p.addJSON(t, ocispec.MediaTypeImageConfig, map[string]string{"os": "linux", "architecture": "arm64"})
	layer := victim
	layer.MediaType = ocispec.MediaTypeImageLayer
	evil := p.addJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{Config: config, Layers: []ocispec.Descriptor{layer}})
	index := p.addJSON(t, ocispec.MediaTypeImageIndex,
		ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{evil, victim}})
	index.Annotations = map[string]string{ocispec.AnnotationRefName: "a:t"}
	p.images = []ocispec.Descriptor{index}
	s := openStore(t)
	must[Summary](t)(loadBytes(t, s, p.bytes(t), LoadOptions{}))
	var saved bytes.Buffer
	must[Summary](t)(Save(t.Context(), s, must[[]store.Entry](t)(s.Entries()), "-", SaveOptions{Stdout: &saved}))
	to := openStore(t)
	sum := must[Summary](t)(loadBytes(t, to, saved.Bytes(), LoadOptions{}))
	if sum.Blobs != len(p.blobs) {
		t.Errorf("%d blobs, want %d", sum.Blobs, len(p.blobs))
	}
	if err := to.Verify(t.Context(), index.Digest); err != nil {
		t.Error(err)
	}
}

// Loading repairs blobs that are damaged in the store, of any role.
func TestLoadRepairs(t *testing.T) {
	s, entries := fill(t)
	out := saveTo(t, s, entries, SaveOptions{})
	to := openStore(t)
	must[Summary](t)(Load(t.Context(), out, to, LoadOptions{}))
	blobs := must[[]ocispec.Descriptor](t)(to.Blobs(t.Context(), entries[0].Digest))
	for i, b := range blobs {
		damage(t, to, b.Digest)
		sum, err := Load(t.Context(), out, to, LoadOptions{})
		if err != nil || sum.Repaired != 1 || sum.Reused != sum.Blobs-1 {
			t.Errorf("blob %d: %d repaired, %d of %d reused, %v", i, sum.Repaired, sum.Reused, sum.Blobs, err)
		}
		if err := to.Verify(t.Context(), entries[0].Digest); err != nil {
			t.Errorf("blob %d: %v", i, err)
		}
	}
}

// memoryLimit is what reading a hostile bundle may allocate at a time.
const memoryLimit = 250 << 20

// A signal ends loading from a named pipe that nobody writes to, from standard
// input, and from an archive without an end.
func TestLoadStops(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	stdin, w := io.Pipe()
	defer w.Close()
	stop := errors.New("stop")
	for name, load := range map[string]func(context.Context) error{
		"named pipe": func(ctx context.Context) error {
			_, err := Load(ctx, pipe, openStore(t), LoadOptions{})
			return err
		},
		"standard input": func(ctx context.Context) error {
			_, err := Load(ctx, "-", openStore(t), LoadOptions{Stdin: stdin})
			return err
		},
		"device": func(ctx context.Context) error {
			_, err := Load(ctx, "/dev/zero", openStore(t), LoadOptions{})
			if err != nil {
				return stop
			}
			return nil
		},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error)
		go func() { done <- load(ctx) }()
		cancel(stop)
		if err := <-done; !errors.Is(err, stop) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Images of many layers are an error as soon as their manifest is read.
func TestTooManyLayers(t *testing.T) {
	var p packed
	config := p.addJSON(t, ocispec.MediaTypeImageConfig, map[string]string{"os": "linux"})
	layer := p.add(ocispec.MediaTypeImageLayer, []byte("x"))
	layers := make([]ocispec.Descriptor, 20_000)
	for i := range layers {
		layers[i] = layer
	}
	d := p.addJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{Config: config, Layers: layers})
	d.Annotations = map[string]string{ocispec.AnnotationRefName: "a:t"}
	p.images = append(p.images, d)
	if _, err := loadBytes(t, openStore(t), p.bytes(t), LoadOptions{}); err == nil ||
		!strings.Contains(err.Error(), fmt.Sprintf("more than %d", ocijson.MaxLayers)) {
		t.Errorf("20,000 layers: %v", err)
	}
}

// One limit holds for what verify and list accept, load stores and save writes.
func TestNestedIndexes(t *testing.T) {
	for nesting := 1; nesting <= ocijson.MaxNesting+2; nesting++ {
		var p packed
		d := p.image(t, "kolla/app:t", "content", nil)
		for range nesting {
			d = p.addJSON(t, ocispec.MediaTypeImageIndex, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex,
				Manifests: []ocispec.Descriptor{{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}}})
		}
		d.Annotations = map[string]string{ocispec.AnnotationRefName: "kolla/app:t"}
		p.images = []ocispec.Descriptor{d}
		b := p.bytes(t)
		report := must[*Report](t)(Verify(t.Context(), "-", VerifyOptions{Stdin: bytes.NewReader(b)}))
		_, listErr := List(t.Context(), "-", nil, bytes.NewReader(b))
		s := openStore(t)
		loaded, loadErr := loadBytes(t, s, b, LoadOptions{})
		if nesting <= ocijson.MaxNesting {
			if !report.OK || listErr != nil || loadErr != nil {
				t.Errorf("%d indexes: verify %v, list %v, load %v", nesting, report.Problems, listErr, loadErr)
			} else if _, err := Save(t.Context(), s, loaded.Images, filepath.Join(t.TempDir(), "set.tar"), SaveOptions{}); err != nil {
				t.Errorf("%d indexes: save: %v", nesting, err)
			}
			continue
		}
		if report.OK || len(report.Problems) != 1 || !strings.Contains(report.Problems[0].Detail, "nested") ||
			len(report.Problems[0].Images) != 1 {
			t.Errorf("%d indexes: verify finds %+v", nesting, report.Problems)
		}
		for name, err := range map[string]error{"list": listErr, "load": loadErr} {
			if err == nil || !strings.Contains(err.Error(), "nested") {
				t.Errorf("%d indexes: %s: %v", nesting, name, err)
			}
		}
	}
}

// Images that share an index count it each: what is small in the file can take hours.
func TestSharedIndexes(t *testing.T) {
	testenv.Slow(t)
	var p packed
	const manifests, layers, images = 10, 10, 100
	shared := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	for i := range manifests {
		m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest,
			Config: p.addJSON(t, ocispec.MediaTypeImageConfig, map[string]int{"n": i})}
		for j := range layers {
			m.Layers = append(m.Layers, p.add(ocispec.MediaTypeImageLayer, fmt.Appendf(nil, "layer %d of %d", j, i)))
		}
		shared.Manifests = append(shared.Manifests, p.addJSON(t, m.MediaType, m))
	}
	index := p.addJSON(t, shared.MediaType, shared)
	for i := range images {
		top := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{index},
			Annotations: map[string]string{"n": fmt.Sprint(i)}}
		d := p.addJSON(t, top.MediaType, top)
		d.Annotations = map[string]string{ocispec.AnnotationRefName: fmt.Sprintf("localhost:4000/kolla/i%d:t", i)}
		p.images = append(p.images, d)
	}
	raw := p.bytes(t)
	verify := func() *Report {
		return must[*Report](t)(Verify(t.Context(), "-", VerifyOptions{Stdin: bytes.NewReader(raw)}))
	}
	if r := verify(); !r.OK {
		t.Fatalf("within the limit: %v", r.Problems)
	}
	s := openStore(t)
	if _, err := loadBytes(t, s, raw, LoadOptions{}); err != nil {
		t.Fatalf("within the limit: %v", err)
	}

	defer func(n int) { maxVisits = n }(maxVisits)
	maxVisits = images * manifests * layers / 2
	if r := verify(); r.OK || !strings.Contains(r.Problems[0].Detail, "share") {
		t.Errorf("verify: %v", r.Problems)
	}
	if _, err := List(t.Context(), "-", nil, bytes.NewReader(raw)); err == nil || !strings.Contains(err.Error(), "share") {
		t.Errorf("list: %v", err)
	}
	other := openStore(t)
	if _, err := loadBytes(t, other, raw, LoadOptions{}); err == nil || !strings.Contains(err.Error(), "share") {
		t.Errorf("load: %v", err)
	}
	if entries := must[[]store.Entry](t)(other.Entries()); len(entries) > 0 {
		t.Errorf("%d images were named", len(entries))
	}
}

// TestLargeManifestOfDirectory checks that a manifest that is larger than any other is not
// read into memory.
func TestLargeManifestOfDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int64{ocispec.ImageLayoutFile: 0, ocispec.ImageIndexFile: 0, manifestFile: 1 << 40} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if size > 0 {
			if err := os.Truncate(path, size); err != nil {
				t.Fatal(err)
			}
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Inventory(t.Context(), dir, nil); err == nil {
		t.Error("no error")
	}
	runtime.ReadMemStats(&after)
	if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 16 {
		t.Errorf("it took %d MiB", took)
	}
}
