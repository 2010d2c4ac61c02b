package bundle_test

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
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/contents"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/store"
)

func TestSaveAndLoad(t *testing.T) {
	ctx := context.Background()
	for _, comp := range []save.Compression{save.None, save.Gzip, save.Zstd} {
		t.Run("compression "+string(comp), func(t *testing.T) {
			s, entries := storetest.Fill(t)
			var last, total int64
			out := bundletest.Save(t, s, entries, save.Options{Compression: comp,
				Progress: func(d, n int64) { last, total = d, n }})
			if last != total || total == 0 {
				t.Errorf("progress ended at %d of %d", last, total)
			}
			second := bundletest.Save(t, s, entries, save.Options{Compression: comp})
			a, b := testenv.Must[[]byte](t)(os.ReadFile(out)), testenv.Must[[]byte](t)(os.ReadFile(second))
			if !bytes.Equal(a, b) {
				t.Error("two saves differ")
			}
			to := storetest.Open(t)
			sum := testenv.Must[load.Summary](t)(load.Bundle(ctx, out, to, load.Options{Trust: true}))
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
			sum = testenv.Must[load.Summary](t)(load.Bundle(ctx, "-", to,
				load.Options{Stdin: io.MultiReader(bytes.NewReader(a)),
					Relocate: imageref.Naming{Registry: "site:5000", Namespace: "os"}}))
			if sum.Reused != 7 || sum.Images[0].Name != "site:5000/os/nova-api:2026.1" {
				t.Errorf("second load: %+v", sum)
			}
			// Saving the loaded images gives the same bytes.
			reread := bundletest.Save(t, to, entries, save.Options{Compression: comp})
			if !bytes.Equal(testenv.Must[[]byte](t)(os.ReadFile(reread)), a) {
				t.Error("saving what was loaded gives other bytes")
			}
		})
	}
}

