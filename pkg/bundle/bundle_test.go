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
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/store"
)

func openStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

const (
	refA = "localhost:4000/kolla/nova-api:2026.1"
	refB = "localhost:4000/kolla/nova-compute:2026.1"
)

// fill returns a new store with two images that share a base layer.
func fill(t testing.TB) (*store.Store, []store.Entry) {
	t.Helper()
	return fillSize(t, 10_000)
}

func fillSize(t testing.TB, size int64) (*store.Store, []store.Entry) {
	t.Helper()
	s := openStore(t)
	base := must[v1.Image](t)(random.Image(2*size, 1))
	base = mutate.ConfigMediaType(mutate.MediaType(base, types.OCIManifestSchema1), types.OCIConfigJSON)
	cf := must[*v1.ConfigFile](t)(base.ConfigFile()).DeepCopy()
	cf.OS, cf.Architecture = "linux", "amd64"
	base = must[v1.Image](t)(mutate.ConfigFile(base, cf))
	for _, ref := range []string{refB, refA} {
		img := must[v1.Image](t)(mutate.AppendLayers(base, must[v1.Layer](t)(random.Layer(size, types.OCILayer))))
		d := must[digest.Digest](t)(s.WriteImage(context.Background(), img))
		if err := s.Put(store.Entry{Name: ref, Digest: d, Key: "key of " + ref, Kind: store.KindBuilt}); err != nil {
			t.Fatal(err)
		}
	}
	return s, must[[]store.Entry](t)(s.Entries())
}

func saveTo(t testing.TB, s *store.Store, entries []store.Entry, opts SaveOptions) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "set.tar")
	must[Summary](t)(Save(context.Background(), s, entries, out, opts))
	return out
}

func TestSaveAndLoad(t *testing.T) {
	ctx := context.Background()
	for _, comp := range []Compression{None, Gzip, Zstd} {
		t.Run("compression "+string(comp), func(t *testing.T) {
			s, entries := fill(t)
			var last, total int64
			out := saveTo(t, s, entries, SaveOptions{Compression: comp, Progress: func(d, n int64) { last, total = d, n }})
			if last != total || total == 0 {
				t.Errorf("progress ended at %d of %d", last, total)
			}
			second := saveTo(t, s, entries, SaveOptions{Compression: comp})
			a, b := must[[]byte](t)(os.ReadFile(out)), must[[]byte](t)(os.ReadFile(second))
			if !bytes.Equal(a, b) {
				t.Error("two saves differ")
			}
			to := openStore(t)
			sum := must[Summary](t)(Load(ctx, out, to, LoadOptions{Trust: true}))
			if len(sum.Images) != 2 || sum.Blobs != 7 || sum.Reused != 0 {
				t.Errorf("sum %+v", sum)
			}
			for _, e := range entries {
				if err := to.Verify(ctx, e.Digest); err != nil {
					t.Error(err)
				}
				got, ok, _ := to.ByKey(e.Key)
				if !ok || got.Digest != e.Digest || got.Name != e.Name || got.Kind != store.KindBuilt || got.Size != e.Size {
					t.Errorf("loaded %+v, want %+v", got, e)
				}
			}
			// From stdin, again, under other names: the store has every blob.
			sum = must[Summary](t)(Load(ctx, "-", to,
				LoadOptions{Stdin: io.MultiReader(bytes.NewReader(a)), Relocate: imageref.Naming{Registry: "site:5000", Namespace: "os"}}))
			if sum.Reused != 7 || sum.Images[0].Name != "site:5000/os/nova-api:2026.1" {
				t.Errorf("second load: %+v", sum)
			}
			// Saving the loaded images gives the same bytes.
			reread := saveTo(t, to, entries, SaveOptions{Compression: comp})
			if !bytes.Equal(must[[]byte](t)(os.ReadFile(reread)), a) {
				t.Error("saving what was loaded gives other bytes")
			}
		})
	}
}

