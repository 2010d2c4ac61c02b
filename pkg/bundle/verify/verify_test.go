package verify

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

	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/contents"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
)

func verifyBytes(t testing.TB, b []byte, key ed25519.PublicKey) (*Report, error) {
	t.Helper()
	return Bundle(t.Context(), "-", Options{Stdin: bytes.NewReader(b), VerifyKey: key})
}

// unpackDir unpacks a tar into a new directory.
func unpackDir(t testing.TB, b []byte) string {
	t.Helper()
	dir := t.TempDir()
	for _, i := range bundletest.Unpack(t, b) {
		path := filepath.Join(dir, i.H.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if i.H.Typeflag == tar.TypeDir {
			continue
		}
		if err := os.WriteFile(path, []byte(i.C), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestVerify(t *testing.T) {
	s, entries := storetest.Fill(t)
	public, private := bundletest.NewKey(t)
	for _, comp := range []save.Compression{save.None, save.Gzip, save.Zstd} {
		out := bundletest.Save(t, s, entries, save.Options{Compression: comp, SignKey: private})
		var done, total int64
		r := testenv.Must[*Report](t)(Bundle(t.Context(), out,
			Options{VerifyKey: public, Progress: func(d, n int64) { done, total = d, n }}))
		if !r.OK || !r.Manifest || r.Signed != "verified" ||
			!slices.Equal(r.Images, []string{storetest.RefA, storetest.RefB}) ||
			r.Blobs != 7 || len(r.Problems) > 0 {
			t.Errorf("compression %q: %+v", comp, r)
		}
		if done == 0 || done > total {
			t.Errorf("compression %q: progress ended at %d of %d", comp, done, total)
		}
	}
	out := bundletest.Save(t, s, entries, save.Options{})
	if r := testenv.Must[*Report](t)(Bundle(t.Context(), out, Options{VerifyKey: public})); r.OK ||
		r.Problems[0].Kind != ProblemSignature {
		t.Errorf("not signed: %+v", r)
	}
	// A bundle of an earlier release has no manifest.
	var p bundletest.Packed
	p.Image(t, "kolla/a:t", "a", nil)
	if r := testenv.Must[*Report](t)(verifyBytes(t, p.Bytes(t), nil)); !r.OK || r.Manifest || len(r.Images) != 1 {
		t.Errorf("without a manifest: %+v", r)
	}
}

// A report names each damaged, missing and added file, and the images that it affects.
func TestVerifyNamesDamage(t *testing.T) {
	s, entries := storetest.Fill(t)
	intact := testenv.Must[[]byte](t)(os.ReadFile(bundletest.Save(t, s, entries, save.Options{})))
	both, a := []string{storetest.RefA, storetest.RefB}, []string{storetest.RefA}
	layersA := testenv.Must[[]digest.Digest](t)(storetest.LayerDigests(s, entries[0]))
	base, own := bundle.BlobPath(layersA[0]), bundle.BlobPath(layersA[1])
	change := func(name string, f func(i *bundletest.Item) *bundletest.Item) []byte {
		var out []bundletest.Item
		for _, i := range bundletest.Unpack(t, intact) {
			if i.H.Name == name {
				if c := f(&i); c != nil {
					out = append(out, *c)
				}
				continue
			}
			out = append(out, i)
		}
		return bundletest.Tar(t, out...)
	}
	flip := func(i *bundletest.Item) *bundletest.Item {
		b := []byte(i.C)
		b[len(b)/2] ^= 1
		i.C = string(b)
		return i
	}
	remove := func(*bundletest.Item) *bundletest.Item { return nil }
	shorter := func(i *bundletest.Item) *bundletest.Item { i.C = i.C[:len(i.C)-1]; i.H.Size--; return i }
	extra := bundle.BlobPath(digest.FromString("x"))
	for _, c := range []struct {
		name, kind, file string
		images           []string
		b                []byte
	}{
		{"layer of both", ProblemDamaged, base, both, change(base, flip)},
		{"layer of one", ProblemDamaged, own, a, change(own, flip)},
		{"missing layer", ProblemMissing, own, a, change(own, remove)},
		{"short layer", ProblemDamaged, own, a, change(own, shorter)},
		{"manifest of an image", ProblemDamaged, bundle.BlobPath(entries[0].Digest), a,
			change(bundle.BlobPath(entries[0].Digest), flip)},
		{"missing manifest", ProblemMissing, bundle.BlobPath(entries[0].Digest), a,
			change(bundle.BlobPath(entries[0].Digest), remove)},
		{"index", ProblemDamaged, "index.json", both, change("index.json", func(i *bundletest.Item) *bundletest.Item {
			i.C = strings.Replace(i.C, "nova-api:2026.1", "nova-api:2026.2", 1)
			return i
		})},
		{"no index", ProblemMissing, "index.json", both, change("index.json", remove)},
		{"layout", ProblemDamaged, "oci-layout", both, change("oci-layout", flip)},
		{"for docker load", ProblemDamaged, "manifest.json", both, change("manifest.json", flip)},
		{"manifest", ProblemDamaged, bundle.ManifestName, both, change(bundle.ManifestName, flip)},
		{"added blob", ProblemExtra, extra, nil, bundletest.Tar(t,
			append(bundletest.Unpack(t, intact), bundletest.File(extra, "x"))...)},
		{"added file", ProblemInvalid, "install.sh", nil, bundletest.Tar(t,
			append(bundletest.Unpack(t, intact), bundletest.File("install.sh", "x"))...)},
		{"link", ProblemInvalid, extra, nil, bundletest.Tar(t,
			append(bundletest.Unpack(t, intact), bundletest.Item{H: tar.Header{Name: extra, Typeflag: tar.TypeSymlink,
				Linkname: "/etc/passwd"}, C: ""})...)},
		{"leads out", ProblemInvalid, "blobs/../../x", nil,
			bundletest.Tar(t, append(bundletest.Unpack(t, intact), bundletest.File("blobs/../../x", "x"))...)},
		{"twice", ProblemInvalid, own, nil, bundletest.Tar(t,
			append(bundletest.Unpack(t, intact), bundletest.File(own, "x"))...)},
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

// Every flipped bit, except in unused padding.
func TestVerifyFindsEveryBit(t *testing.T) {
	s, entries := storetest.FillSize(t, 500)
	intact := testenv.Must[[]byte](t)(os.ReadFile(bundletest.Save(t, s, entries, save.Options{})))
	want := bundletest.ManifestOf(t, intact)
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
		for _, i := range bundletest.Unpack(t, b) {
			same[i.H.Name] = i.C
		}
		for _, f := range want.Files {
			if digest.FromString(same[f.Name]) != f.Sum() {
				t.Fatalf("bit at %d: %s has changed", at, f.Name)
			}
		}
	}
}

// A directory is read like a tar; other files in it are reported.
func TestDirectory(t *testing.T) {
	s, entries := storetest.Fill(t)
	public, private := bundletest.NewKey(t)
	dir := unpackDir(t, testenv.Must[[]byte](t)(os.ReadFile(bundletest.Save(t, s, entries,
		save.Options{SignKey: private}))))
	if r := testenv.Must[*Report](t)(Bundle(t.Context(), dir, Options{VerifyKey: public})); !r.OK || len(r.Images) != 2 {
		t.Fatalf("%+v", r)
	}
	to := storetest.Open(t)
	sum := testenv.Must[load.Summary](t)(load.Bundle(t.Context(), dir, to, load.Options{VerifyKey: public}))
	if len(sum.Images) != 2 || !sum.Signed {
		t.Errorf("%+v", sum)
	}
	for _, e := range entries {
		if err := to.Verify(t.Context(), e.Digest); err != nil {
			t.Error(err)
		}
	}
	stale := bundle.BlobPath(digest.FromString("stale"))
	for _, name := range []string{"README", stale} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := testenv.Must[*Report](t)(Bundle(t.Context(), dir, Options{}))
	var extra []string
	for _, p := range r.Problems {
		if p.Kind == ProblemExtra {
			extra = append(extra, p.File)
		}
	}
	if want := []string{"README", stale, "pipe"}; r.OK || !slices.Equal(extra, want) {
		t.Errorf("%+v", r.Problems)
	}
	c := testenv.Must[*contents.Listing](t)(contents.List(t.Context(), dir, nil, nil))
	if len(c.Extra) != 3 || len(c.Images) != 2 {
		t.Errorf("%+v", c)
	}
	testenv.Must[load.Summary](t)(load.Bundle(t.Context(), dir, storetest.Open(t), load.Options{}))

	// Links and pipes in place of files are not followed.
	layer := filepath.Join(dir, bundle.BlobPath(testenv.Must[[]digest.Digest](t)(storetest.LayerDigests(s,
		entries[0]))[0]))
	outside := filepath.Join(t.TempDir(), "layer")
	if err := errors.Join(os.Rename(layer, outside), os.Symlink(outside, layer)); err != nil {
		t.Fatal(err)
	}
	var fe *bundle.FormatError
	if _, err := load.Bundle(t.Context(), dir, storetest.Open(t), load.Options{}); !errors.As(err, &fe) ||
		!strings.Contains(err.Error(), "link") {
		t.Errorf("a link: %v", err)
	}
	for _, name := range []string{layer, filepath.Join(dir, bundle.ManifestName)} {
		if err := errors.Join(os.Remove(name), syscall.Mkfifo(name, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := load.Bundle(t.Context(), dir, storetest.Open(t), load.Options{}); !errors.As(err, &fe) {
			t.Errorf("a pipe in place of %s: %v", name, err)
		}
	}
}

// FuzzVerify checks that a bundle that verify accepts can be loaded.
func FuzzVerify(f *testing.F) {
	s, entries := storetest.FillSize(f, 50)
	var b bytes.Buffer
	if _, err := save.Bundle(f.Context(), s, entries, "-", save.Options{Stdout: &b}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:5000])
	f.Add(bundletest.Tar(f, bundletest.File("oci-layout", bundletest.Layout)))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0})
	to := storetest.Open(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := contents.List(t.Context(), "-", nil, bytes.NewReader(b)); err != nil {
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
		if _, err := load.Bundle(t.Context(), "-", to, load.Options{Stdin: bytes.NewReader(b), Replace: true}); err != nil {
			var fe *bundle.FormatError
			if !errors.As(err, &fe) || fe.Detail != "image name" {
				t.Errorf("verified, but not loaded: %v", err)
			}
		}
	})
}

// A problem with a name quotes the name once.
func TestVerifyQuotesNamesOnce(t *testing.T) {
	var p bundletest.Packed
	p.Image(t, "../../x:1", "a", nil)
	r := testenv.Must[*Report](t)(verifyBytes(t, p.Bytes(t), nil))
	if len(r.Problems) != 1 || !strings.HasPrefix(r.Problems[0].Detail, `image reference "../../x:1": `) {
		t.Errorf("problems: %+v", r.Problems)
	}
}

// An archive of docker save and an index without images are not valid bundles.
func TestVerifyRefusesWhatLoadReadsAsSomethingElse(t *testing.T) {
	var p bundletest.Packed
	p.Image(t, "kolla/a:t", "a", nil)
	sound := bundletest.Unpack(t, p.Bytes(t))
	docker := append([]bundletest.Item{bundletest.File(strings.Repeat("0", 64)+"/layer.tar", "x")}, sound...)
	if r, err := verifyBytes(t, bundletest.Tar(t, docker...), nil); err == nil ||
		!strings.Contains(err.Error(), "another tool") {
		t.Errorf("a layer of docker save: %+v, %v", r, err)
	}
	if _, err := contents.List(t.Context(), "-", nil, bytes.NewReader(bundletest.Tar(t, docker...))); err == nil ||
		!strings.Contains(err.Error(), "another tool") {
		t.Errorf("list: %v", err)
	}
	empty := []bundletest.Item{bundletest.File("oci-layout", bundletest.Layout),
		bundletest.File("index.json", `{"schemaVersion":2,"manifests":[]}`)}
	if r := testenv.Must[*Report](t)(verifyBytes(t, bundletest.Tar(t, empty...), nil)); r.OK {
		t.Errorf("an empty index: %+v", r)
	}
}

// The names of affected images are bounded, and each manifest is walked once, however many
// names an index has for it.
func TestVerifyOfManyNamesIsBounded(t *testing.T) {
	testenv.Slow(t)
	var p bundletest.Packed
	d := p.Image(t, "kolla/a:0", "a", nil)
	for i := range 20_000 {
		d.Annotations = map[string]string{ocispec.AnnotationRefName: fmt.Sprintf("kolla/a:%d", i+1)}
		p.Images = append(p.Images, d)
	}
	for digest, b := range p.Blobs {
		if string(b) == "a" {
			delete(p.Blobs, digest)
		}
	}
	r := testenv.Must[*Report](t)(verifyBytes(t, p.Bytes(t), nil))
	if r.OK || len(r.Problems) != 1 || len(r.Problems[0].Images) != 20_001 {
		t.Errorf("%d problems, %d images", len(r.Problems), len(r.Problems[0].Images))
	}
}

// TestVerifyAndLoadAgree checks that verify rejects what load rejects: invalid and
// duplicate names, and invalid manifests.
func TestVerifyAndLoadAgree(t *testing.T) {
	layers := strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"digest":%q,"size":1},`, digest.FromString("x")), 1001), ",")
	for name, change := range map[string]func(p *bundletest.Packed){
		"name":   func(p *bundletest.Packed) { p.Image(t, "/tmp/x", "a", nil) },
		"digest": func(p *bundletest.Packed) { p.Image(t, "kolla/a@sha256:abc", "a", nil) },
		"same name": func(p *bundletest.Packed) {
			p.Image(t, "kolla/a:t", "a", nil)
			p.Image(t, "docker.io/kolla/a:t", "b", nil)
		},
		"no manifest": func(p *bundletest.Packed) {
			p.Images = append(p.Images, p.Add(ocispec.MediaTypeImageManifest, []byte(`{"x":1}`)))
		},
		"many layers": func(p *bundletest.Packed) {
			p.Images = append(p.Images, p.Add(ocispec.MediaTypeImageManifest, []byte(`{"layers":[`+layers+`]}`)))
		},
		"large config": func(p *bundletest.Packed) {
			config := p.Add(ocispec.MediaTypeImageConfig,
				[]byte(`{"rootfs":{"type":"layers","diff_ids":[]},"author":"`+strings.Repeat("x", bundle.MaxImageManifest)+`"}`))
			p.Images = append(p.Images, p.Add(ocispec.MediaTypeImageManifest,
				[]byte(fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":%q,"size":%d},"layers":[]}`, config.Digest,
					config.Size))))
		},
		"not readable": func(p *bundletest.Packed) {
			p.Images = append(p.Images, p.Add(ocispec.MediaTypeImageManifest, []byte("x")))
		},
	} {
		var p bundletest.Packed
		p.Image(t, "kolla/other:t", "other", nil)
		change(&p)
		b := p.Bytes(t)
		if _, err := load.Bundle(t.Context(), "-", storetest.Open(t), load.Options{Stdin: bytes.NewReader(b)}); err == nil {
			t.Errorf("%s: load accepts it", name)
		}
		if r, err := verifyBytes(t, b, nil); err == nil && r.OK {
			t.Errorf("%s: verify accepts it", name)
		}
	}
}

