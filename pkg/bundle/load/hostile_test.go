package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/contents"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
	"github.com/kolla-build/kolla-build/pkg/store"
)

func loadBytes(t testing.TB, s *store.Store, b []byte, opts Options) (Summary, error) {
	t.Helper()
	opts.Stdin = bytes.NewReader(b)
	return Bundle(t.Context(), "-", s, opts)
}

// Keys, kinds and origins in a bundle count only for a bundle that is trusted.
func TestClaimsOfBundle(t *testing.T) {
	claims := map[string]string{"io.kolla-build.key": "key-of-leaf", "io.kolla-build.kind": "base",
		"io.kolla-build.origin": "registry"}
	var p bundletest.Packed
	p.Image(t, "site.example/unrelated/tool:1", "evil", claims)
	b := p.Bytes(t)
	s := storetest.Open(t)
	sum := testenv.Must[Summary](t)(loadBytes(t, s, b, Options{}))
	if e := sum.Images[0]; e.Key != "" || e.Kind != store.KindLoaded || e.Origin != "" {
		t.Errorf("not trusted: %+v", e)
	}
	if _, ok, _ := s.ByKey("key-of-leaf"); ok {
		t.Error("the key of a bundle that is not trusted was stored")
	}
	sum = testenv.Must[Summary](t)(loadBytes(t, s, b, Options{Trust: true}))
	if e := sum.Images[0]; e.Key != "key-of-leaf" || e.Kind != store.KindBase || e.Origin != "registry" {
		t.Errorf("trusted: %+v", e)
	}
	// An image without a name has nothing but its key.
	p.Images[0].Annotations[ocispec.AnnotationRefName] = ""
	if _, err := loadBytes(t, storetest.Open(t), p.Bytes(t), Options{}); err == nil ||
		!strings.Contains(err.Error(), "has a name") {
		t.Errorf("an image without a name: %v", err)
	}
}

// A name that the store has is not moved to another image unless asked for, in any
// spelling, and before content is read, unless the image may be the same in another form.
func TestNamesAreNotReplaced(t *testing.T) {
	s := storetest.Open(t)
	var own bundletest.Packed
	ours := own.Image(t, "debian:trixie", "ours", map[string]string{"io.kolla-build.kind": "base"})
	testenv.Must[Summary](t)(loadBytes(t, s, own.Bytes(t), Options{Trust: true}))
	for _, name := range []string{"debian:trixie", "docker.io/library/debian:trixie"} {
		var p bundletest.Packed
		p.Image(t, name, "theirs", nil)
		p.Image(t, "other:t", "other", nil)
		_, err := loadBytes(t, s, p.Bytes(t), Options{})
		var taken *store.NamesTakenError
		if !errors.As(err, &taken) || len(taken.Names) != 1 || !strings.Contains(usererr.Hint(err), "--replace") {
			t.Errorf("%s: %v, hint %q", name, err, usererr.Hint(err))
		}
		for d := range p.Blobs {
			if own.Blobs[d] == nil && s.HasBlob(d, -1) {
				t.Errorf("%s: content was read", name)
			}
		}
		if entries, _ := s.Entries(); len(entries) != 1 || entries[0].Digest != ours.Digest {
			t.Errorf("%s: entries %+v", name, entries)
		}
	}
	// The same image again is not a replacement.
	testenv.Must[Summary](t)(loadBytes(t, s, own.Bytes(t), Options{}))
	var p bundletest.Packed
	theirs := p.Image(t, "debian:trixie", "theirs", nil)
	sum := testenv.Must[Summary](t)(loadBytes(t, s, p.Bytes(t), Options{Replace: true}))
	if sum.Images[0].Digest != theirs.Digest {
		t.Errorf("replaced: %+v", sum.Images[0])
	}
}