func TestSaveErrors(t *testing.T) {
	ctx := context.Background()
	s, entries := storetest.Fill(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "set.tar")
	if err := os.WriteFile(out, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	check := func(what string, entries []store.Entry, expected string) {
		t.Helper()
		_, err := save.Bundle(ctx, s, entries, out, save.Options{})
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
	blobs := testenv.Must[[]v1.Descriptor](t)(storetest.LayersOf(s, entries[0]))
	victim := filepath.Join(s.Dir(), "blobs/sha256", blobs[1].Digest.Hex)
	b := testenv.Must[[]byte](t)(os.ReadFile(victim))
	b[100] ^= 1
	os.Remove(victim)
	if err := os.WriteFile(victim, b, 0o644); err != nil {
		t.Fatal(err)
	}
	check("flipped", entries, blobs[1].Digest.String())
	os.Remove(victim)
	check("missing", entries, blobs[1].Digest.String()+" is missing")
	if _, err := save.Bundle(ctx, s, entries[1:], filepath.Join(dir, "no/such/dir/x.tar"), save.Options{}); err == nil {
		t.Error("saved into no directory")
	}
}

// Every truncation and flipped bit is an error that adds no name, and does not
// prevent a later load of the complete file.
func TestDamaged(t *testing.T) {
	testenv.Slow(t)
	ctx := context.Background()
	s, entries := storetest.Fill(t)
	intact := testenv.Must[[]byte](t)(os.ReadFile(bundletest.Save(t, s, entries, save.Options{})))
	to := storetest.Open(t)
	loadPart := func(b []byte) error {
		_, err := load.Bundle(ctx, "-", to, load.Options{Stdin: bytes.NewReader(b)})
		return err
	}
	tail := 1024 + 511 // two empty blocks and padding
	for n := 0; n < len(intact)-tail; n += 509 {
		err := loadPart(intact[:n])
		var fe *bundle.FormatError
		if !errors.As(err, &fe) {
			t.Fatalf("cut at %d of %d: %v", n, len(intact), err)
		}
		if entries, _ := to.Entries(); len(entries) != 0 {
			t.Fatalf("cut at %d: %d names", n, len(entries))
		}
	}
	// Cut within the last blob: the error says so.
	err := loadPart(intact[:len(intact)-3000])
	if err == nil || !strings.Contains(err.Error(), "layer ") || !strings.Contains(err.Error(), "nova-") ||
		!strings.Contains(usererr.Hint(err), "copy it again") {
		t.Errorf("cut within a layer: %v", err)
	}
	sum, err := load.Bundle(ctx, "-", to, load.Options{Stdin: bytes.NewReader(intact)})
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
		empty := storetest.Open(t)
		sum, err := load.Bundle(ctx, "-", empty, load.Options{Stdin: bytes.NewReader(b)})
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
	m := testenv.Must[[]v1.Descriptor](t)(storetest.LayersOf(s, entries[0]))
	content := testenv.Must[[]byte](t)(os.ReadFile(filepath.Join(s.Dir(), "blobs/sha256", m[1].Digest.Hex)))
	b := append([]byte(nil), intact...)
	b[bytes.Index(intact, content)+500] ^= 1
	_, err = load.Bundle(ctx, "-", storetest.Open(t), load.Options{Stdin: bytes.NewReader(b)})
	if err == nil || !strings.Contains(err.Error(), m[1].Digest.String()) ||
		!strings.Contains(err.Error(), "layer 2 of 2 of "+storetest.RefA) {
		t.Errorf("flipped layer: %v", err)
	}
}

// A short text file is not reported as a truncated bundle, which would advise to copy it again.
func TestShortTextFileIsNoBundle(t *testing.T) {
	for _, content := range []string{"x", "{% extends parent_template %}\n", strings.Repeat("text\n", 500)} {
		_, err := load.Bundle(context.Background(), "-", storetest.Open(t), load.Options{Stdin: strings.NewReader(content)})
		if err == nil || !strings.Contains(err.Error(), "not a tar") || usererr.Hint(err) != bundle.AdviceNoBundle {
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
		_, listErr := contents.List(t.Context(), file, nil, nil)
		_, verifyErr := verify.Bundle(t.Context(), file, verify.Options{})
		_, loadErr := load.Bundle(t.Context(), file, storetest.Open(t), load.Options{})
		for _, err := range []error{listErr, verifyErr, loadErr} {
			if err == nil || !strings.Contains(err.Error(), "JSON") || !strings.Contains(usererr.Hint(err), "--since") {
				t.Errorf("%q: %v (hint: %s)", content, err, usererr.Hint(err))
			}
		}
	}
}

func TestHostile(t *testing.T) {
	ctx := context.Background()
	lay := bundletest.File("oci-layout", bundletest.Layout)
	d := digest.FromString("x")
	blob := "blobs/sha256/" + d.Encoded()
	const name = `,"annotations":{"org.opencontainers.image.ref.name":"a:t"}}`
	index := func(desc string) bundletest.Item {
		desc = strings.ReplaceAll(desc, "}", name)
		return bundletest.File("index.json", `{"schemaVersion":2,"manifests":[`+desc+`]}`)
	}
	for _, c := range []struct {
		name  string
		items []bundletest.Item
		says  string
	}{
		{"nothing", nil, "empty"},
		{"only layout", []bundletest.Item{lay}, "no index.json"},
		{"no layout", []bundletest.Item{index(`{"digest":"` + d.String() + `","size":1}`)}, "no oci-layout"},
		{"no image", []bundletest.Item{lay, index("")}, "no image"},
		{"up", []bundletest.Item{lay, bundletest.File("blobs/sha256/../../../evil", "x")}, "leads out"},
		{"absolute", []bundletest.Item{bundletest.File("/oci-layout", bundletest.Layout)}, "not allowed"},
		{"backslash", []bundletest.Item{bundletest.File(`..\evil`, "x")}, "not allowed"},
		{"symlink", []bundletest.Item{lay, {H: tar.Header{Name: blob, Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"}}},
			"link"},
		{"hard link", []bundletest.Item{lay, {H: tar.Header{Name: blob, Typeflag: tar.TypeLink, Linkname: "oci-layout"}}},
			"link"},
		{"device", []bundletest.Item{lay, {H: tar.Header{Name: blob, Typeflag: tar.TypeChar}, C: ""}}, "not a regular file"},
		{"pipe", []bundletest.Item{lay, {H: tar.Header{Name: blob, Typeflag: tar.TypeFifo}, C: ""}}, "not a regular file"},
		{"twice", []bundletest.Item{lay, lay}, "twice"},
		{"twice by dots", []bundletest.Item{lay, bundletest.File("./oci-layout", bundletest.Layout)}, "twice"},
		{"stranger", []bundletest.Item{lay, bundletest.File("install.sh", "x")}, "does not belong"},
		{"root file system", []bundletest.Item{bundletest.File("etc/passwd", "x")}, "does not belong"},
		{"no digest", []bundletest.Item{lay, bundletest.File("blobs/sha256/abc", "x")}, "not a digest"},
		{"unknown algorithm", []bundletest.Item{lay, bundletest.File("blobs/md5/"+d.Encoded(), "x")}, "not a digest"},
		{"newer", []bundletest.Item{bundletest.File("oci-layout", `{"imageLayoutVersion":"2.0.0"}`)}, `"2.0.0"`},
		{"large layout", []bundletest.Item{bundletest.File("oci-layout", bundletest.Layout+strings.Repeat(" ", 5000))},
			"more than"},
		{"huge index", []bundletest.Item{lay, {H: tar.Header{Name: "index.json", Size: 1 << 40}, C: ""}}, "more than"},
		{"bad index", []bundletest.Item{lay, bundletest.File("index.json", "[]")}, "not an index"},
		{"index of digests", []bundletest.Item{lay, index(`{"digest":"sha256:../../x","size":3}`)}, "digest"},
		{"huge manifest", []bundletest.Item{lay, index(`{"digest":"` + d.String() + `","size":99999999999}`)},
			"99999999999 bytes"},
		{"wrong content", []bundletest.Item{lay, bundletest.File(blob, "y")}, "its content has digest"},
		{"wrong size", []bundletest.Item{lay, index(`{"digest":"` + d.String() + `","size":2}`),
			bundletest.File(blob, "x")}, "1 bytes in the tar, 2 by its descriptor"},
		{"no manifest", []bundletest.Item{lay, index(`{"digest":"` + d.String() + `","size":1}`),
			bundletest.File(blob, "x")}, "not a manifest"},
		{"missing", []bundletest.Item{lay, index(`{"digest":"` + d.String() + `","size":1}`)},
			"neither in the bundle nor in the store"},
		{"huge blob", []bundletest.Item{lay, {H: tar.Header{Name: blob, Size: 1 << 60}, C: ""}}, "no space left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := storetest.Open(t)
			_, err := load.Bundle(ctx, "-", s, load.Options{Stdin: bytes.NewReader(bundletest.Tar(t, c.items...))})
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
		if _, err := load.Bundle(ctx, "-", storetest.Open(t), load.Options{Stdin: bytes.NewReader(b)}); err == nil {
			t.Errorf("%s was loaded", what)
		} else {
			t.Logf("%s: %v", what, err)
		}
	}
}

func TestSparse(t *testing.T) {
	for _, format := range []string{"gnu oci-layout", "posix oci-layout", "gnu manifest.json", "posix manifest.json"} {
		format, file, _ := strings.Cut(format, " ")
		b := testenv.SparseTar(t, format, file, 1<<33)
		_, err := load.Bundle(context.Background(), "-", storetest.Open(t), load.Options{Stdin: bytes.NewReader(b)})
		var fe *bundle.FormatError
		if !errors.As(err, &fe) || !strings.Contains(err.Error(), "sparse") || !strings.Contains(fe.Hint(), "--sparse") {
			t.Errorf("%s, %s: %v", format, file, err)
		}
	}
}

func TestRelocate(t *testing.T) {
	s, entries := storetest.Fill(t)
	out := bundletest.Save(t, s, entries, save.Options{})
	for _, c := range []struct {
		to   imageref.Naming
		want string
	}{
		{imageref.Naming{Registry: "site:5000", Namespace: "os"}, "site:5000/os/nova-api:2026.1"},
		{imageref.Naming{Namespace: "os"}, "localhost:4000/os/nova-api:2026.1"},
		{imageref.Naming{Registry: "site:5000"}, "site:5000/kolla/nova-api:2026.1"},
		{imageref.Naming{}, storetest.RefA},
	} {
		sum := testenv.Must[load.Summary](t)(load.Bundle(t.Context(), out, storetest.Open(t), load.Options{Relocate: c.to}))
		if got := sum.Images[0].Name; got != c.want {
			t.Errorf("%+v: %s, want %s", c.to, got, c.want)
		}
	}
	if err := s.Tag("localhost:4000/other/nova-api:2026.1", entries[1].Digest); err != nil {
		t.Fatal(err)
	}
	out = bundletest.Save(t, s, testenv.Must[[]store.Entry](t)(s.Entries()), save.Options{})
	to := storetest.Open(t)
	_, err := load.Bundle(t.Context(), out, to, load.Options{Relocate: imageref.Naming{Namespace: "os"}})
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
	s, entries := storetest.Fill(t)
	out := bundletest.Save(t, s, entries, save.Options{})
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
		to := storetest.Open(t)
		sum := testenv.Must[load.Summary](t)(load.Bundle(context.Background(), repacked, to, load.Options{}))
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
	s, entries := storetest.Fill(t)
	out := bundletest.Save(t, s, entries, save.Options{})
	// docker load's form.
	tag := testenv.Must[name.Tag](t)(name.NewTag(storetest.RefA))
	img := testenv.Must[v1.Image](t)(tarball.ImageFromPath(out, &tag))
	if err := validate.Image(img, validate.Fast); err != nil {
		t.Error(err)
	}
	want := testenv.Must[v1.Image](t)(s.Image(entries[0].Digest))
	if a, b := testenv.Must[v1.Hash](t)(img.ConfigName()), testenv.Must[v1.Hash](t)(want.ConfigName()); a != b {
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
		if err := json.Unmarshal(run("inspect", "oci-archive:"+out+":"+e.Name), &info); err != nil ||
			info.Digest != e.Digest.String() {
			t.Errorf("%s: %+v %v", e.Name, info, err)
		}
	}
	// An archive of skopeo is a bundle with one image.
	theirs := filepath.Join(t.TempDir(), "theirs.tar")
	run("copy", "oci-archive:"+out+":"+storetest.RefB, "oci-archive:"+theirs+":"+storetest.RefB)
	to := storetest.Open(t)
	sum := testenv.Must[load.Summary](t)(load.Bundle(context.Background(), theirs, to, load.Options{}))
	if len(sum.Images) != 1 || sum.Images[0].Digest != entries[1].Digest {
		t.Errorf("skopeo's archive: %+v", sum)
	}
}

func FuzzLoad(f *testing.F) {
	s, entries := storetest.FillSize(f, 50)
	var b bytes.Buffer
	if _, err := save.Bundle(context.Background(), s, entries, "-", save.Options{Stdout: &b}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:5000])
	f.Add(bundletest.Tar(f, bundletest.File("oci-layout", bundletest.Layout)))
	f.Add(bundletest.Tar(f, bundletest.File("index.json",
		`{"schemaVersion":2,"manifests":[{"digest":"sha256:x","size":1}]}`)))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0})
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0})
	to := storetest.Open(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		sum, err := load.Bundle(context.Background(), "-", to, load.Options{Stdin: bytes.NewReader(b)})
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