// TestDeltaListAfterBlobs checks that delta.json is accepted before blobs only, by load and
// by verify.
func TestDeltaListAfterBlobs(t *testing.T) {
	var p bundletest.Packed
	p.Image(t, "kolla/a:t", "a", nil)
	items := p.Items(t)
	index := bundletest.File(bundle.DeltaListName, `{"version":1,"requires":[]}`)
	const documents = 2 // oci-layout and index.json
	for _, c := range []struct {
		at int
		ok bool
	}{{documents, true}, {documents + 1, false}, {len(items), false}} {
		b := bundletest.Tar(t, slices.Insert(slices.Clone(items), c.at, index)...)
		if _, err := load.Bundle(t.Context(), "-", storetest.Open(t),
			load.Options{Stdin: bytes.NewReader(b)}); (err == nil) != c.ok {
			t.Errorf("at position %d: load: %v", c.at, err)
		}
		if r, err := verifyBytes(t, b, nil); (err == nil && r.OK) != c.ok {
			t.Errorf("at position %d: verify: %+v, %v", c.at, r, err)
		}
	}
}

// TestVerifyOfOtherFiles checks that a tar or a directory without any file of a bundle is an error, with the
// reason, not a list of its files.
func TestVerifyOfOtherFiles(t *testing.T) {
	files := bundletest.Tar(t, bundletest.File("etc/passwd", "root"), bundletest.File("bin/sh", "#!"))
	link := bundletest.Item{H: tar.Header{Name: "index.json", Typeflag: tar.TypeSymlink, Linkname: "x"}}
	for _, c := range []struct {
		name, want string
		content    []byte
	}{
		{"other files", "does not belong in a bundle", files}, {"a link", "it is a link", bundletest.Tar(t, link)},
		{"no files", "contains no index.json", make([]byte, 1024)},
	} {
		if r, err := verifyBytes(t, c.content, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a tar with %s: %+v, %v", c.name, r, err)
		}
	}
	for name, dir := range map[string]string{"other files": unpackDir(t, files), "no files": t.TempDir()} {
		r, err := Bundle(t.Context(), dir, Options{})
		if err == nil || !strings.Contains(err.Error(), "contains no index.json") {
			t.Errorf("a directory with %s: %+v, %v", name, r, err)
		}
	}
}