func TestSaveErrors(t *testing.T) {
	ctx := context.Background()
	s, entries := fill(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "set.tar")
	if err := os.WriteFile(out, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	check := func(what string, entries []store.Entry, expected string) {
		t.Helper()
		_, err := Save(ctx, s, entries, out, SaveOptions{})
		if err == nil || !strings.Contains(err.Error(), expected) {
			t.Errorf("%s: %v, want %q", what, err, expected)
		}
		if names, _ := os.ReadDir(dir); len(names) > 2 || names[len(names)-1].Name() != "set.tar" || len(names) == 2 &&
			names[0].Name() != ".set.tar.partial" {
			t.Errorf("%s left %v", what, names)
		}
		if b, _ := os.ReadFile(out); string(b) != "old" {
			t.Errorf("%s: the old file is gone", what)
		}
	}
	check("nothing", nil, "no images to save")
	check("no name", []store.Entry{{Digest: entries[0].Digest}}, "has no name")
	check("twice", []store.Entry{entries[0], entries[0]}, "occurs twice")
	blobs := must[[]v1.Descriptor](t)(layersOf(s, entries[0]))
	victim := filepath.Join(s.Dir(), "blobs/sha256", blobs[1].Digest.Hex)
	b := must[[]byte](t)(os.ReadFile(victim))
	b[100] ^= 1
	os.Remove(victim)
	if err := os.WriteFile(victim, b, 0o644); err != nil {
		t.Fatal(err)
	}
	check("flipped", entries, blobs[1].Digest.String())
	os.Remove(victim)
	check("missing", entries, blobs[1].Digest.String()+" is missing")
	if _, err := Save(ctx, s, entries[1:], filepath.Join(dir, "no/such/dir/x.tar"), SaveOptions{}); err == nil {
		t.Error("saved into no directory")
	}
}

func layersOf(s *store.Store, e store.Entry) ([]v1.Descriptor, error) {
	img, err := s.Image(e.Digest)
	if err != nil {
		return nil, err
	}
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	return m.Layers, nil
}

// Every truncation and flipped bit is an error that adds no name, and does not
// prevent a later load of the complete file.
func TestDamaged(t *testing.T) {
	testenv.Slow(t)
	ctx := context.Background()
	s, entries := fill(t)
	intact := must[[]byte](t)(os.ReadFile(saveTo(t, s, entries, SaveOptions{})))
	to := openStore(t)
	load := func(b []byte) error {
		_, err := Load(ctx, "-", to, LoadOptions{Stdin: bytes.NewReader(b)})
		return err
	}
	tail := 1024 + 511 // two empty blocks and padding
	for n := 0; n < len(intact)-tail; n += 509 {
		err := load(intact[:n])
		var fe *FormatError
		if !errors.As(err, &fe) {
			t.Fatalf("cut at %d of %d: %v", n, len(intact), err)
		}
		if entries, _ := to.Entries(); len(entries) != 0 {
			t.Fatalf("cut at %d: %d names", n, len(entries))
		}
	}
	// Cut within the last blob: the error says so.
	err := load(intact[:len(intact)-3000])
	if err == nil || !strings.Contains(err.Error(), "layer ") || !strings.Contains(err.Error(), "nova-") ||
		!strings.Contains(usererr.Hint(err), "copy it again") {
		t.Errorf("cut within a layer: %v", err)
	}
	sum, err := Load(ctx, "-", to, LoadOptions{Stdin: bytes.NewReader(intact)})
	if err != nil || sum.Reused == 0 {
		t.Errorf("after cut files: %v, %d reused", err, sum.Reused)
	}
	for _, e := range entries {
		if err := to.Verify(ctx, e.Digest); err != nil {
			t.Error(err)
		}
	}
	bad := 0
	for i := 0; i < len(intact)-tail; i += 127 {
		b := append([]byte(nil), intact...)
		b[i] ^= 0x10
		empty := openStore(t)
		sum, err := Load(ctx, "-", empty, LoadOptions{Stdin: bytes.NewReader(b)})
		if err != nil {
			bad++
			continue
		}
		// A flipped bit in padding is not an error.
		for _, e := range sum.Images {
			if err := empty.Verify(ctx, e.Digest); err != nil {
				t.Errorf("flip at %d: %v", i, err)
			}
		}
	}
	if bad < 100 {
		t.Errorf("only %d flipped bits were found", bad)
	}
	m := must[[]v1.Descriptor](t)(layersOf(s, entries[0]))
	content := must[[]byte](t)(os.ReadFile(filepath.Join(s.Dir(), "blobs/sha256", m[1].Digest.Hex)))
	b := append([]byte(nil), intact...)
	b[bytes.Index(intact, content)+500] ^= 1
	_, err = Load(ctx, "-", openStore(t), LoadOptions{Stdin: bytes.NewReader(b)})
	if err == nil || !strings.Contains(err.Error(), m[1].Digest.String()) || !strings.Contains(err.Error(), "layer 2 of 2 of "+refA) {
		t.Errorf("flipped layer: %v", err)
	}
}

// A short text file is not reported as a truncated bundle, which would advise to copy it again.
func TestShortTextFileIsNoBundle(t *testing.T) {
	for _, content := range []string{"x", "{% extends parent_template %}\n", strings.Repeat("text\n", 500)} {
		_, err := Load(context.Background(), "-", openStore(t), LoadOptions{Stdin: strings.NewReader(content)})
		if err == nil || !strings.Contains(err.Error(), "not a tar") || usererr.Hint(err) != adviceNoBundle {
			t.Errorf("%d bytes of text: %v (hint: %s)", len(content), err, usererr.Hint(err))
		}
	}
}

// The file that inventory writes is carried beside bundles, and is easily mistaken for one.
func TestInventoryIsNoBundle(t *testing.T) {
	for _, content := range []string{`{"version":1}`, "{\n  \"version\": 1\n}\n"} {
		file := filepath.Join(t.TempDir(), "have.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, listErr := List(t.Context(), file, nil, nil)
		_, verifyErr := Verify(t.Context(), file, VerifyOptions{})
		_, loadErr := Load(t.Context(), file, openStore(t), LoadOptions{})
		for _, err := range []error{listErr, verifyErr, loadErr} {
			if err == nil || !strings.Contains(err.Error(), "JSON") || !strings.Contains(usererr.Hint(err), "--since") {
				t.Errorf("%q: %v (hint: %s)", content, err, usererr.Hint(err))
			}
		}
	}
}

type item struct {
	h tar.Header
	c string
}

func makeTar(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		if i.h.Typeflag == 0 {
			i.h.Typeflag = tar.TypeReg
		}
		if i.h.Size == 0 && i.h.Typeflag == tar.TypeReg {
			i.h.Size = int64(len(i.c))
		}
		if err := w.WriteHeader(&i.h); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(i.c))
	}
	w.Flush()
	return b.Bytes()
}

