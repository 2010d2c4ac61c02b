package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/store"
)

func verifyBytes(t testing.TB, b []byte, key ed25519.PublicKey) (*Report, error) {
	t.Helper()
	return Verify(t.Context(), "-", VerifyOptions{Stdin: bytes.NewReader(b), VerifyKey: key})
}

// unpackDir unpacks a tar into a new directory.
func unpackDir(t testing.TB, b []byte) string {
	t.Helper()
	dir := t.TempDir()
	for _, i := range unpack(t, b) {
		path := filepath.Join(dir, i.h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if i.h.Typeflag == tar.TypeDir {
			continue
		}
		if err := os.WriteFile(path, []byte(i.c), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestVerify(t *testing.T) {
	s, entries := fill(t)
	public, private := newKey(t)
	for _, comp := range []Compression{None, Gzip, Zstd} {
		out := saveTo(t, s, entries, SaveOptions{Compression: comp, SignKey: private})
		var done, total int64
		r := must[*Report](t)(Verify(t.Context(), out, VerifyOptions{VerifyKey: public, Progress: func(d, n int64) { done, total = d, n }}))
		if !r.OK || !r.Manifest || r.Signed != "verified" || !slices.Equal(r.Images, []string{refA, refB}) ||
			r.Blobs != 7 || len(r.Problems) > 0 {
			t.Errorf("compression %q: %+v", comp, r)
		}
		if done == 0 || done > total {
			t.Errorf("compression %q: progress ended at %d of %d", comp, done, total)
		}
	}
	out := saveTo(t, s, entries, SaveOptions{})
	if r := must[*Report](t)(Verify(t.Context(), out, VerifyOptions{VerifyKey: public})); r.OK || r.Problems[0].Kind != ProblemSignature {
		t.Errorf("not signed: %+v", r)
	}
	// A bundle of an earlier release has no manifest.
	var p packed
	p.image(t, "kolla/a:t", "a", nil)
	if r := must[*Report](t)(verifyBytes(t, p.bytes(t), nil)); !r.OK || r.Manifest || len(r.Images) != 1 {
		t.Errorf("without a manifest: %+v", r)
	}
}

// Verify names each damaged, missing and added file, and the images that it affects.
func TestVerifyNamesDamage(t *testing.T) {
	s, entries := fill(t)
	intact := must[[]byte](t)(os.ReadFile(saveTo(t, s, entries, SaveOptions{})))
	both, a := []string{refA, refB}, []string{refA}
	layersA := must[[]digest.Digest](t)(layerDigests(s, entries[0]))
	base, own := blobName(layersA[0]), blobName(layersA[1])
	change := func(name string, f func(i *item) *item) []byte {
		var out []item
		for _, i := range unpack(t, intact) {
			if i.h.Name == name {
				if c := f(&i); c != nil {
					out = append(out, *c)
				}
				continue
			}
			out = append(out, i)
		}
		return makeTar(t, out...)
	}
	flip := func(i *item) *item {
		b := []byte(i.c)
		b[len(b)/2] ^= 1
		i.c = string(b)
		return i
	}
	remove := func(*item) *item { return nil }
	shorter := func(i *item) *item { i.c = i.c[:len(i.c)-1]; i.h.Size--; return i }
	extra := blobName(digest.FromString("x"))
	for _, c := range []struct {
		name, kind, file string
		images           []string
		b                []byte
	}{
		{"layer of both", ProblemDamaged, base, both, change(base, flip)},
		{"layer of one", ProblemDamaged, own, a, change(own, flip)},
		{"missing layer", ProblemMissing, own, a, change(own, remove)},
		{"short layer", ProblemDamaged, own, a, change(own, shorter)},
		{"manifest of an image", ProblemDamaged, blobName(entries[0].Digest), a, change(blobName(entries[0].Digest), flip)},
		{"missing manifest", ProblemMissing, blobName(entries[0].Digest), a, change(blobName(entries[0].Digest), remove)},
		{"index", ProblemDamaged, "index.json", both, change("index.json", func(i *item) *item {
			i.c = strings.Replace(i.c, "nova-api:2026.1", "nova-api:2026.2", 1)
			return i
		})},
		{"no index", ProblemMissing, "index.json", both, change("index.json", remove)},
		{"layout", ProblemDamaged, "oci-layout", both, change("oci-layout", flip)},
		{"for docker load", ProblemDamaged, "manifest.json", both, change("manifest.json", flip)},
		{"manifest", ProblemDamaged, manifestFile, both, change(manifestFile, flip)},
		{"added blob", ProblemExtra, extra, nil, makeTar(t, append(unpack(t, intact), item{tar.Header{Name: extra}, "x"})...)},
		{"added file", ProblemInvalid, "install.sh", nil, makeTar(t, append(unpack(t, intact), item{tar.Header{Name: "install.sh"}, "x"})...)},
		{"link", ProblemInvalid, extra, nil, makeTar(t, append(unpack(t, intact), item{tar.Header{Name: extra, Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""})...)},
		{"leads out", ProblemInvalid, "blobs/../../x", nil, makeTar(t, append(unpack(t, intact), item{tar.Header{Name: "blobs/../../x"}, "x"})...)},
		{"twice", ProblemInvalid, own, nil, makeTar(t, append(unpack(t, intact), item{tar.Header{Name: own}, "x"})...)},
		{"cut", ProblemDamaged, "", nil, intact[:len(intact)/2]},
	} {
		r, err := verifyBytes(t, c.b, nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		at := slices.IndexFunc(r.Problems, func(p Problem) bool { return p.Kind == c.kind && p.File == c.file })
		if r.OK || at < 0 {
			t.Errorf("%s: %+v", c.name, r.Problems)
			continue
		}
		if c.name == "cut" {
			continue // the missing file depends on the place
		}
		if p := r.Problems[at]; !reflect.DeepEqual(p.Images, c.images) {
			t.Errorf("%s: %v are affected, want %v", c.name, p.Images, c.images)
		}
		if len(r.Problems) > 1 {
			t.Errorf("%s: follow-up problems: %+v", c.name, r.Problems)
		}
	}
}

func layerDigests(s *store.Store, e store.Entry) ([]digest.Digest, error) {
	layers, err := layersOf(s, e)
	var out []digest.Digest
	for _, l := range layers {
		out = append(out, digest.Digest(l.Digest.String()))
	}
	return out, err
}

// Verify notices every flipped bit, except in unused padding.
func TestVerifyFindsEveryBit(t *testing.T) {
	s, entries := fillSize(t, 500)
	intact := must[[]byte](t)(os.ReadFile(saveTo(t, s, entries, SaveOptions{})))
	want := manifestOf(t, intact)
	step := 13
	if testing.Short() {
		step = 131
	}
	for at := 0; at < len(intact); at += step {
		b := bytes.Clone(intact)
		b[at] ^= 1 << (at % 8)
		r, err := verifyBytes(t, b, nil)
		if err != nil || !r.OK {
			continue
		}
		same := map[string]string{}
		for _, i := range unpack(t, b) {
			same[i.h.Name] = i.c
		}
		for _, f := range want.Files {
			if digest.FromString(same[f.Name]) != f.sum() {
				t.Fatalf("bit at %d: %s has changed", at, f.Name)
			}
		}
	}
}

// A directory is read like a tar; other files in it are reported.
func TestDirectory(t *testing.T) {
	s, entries := fill(t)
	public, private := newKey(t)
	dir := unpackDir(t, must[[]byte](t)(os.ReadFile(saveTo(t, s, entries, SaveOptions{SignKey: private}))))
	if r := must[*Report](t)(Verify(t.Context(), dir, VerifyOptions{VerifyKey: public})); !r.OK || len(r.Images) != 2 {
		t.Fatalf("%+v", r)
	}
	to := openStore(t)
	sum := must[Summary](t)(Load(t.Context(), dir, to, LoadOptions{VerifyKey: public}))
	if len(sum.Images) != 2 || !sum.Signed {
		t.Errorf("%+v", sum)
	}
	for _, e := range entries {
		if err := to.Verify(t.Context(), e.Digest); err != nil {
			t.Error(err)
		}
	}
	stale := blobName(digest.FromString("stale"))
	for _, name := range []string{"README", stale} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := must[*Report](t)(Verify(t.Context(), dir, VerifyOptions{}))
	var extra []string
	for _, p := range r.Problems {
		if p.Kind == ProblemExtra {
			extra = append(extra, p.File)
		}
	}
	if want := []string{"README", stale, "pipe"}; r.OK || !slices.Equal(extra, want) {
		t.Errorf("%+v", r.Problems)
	}
	c := must[*Contents](t)(List(t.Context(), dir, nil, nil))
	if len(c.Extra) != 3 || len(c.Images) != 2 {
		t.Errorf("%+v", c)
	}
	must[Summary](t)(Load(t.Context(), dir, openStore(t), LoadOptions{}))

	// Links and pipes in place of files are not followed.
	layer := filepath.Join(dir, blobName(must[[]digest.Digest](t)(layerDigests(s, entries[0]))[0]))
	outside := filepath.Join(t.TempDir(), "layer")
	if err := errors.Join(os.Rename(layer, outside), os.Symlink(outside, layer)); err != nil {
		t.Fatal(err)
	}
	var fe *FormatError
	if _, err := Load(t.Context(), dir, openStore(t), LoadOptions{}); !errors.As(err, &fe) || !strings.Contains(err.Error(), "link") {
		t.Errorf("a link: %v", err)
	}
	for _, name := range []string{layer, filepath.Join(dir, manifestFile)} {
		if err := errors.Join(os.Remove(name), syscall.Mkfifo(name, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(t.Context(), dir, openStore(t), LoadOptions{}); !errors.As(err, &fe) {
			t.Errorf("a pipe in place of %s: %v", name, err)
		}
	}
}

func TestList(t *testing.T) {
	s, entries := fill(t)
	contents := must[*Contents](t)(List(t.Context(), saveTo(t, s, entries, SaveOptions{Tool: "kolla-build 1"}), nil, nil))
	if len(contents.Images) != 2 || contents.Blobs != 7 || contents.Tool != "kolla-build 1" || contents.Signed || contents.Delta != nil {
		t.Errorf("%+v", contents)
	}
	var sizes int64
	for i, image := range contents.Images {
		if e := entries[i]; image.Name != e.Name || image.Digest != e.Digest || image.Size != e.Size || image.Key != e.Key ||
			image.Own >= image.Size || image.Own == 0 {
			t.Errorf("%+v, want %+v", image, e)
		}
		sizes += image.Size
	}
	if contents.Bytes+contents.Shared != sizes || contents.Shared < 20_000 {
		t.Errorf("%d bytes and %d shared, for images of %d", contents.Bytes, contents.Shared, sizes)
	}
	_, _, files := splitSet(t, 50_000, parts.MinSize, 10)
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	if c := must[*Contents](t)(List(t.Context(), files[0], nil, nil)); len(c.Images) != 2 {
		t.Errorf("of parts: %+v", c)
	}
	m := newMonths(t)
	path, sum := m.save(t, m.since(t), true)
	contents = must[*Contents](t)(List(t.Context(), path, nil, nil))
	if contents.Delta == nil || len(contents.Delta.Requires) != sum.Required || contents.Delta.Bytes == 0 {
		t.Errorf("of a delta: %+v", contents)
	}
	// What is in the file, and not what it is made from.
	if contents.Blobs != sum.Blobs || contents.Bytes != sum.Bytes {
		t.Errorf("of a delta: %d blobs, %d bytes; saved were %+v", contents.Blobs, contents.Bytes, sum)
	}
	for i, image := range contents.Images {
		unchanged := strings.Contains(image.Name, "unchanged")
		if e := m.now[i]; image.Name != e.Name || unchanged && image.Own > 0 || !unchanged && image.Size <= contents.Bytes ||
			image.Own > contents.Bytes {
			t.Errorf("%+v, in a delta of %d bytes", image, contents.Bytes)
		}
	}
	if r := must[*Report](t)(Verify(t.Context(), path, VerifyOptions{})); !r.OK || r.Required != sum.Required {
		t.Errorf("of a delta: %+v", r)
	}
}

// An index of many images is read to its last one, and each of its images is looked at a few
// times, however many blobs there are.
func TestListOfLargeIndex(t *testing.T) {
	const n = 900
	var index ocispec.Index
	index.MediaType = ocispec.MediaTypeImageIndex
	var blobs []item
	for i := range n {
		raw := fmt.Appendf(nil, `{"schemaVersion":2,"config":{"digest":"%s","size":1},"layers":[]}`, digest.FromString(fmt.Sprint(i)))
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
		index.Manifests = append(index.Manifests, d)
		blobs = append(blobs, item{tar.Header{Name: blobName(d.Digest)}, string(raw)})
	}
	raw := must[[]byte](t)(json.Marshal(index))
	top := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, index.MediaType,
		digest.FromBytes(raw), len(raw))
	items := append([]item{{tar.Header{Name: "oci-layout"}, layoutFile}, {tar.Header{Name: "index.json"}, top},
		{tar.Header{Name: blobName(digest.FromBytes(raw))}, string(raw)}}, blobs...)
	src := must[*source](t)(openSource(t.Context(), "-", bytes.NewReader(makeTar(t, items...)), nil))
	defer src.close()
	l := newLister(src)
	if err := l.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.check.doc = &Manifest{} // without one, anything may follow
	if !l.complete() || len(l.reached) != n+1 || len(l.graph.documents) != n+1 {
		t.Errorf("%d manifests reached, %d read, complete: %v", len(l.reached), len(l.graph.documents), l.complete())
	}
	if l.graph.visits > 0 {
		t.Errorf("%d visits while reading", l.graph.visits)
	}
}

// FuzzVerify checks that a bundle that Verify accepts can be loaded.
func FuzzVerify(f *testing.F) {
	s, entries := fillSize(f, 50)
	var b bytes.Buffer
	if _, err := Save(f.Context(), s, entries, "-", SaveOptions{Stdout: &b}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:5000])
	f.Add(makeTar(f, item{tar.Header{Name: "oci-layout"}, layoutFile}))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0})
	to := openStore(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := List(t.Context(), "-", nil, bytes.NewReader(b)); err != nil {
			_ = err // whatever it is
		}
		r, err := verifyBytes(t, b, nil)
		if err != nil || !r.OK || r.Required > 0 || len(r.Images) == 0 {
			return
		}
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
		for _, name := range r.Images {
			if name == "" || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c > '~' }) {
				return // load refuses the name
			}
		}
		if _, err := Load(t.Context(), "-", to, LoadOptions{Stdin: bytes.NewReader(b), Replace: true}); err != nil {
			var fe *FormatError
			if !errors.As(err, &fe) || fe.Detail != "image name" {
				t.Errorf("verified, but not loaded: %v", err)
			}
		}
	})
}

// A problem with a name quotes the name once.
func TestVerifyQuotesNamesOnce(t *testing.T) {
	var p packed
	p.image(t, "../../x:1", "a", nil)
	r := must[*Report](t)(verifyBytes(t, p.bytes(t), nil))
	if len(r.Problems) != 1 || !strings.HasPrefix(r.Problems[0].Detail, `image reference "../../x:1": `) {
		t.Errorf("problems: %+v", r.Problems)
	}
}

// An archive of docker save and an index without images are not valid bundles.
func TestVerifyRefusesWhatLoadReadsAsSomethingElse(t *testing.T) {
	var p packed
	p.image(t, "kolla/a:t", "a", nil)
	sound := unpack(t, p.bytes(t))
	docker := append([]item{{tar.Header{Name: strings.Repeat("0", 64) + "/layer.tar"}, "x"}}, sound...)
	if r, err := verifyBytes(t, makeTar(t, docker...), nil); err == nil || !strings.Contains(err.Error(), "another tool") {
		t.Errorf("a layer of docker save: %+v, %v", r, err)
	}
	if _, err := List(t.Context(), "-", nil, bytes.NewReader(makeTar(t, docker...))); err == nil ||
		!strings.Contains(err.Error(), "another tool") {
		t.Errorf("list: %v", err)
	}
	empty := []item{{tar.Header{Name: "oci-layout"}, layoutFile}, {tar.Header{Name: "index.json"}, `{"schemaVersion":2,"manifests":[]}`}}
	if r := must[*Report](t)(verifyBytes(t, makeTar(t, empty...), nil)); r.OK {
		t.Errorf("an empty index: %+v", r)
	}
}

// The names of affected images are bounded, and each manifest is walked once, however many
// names an index has for it.
func TestVerifyOfManyNamesIsBounded(t *testing.T) {
	testenv.Slow(t)
	var p packed
	d := p.image(t, "kolla/a:0", "a", nil)
	for i := range 20_000 {
		d.Annotations = map[string]string{ocispec.AnnotationRefName: fmt.Sprintf("kolla/a:%d", i+1)}
		p.images = append(p.images, d)
	}
	for digest, b := range p.blobs {
		if string(b) == "a" {
			delete(p.blobs, digest)
		}
	}
	r := must[*Report](t)(verifyBytes(t, p.bytes(t), nil))
	if r.OK || len(r.Problems) != 1 || len(r.Problems[0].Images) != 20_001 {
		t.Errorf("%d problems, %d images", len(r.Problems), len(r.Problems[0].Images))
	}
}

// TestVerifyAndLoadAgree checks that verify rejects what load rejects: invalid and
// duplicate names, and invalid manifests.
func TestVerifyAndLoadAgree(t *testing.T) {
	layers := strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"digest":%q,"size":1},`, digest.FromString("x")), 1001), ",")
	for name, change := range map[string]func(p *packed){
		"name":        func(p *packed) { p.image(t, "/tmp/x", "a", nil) },
		"digest":      func(p *packed) { p.image(t, "kolla/a@sha256:abc", "a", nil) },
		"same name":   func(p *packed) { p.image(t, "kolla/a:t", "a", nil); p.image(t, "docker.io/kolla/a:t", "b", nil) },
		"no manifest": func(p *packed) { p.images = append(p.images, p.add(ocispec.MediaTypeImageManifest, []byte(`{"x":1}`))) },
		"many layers": func(p *packed) {
			p.images = append(p.images, p.add(ocispec.MediaTypeImageManifest, []byte(`{"layers":[`+layers+`]}`)))
		},
		"large config": func(p *packed) {
			config := p.add(ocispec.MediaTypeImageConfig,
				[]byte(`{"rootfs":{"type":"layers","diff_ids":[]},"author":"`+strings.Repeat("x", maxManifest)+`"}`))
			p.images = append(p.images, p.add(ocispec.MediaTypeImageManifest,
				[]byte(fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":%q,"size":%d},"layers":[]}`, config.Digest, config.Size))))
		},
		"not readable": func(p *packed) { p.images = append(p.images, p.add(ocispec.MediaTypeImageManifest, []byte("x"))) },
	} {
		var p packed
		p.image(t, "kolla/other:t", "other", nil)
		change(&p)
		b := p.bytes(t)
		if _, err := Load(t.Context(), "-", emptyStore(t), LoadOptions{Stdin: bytes.NewReader(b)}); err == nil {
			t.Errorf("%s: load accepts it", name)
		}
		if r, err := verifyBytes(t, b, nil); err == nil && r.OK {
			t.Errorf("%s: verify accepts it", name)
		}
	}
}

// TestDeltaIndexAfterBlobs checks that delta.json is accepted before blobs only, by load and
// by verify.
func TestDeltaIndexAfterBlobs(t *testing.T) {
	var p packed
	p.image(t, "kolla/a:t", "a", nil)
	items := p.items(t)
	index := item{tar.Header{Name: deltaIndex}, `{"version":1,"requires":[]}`}
	const documents = 2 // oci-layout and index.json
	for _, c := range []struct {
		at int
		ok bool
	}{{documents, true}, {documents + 1, false}, {len(items), false}} {
		b := makeTar(t, slices.Insert(slices.Clone(items), c.at, index)...)
		if _, err := loadBytes(t, emptyStore(t), b, LoadOptions{}); (err == nil) != c.ok {
			t.Errorf("at position %d: load: %v", c.at, err)
		}
		if r, err := verifyBytes(t, b, nil); (err == nil && r.OK) != c.ok {
			t.Errorf("at position %d: verify: %+v, %v", c.at, r, err)
		}
	}
}