func TestHostileNames(t *testing.T) {
	for _, name := range []string{"kolla/../../base:t", "../base:t", "ba\u202ese:t", "a\x1b[2J:t", "Upper/Case:t", "a b:t",
		"kolla/base@sha256:" + strings.Repeat("a", 64), "kolla//base:t", "localhost:99999/x:t",
		strings.Repeat("a/", 200) + "b"} {
		var p bundletest.Packed
		p.Image(t, name, "x", nil)
		s := storetest.Open(t)
		_, err := loadBytes(t, s, p.Bytes(t), Options{Trust: true})
		var fe *bundle.FormatError
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
	var p bundletest.Packed
	victim := p.Image(t, "", "victim", nil)
	victim.Annotations, p.Images = nil, nil
	config := p.AddJSON(t, ocispec.MediaTypeImageConfig, map[string]string{"os": "linux", "architecture": "arm64"})
	layer := victim
	layer.MediaType = ocispec.MediaTypeImageLayer
	evil := p.AddJSON(t, ocispec.MediaTypeImageManifest,
		ocispec.Manifest{Config: config, Layers: []ocispec.Descriptor{layer}})
	index := p.AddJSON(t, ocispec.MediaTypeImageIndex,
		ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{evil, victim}})
	index.Annotations = map[string]string{ocispec.AnnotationRefName: "a:t"}
	p.Images = []ocispec.Descriptor{index}
	s := storetest.Open(t)
	testenv.Must[Summary](t)(loadBytes(t, s, p.Bytes(t), Options{}))
	var saved bytes.Buffer
	testenv.Must[save.Summary](t)(save.Bundle(t.Context(), s, testenv.Must[[]store.Entry](t)(s.Entries()), "-",
		save.Options{Stdout: &saved}))
	to := storetest.Open(t)
	sum := testenv.Must[Summary](t)(loadBytes(t, to, saved.Bytes(), Options{}))
	if sum.Blobs != len(p.Blobs) {
		t.Errorf("%d blobs, want %d", sum.Blobs, len(p.Blobs))
	}
	if err := to.Verify(t.Context(), index.Digest); err != nil {
		t.Error(err)
	}
}