const layoutFile = `{"imageLayoutVersion":"1.0.0"}`

func TestHostile(t *testing.T) {
	ctx := context.Background()
	lay := item{tar.Header{Name: "oci-layout"}, layoutFile}
	d := digest.FromString("x")
	blob := "blobs/sha256/" + d.Encoded()
	const name = `,"annotations":{"org.opencontainers.image.ref.name":"a:t"}}`
	index := func(desc string) item {
		desc = strings.ReplaceAll(desc, "}", name)
		return item{tar.Header{Name: "index.json"}, `{"schemaVersion":2,"manifests":[` + desc + `]}`}
	}
	for _, c := range []struct {
		name  string
		items []item
		says  string
	}{
		{"nothing", nil, "empty"},
		{"only layout", []item{lay}, "no index.json"},
		{"no layout", []item{index(`{"digest":"` + d.String() + `","size":1}`)}, "no oci-layout"},
		{"no image", []item{lay, index("")}, "no image"},
		{"up", []item{lay, {tar.Header{Name: "blobs/sha256/../../../evil"}, "x"}}, "leads out"},
		{"absolute", []item{{tar.Header{Name: "/oci-layout"}, layoutFile}}, "not allowed"},
		{"backslash", []item{{tar.Header{Name: `..\evil`}, "x"}}, "not allowed"},
		{"symlink", []item{lay, {tar.Header{Name: blob, Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"}, ""}}, "link"},
		{"hard link", []item{lay, {tar.Header{Name: blob, Typeflag: tar.TypeLink, Linkname: "oci-layout"}, ""}}, "link"},
		{"device", []item{lay, {tar.Header{Name: blob, Typeflag: tar.TypeChar}, ""}}, "not a regular file"},
		{"pipe", []item{lay, {tar.Header{Name: blob, Typeflag: tar.TypeFifo}, ""}}, "not a regular file"},
		{"twice", []item{lay, lay}, "twice"},
		{"twice by dots", []item{lay, {tar.Header{Name: "./oci-layout"}, layoutFile}}, "twice"},
		{"stranger", []item{lay, {tar.Header{Name: "install.sh"}, "x"}}, "does not belong"},
		{"root file system", []item{{tar.Header{Name: "etc/passwd"}, "x"}}, "does not belong"},
		{"no digest", []item{lay, {tar.Header{Name: "blobs/sha256/abc"}, "x"}}, "not a digest"},
		{"unknown algorithm", []item{lay, {tar.Header{Name: "blobs/md5/" + d.Encoded()}, "x"}}, "not a digest"},
		{"newer", []item{{tar.Header{Name: "oci-layout"}, `{"imageLayoutVersion":"2.0.0"}`}}, `"2.0.0"`},
		{"large layout", []item{{tar.Header{Name: "oci-layout"}, layoutFile + strings.Repeat(" ", 5000)}}, "more than"},
		{"huge index", []item{lay, {tar.Header{Name: "index.json", Size: 1 << 40}, ""}}, "more than"},
		{"bad index", []item{lay, {tar.Header{Name: "index.json"}, "[]"}}, "not an index"},
		{"index of digests", []item{lay, index(`{"digest":"sha256:../../x","size":3}`)}, "digest"},
		{"huge manifest", []item{lay, index(`{"digest":"` + d.String() + `","size":99999999999}`)}, "99999999999 bytes"},
		{"wrong content", []item{lay, {tar.Header{Name: blob}, "y"}}, "its content has digest"},
		{"wrong size", []item{lay, index(`{"digest":"` + d.String() + `","size":2}`), {tar.Header{Name: blob}, "x"}}, "1 bytes in the tar, 2 by its descriptor"},
		{"no manifest", []item{lay, index(`{"digest":"` + d.String() + `","size":1}`), {tar.Header{Name: blob}, "x"}}, "not a manifest"},
		{"missing", []item{lay, index(`{"digest":"` + d.String() + `","size":1}`)}, "neither in the bundle nor in the store"},
		{"huge blob", []item{lay, {tar.Header{Name: blob, Size: 1 << 60}, ""}}, "no space left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openStore(t)
			_, err := Load(ctx, "-", s, LoadOptions{Stdin: bytes.NewReader(makeTar(t, c.items...))})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("err = %v, want %q", err, c.says)
			}
			if entries, _ := s.Entries(); len(entries) != 0 {
				t.Errorf("entries %v", entries)
			}
			if leftover, _ := os.ReadDir(filepath.Join(s.Dir(), "tmp")); len(leftover) != 0 {
				t.Errorf("left %v", leftover)
			}
		})
	}
	for what, b := range map[string][]byte{
		"text": []byte(strings.Repeat("no tar at all ", 100)),
		"xz":   {0xfd, '7', 'z', 'X', 'Z', 0, 0},
		"gzip": {0x1f, 0x8b, 9, 9, 9, 9, 9},
	} {
		if _, err := Load(ctx, "-", openStore(t), LoadOptions{Stdin: bytes.NewReader(b)}); err == nil {
			t.Errorf("%s was loaded", what)
		} else {
			t.Logf("%s: %v", what, err)
		}
	}
}

func TestSparse(t *testing.T) {
	for _, format := range []string{"gnu", "posix"} {
		b := testenv.SparseTar(t, format, "oci-layout", 1<<33)
		_, err := Load(context.Background(), "-", openStore(t), LoadOptions{Stdin: bytes.NewReader(b)})
		if err == nil || !strings.Contains(err.Error(), "sparse") {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func TestRelocate(t *testing.T) {
	s, entries := fill(t)
	out := saveTo(t, s, entries, SaveOptions{})
	for _, c := range []struct {
		to   imageref.Naming
		want string
	}{
		{imageref.Naming{Registry: "site:5000", Namespace: "os"}, "site:5000/os/nova-api:2026.1"},
		{imageref.Naming{Namespace: "os"}, "localhost:4000/os/nova-api:2026.1"},
		{imageref.Naming{Registry: "site:5000"}, "site:5000/kolla/nova-api:2026.1"},
		{imageref.Naming{}, refA},
	} {
		sum := must[Summary](t)(Load(t.Context(), out, openStore(t), LoadOptions{Relocate: c.to}))
		if got := sum.Images[0].Name; got != c.want {
			t.Errorf("%+v: %s, want %s", c.to, got, c.want)
		}
	}
	if err := s.Tag("localhost:4000/other/nova-api:2026.1", entries[1].Digest); err != nil {
		t.Fatal(err)
	}
	out = saveTo(t, s, must[[]store.Entry](t)(s.Entries()), SaveOptions{})
	to := openStore(t)
	_, err := Load(t.Context(), out, to, LoadOptions{Relocate: imageref.Naming{Namespace: "os"}})
	if err == nil || !strings.Contains(err.Error(), "would both be named localhost:4000/os/nova-api:2026.1") {
		t.Errorf("err = %v", err)
	}
	if entries, _ := to.Entries(); len(entries) != 0 {
		t.Errorf("%d entries after an error", len(entries))
	}
}

// Bundles that another tool packed, in any order.
func TestForeignOrder(t *testing.T) {
	gnutar := testenv.Program(t, "tar", "tar")
	s, entries := fill(t)
	out := saveTo(t, s, entries, SaveOptions{})
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		if b, err := exec.Command(gnutar, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
	}
	run("-xf", out, "-C", dir)
	for _, order := range [][]string{{"."}, {"blobs", "index.json", "oci-layout"}, {"index.json", "blobs", "oci-layout"}} {
		repacked := filepath.Join(t.TempDir(), "r.tar")
		run(append([]string{"-cf", repacked, "-C", dir}, order...)...)
		to := openStore(t)
		sum := must[Summary](t)(Load(context.Background(), repacked, to, LoadOptions{}))
		if len(sum.Images) != 2 {
			t.Errorf("%v: %+v", order, sum)
		}
		for _, e := range sum.Images {
			if err := to.Verify(context.Background(), e.Digest); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestOthersRead(t *testing.T) {
	s, entries := fill(t)
	out := saveTo(t, s, entries, SaveOptions{})
	// docker load's form.
	tag := must[name.Tag](t)(name.NewTag(refA))
	img := must[v1.Image](t)(tarball.ImageFromPath(out, &tag))
	if err := validate.Image(img, validate.Fast); err != nil {
		t.Error(err)
	}
	want := must[v1.Image](t)(s.Image(entries[0].Digest))
	if a, b := must[v1.Hash](t)(img.ConfigName()), must[v1.Hash](t)(want.ConfigName()); a != b {
		t.Errorf("config %s, want %s", a, b)
	}
	skopeo := testenv.Program(t, "skopeo", "skopeo")
	run := func(args ...string) []byte {
		t.Helper()
		b, err := exec.Command(skopeo, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("skopeo %v: %v\n%s", args, err, b)
		}
		return b
	}
	for _, e := range entries {
		var info struct{ Digest string }
		if err := json.Unmarshal(run("inspect", "oci-archive:"+out+":"+e.Name), &info); err != nil || info.Digest != e.Digest.String() {
			t.Errorf("%s: %+v %v", e.Name, info, err)
		}
	}
	// An archive of skopeo is a bundle with one image.
	theirs := filepath.Join(t.TempDir(), "theirs.tar")
	run("copy", "oci-archive:"+out+":"+refB, "oci-archive:"+theirs+":"+refB)
	to := openStore(t)
	sum := must[Summary](t)(Load(context.Background(), theirs, to, LoadOptions{}))
	if len(sum.Images) != 1 || sum.Images[0].Digest != entries[1].Digest {
		t.Errorf("skopeo's archive: %+v", sum)
	}
}

func FuzzLoad(f *testing.F) {
	s, entries := fillSize(f, 50)
	var b bytes.Buffer
	if _, err := Save(context.Background(), s, entries, "-", SaveOptions{Stdout: &b}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:5000])
	f.Add(makeTar(f, item{tar.Header{Name: "oci-layout"}, layoutFile}))
	f.Add(makeTar(f, item{tar.Header{Name: "index.json"}, `{"schemaVersion":2,"manifests":[{"digest":"sha256:x","size":1}]}`}))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0})
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0})
	to := openStore(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		sum, err := Load(context.Background(), "-", to, LoadOptions{Stdin: bytes.NewReader(b)})
		if err != nil {
			return
		}
		for _, e := range sum.Images {
			if err := to.Verify(context.Background(), e.Digest); err != nil {
				t.Fatal(fmt.Errorf("loaded incompletely: %w", err))
			}
		}
	})
}