// Loading repairs blobs that are damaged in the store, of any role.
func TestLoadRepairs(t *testing.T) {
	s, entries := storetest.Fill(t)
	out := bundletest.Save(t, s, entries, save.Options{})
	to := storetest.Open(t)
	testenv.Must[Summary](t)(Bundle(t.Context(), out, to, Options{}))
	blobs := testenv.Must[[]ocispec.Descriptor](t)(to.Blobs(t.Context(), entries[0].Digest))
	for i, b := range blobs {
		storetest.Damage(t, to, b.Digest)
		sum, err := Bundle(t.Context(), out, to, Options{})
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
			_, err := Bundle(ctx, pipe, storetest.Open(t), Options{})
			return err
		},
		"standard input": func(ctx context.Context) error {
			_, err := Bundle(ctx, "-", storetest.Open(t), Options{Stdin: stdin})
			return err
		},
		"device": func(ctx context.Context) error {
			_, err := Bundle(ctx, "/dev/zero", storetest.Open(t), Options{})
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
	var p bundletest.Packed
	config := p.AddJSON(t, ocispec.MediaTypeImageConfig, map[string]string{"os": "linux"})
	layer := p.Add(ocispec.MediaTypeImageLayer, []byte("x"))
	layers := make([]ocispec.Descriptor, 20_000)
	for i := range layers {
		layers[i] = layer
	}
	d := p.AddJSON(t, ocispec.MediaTypeImageManifest, ocispec.Manifest{Config: config, Layers: layers})
	d.Annotations = map[string]string{ocispec.AnnotationRefName: "a:t"}
	p.Images = append(p.Images, d)
	if _, err := loadBytes(t, storetest.Open(t), p.Bytes(t), Options{}); err == nil ||
		!strings.Contains(err.Error(), fmt.Sprintf("more than %d", ocijson.MaxLayers)) {
		t.Errorf("20,000 layers: %v", err)
	}
}

// One limit holds for what verify and list accept, load stores and save writes.
func TestNestedIndexes(t *testing.T) {
	for nesting := 1; nesting <= ocijson.MaxNesting+2; nesting++ {
		var p bundletest.Packed
		d := p.Image(t, "kolla/app:t", "content", nil)
		for range nesting {
			d = p.AddJSON(t, ocispec.MediaTypeImageIndex, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex,
				Manifests: []ocispec.Descriptor{{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}}})
		}
		d.Annotations = map[string]string{ocispec.AnnotationRefName: "kolla/app:t"}
		p.Images = []ocispec.Descriptor{d}
		b := p.Bytes(t)
		report := testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), "-", verify.Options{Stdin: bytes.NewReader(b)}))
		_, listErr := contents.List(t.Context(), "-", nil, bytes.NewReader(b))
		s := storetest.Open(t)
		loaded, loadErr := loadBytes(t, s, b, Options{})
		if nesting <= ocijson.MaxNesting {
			if !report.OK || listErr != nil || loadErr != nil {
				t.Errorf("%d indexes: verify %v, list %v, load %v", nesting, report.Problems, listErr, loadErr)
			} else if _, err := save.Bundle(t.Context(), s, loaded.Images, filepath.Join(t.TempDir(),
				"set.tar"), save.Options{}); err != nil {
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
	var p bundletest.Packed
	const manifests, layers, images = 10, 10, 100
	shared := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	for i := range manifests {
		m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest,
			Config: p.AddJSON(t, ocispec.MediaTypeImageConfig, map[string]int{"n": i})}
		for j := range layers {
			m.Layers = append(m.Layers, p.Add(ocispec.MediaTypeImageLayer, fmt.Appendf(nil, "layer %d of %d", j, i)))
		}
		shared.Manifests = append(shared.Manifests, p.AddJSON(t, m.MediaType, m))
	}
	index := p.AddJSON(t, shared.MediaType, shared)
	for i := range images {
		top := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{index},
			Annotations: map[string]string{"n": fmt.Sprint(i)}}
		d := p.AddJSON(t, top.MediaType, top)
		d.Annotations = map[string]string{ocispec.AnnotationRefName: fmt.Sprintf("localhost:4000/kolla/i%d:t", i)}
		p.Images = append(p.Images, d)
	}
	raw := p.Bytes(t)
	verifyAll := func() *verify.Report {
		return testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), "-", verify.Options{Stdin: bytes.NewReader(raw)}))
	}
	if r := verifyAll(); !r.OK {
		t.Fatalf("within the limit: %v", r.Problems)
	}
	s := storetest.Open(t)
	if _, err := loadBytes(t, s, raw, Options{}); err != nil {
		t.Fatalf("within the limit: %v", err)
	}

	defer func(n int) { bundle.MaxVisits = n }(bundle.MaxVisits)
	bundle.MaxVisits = images * manifests * layers / 2
	if r := verifyAll(); r.OK || !strings.Contains(r.Problems[0].Detail, "share") {
		t.Errorf("verify: %v", r.Problems)
	}
	if _, err := contents.List(t.Context(), "-", nil, bytes.NewReader(raw)); err == nil ||
		!strings.Contains(err.Error(), "share") {
		t.Errorf("list: %v", err)
	}
	other := storetest.Open(t)
	if _, err := loadBytes(t, other, raw, Options{}); err == nil || !strings.Contains(err.Error(), "share") {
		t.Errorf("load: %v", err)
	}
	if entries := testenv.Must[[]store.Entry](t)(other.Entries()); len(entries) > 0 {
		t.Errorf("%d images were named", len(entries))
	}
}

// TestLargeManifestOfDirectory checks that a manifest that is larger than any other is not
// read into memory.
func TestLargeManifestOfDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int64{ocispec.ImageLayoutFile: 0, ocispec.ImageIndexFile: 0,
		bundle.ManifestName: 1 << 40} {
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
	if _, err := contents.Inventory(t.Context(), dir, nil); err == nil {
		t.Error("no error")
	}
	runtime.ReadMemStats(&after)
	if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 16 {
		t.Errorf("it took %d MiB", took)
	}
}
