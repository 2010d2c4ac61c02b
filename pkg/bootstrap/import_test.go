package bootstrap

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/store"
)

func reg(name, content string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o644,
		ModTime: time.Unix(1700000000, 500), Uname: "joe"}
}

type item struct {
	h       *tar.Header
	content string
}

func tarOf(t *testing.T, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		if err := w.WriteHeader(i.h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(i.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeArchive(t *testing.T, b []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(p, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func root(t *testing.T, more ...item) []byte {
	t.Helper()
	osr := "ID=test\n"
	return tarOf(t, append([]item{
		{&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}, ""},
		{&tar.Header{Typeflag: tar.TypeDir, Name: "./etc/", Mode: 0o755}, ""},
		{reg("./etc/os-release", osr), osr},
		{&tar.Header{Typeflag: tar.TypeSymlink, Name: "./bin", Linkname: "usr/bin", Mode: 0o777}, ""},
		{reg("./usr/bin/sh", "#!"), "#!"},
		{&tar.Header{Typeflag: tar.TypeLink, Name: "./usr/bin/bash", Linkname: "./usr/bin/sh", Mode: 0o755}, ""},
		{&tar.Header{Typeflag: tar.TypeChar, Name: "./dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3}, ""},
	}, more...)...)
}

func TestImportRootfs(t *testing.T) {
	ctx := context.Background()
	s := storetest.Open(t)
	plain := root(t)
	e, err := Import(ctx, s, writeArchive(t, plain), ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(store.Entry{Name: "local:t", Digest: e.Digest, Kind: e.Kind}); err != nil {
		t.Fatal(err)
	}
	files, names := layerFiles(t, s, e)
	if files["etc/os-release"] != "ID=test\n" || strings.Join(names,
		" ") != "etc/ etc/os-release bin usr/bin/sh usr/bin/bash" {
		t.Errorf("names %q", names)
	}
	got, _, _ := s.Lookup("local:t")
	if got.Created.Unix() != 1700000000 || got.Kind != store.KindBase {
		t.Errorf("entry %+v", got)
	}
	// Compression does not change the image.
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	z.Write(plain)
	z.Close()
	check := func(t *testing.T, b []byte) {
		t.Helper()
		other, err := Import(ctx, storetest.Open(t), writeArchive(t, b), ImportOptions{})
		if err != nil || other.Digest != e.Digest {
			t.Errorf("%s, %v, want %s", other.Digest, err, e.Digest)
		}
		if _, err := Import(ctx, storetest.Open(t), writeArchive(t, b[:len(b)/2]), ImportOptions{}); err == nil {
			t.Error("half a file was imported")
		}
	}
	t.Run("gzip", func(t *testing.T) { check(t, gz.Bytes()) })
	for prog, pkg := range map[string]string{"xz": "xz-utils", "bzip2": "bzip2", "zstd": "zstd"} {
		t.Run(prog, func(t *testing.T) {
			cmd := exec.Command(testenv.Program(t, prog, pkg), "-c")
			cmd.Stdin = bytes.NewReader(plain)
			b, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			check(t, b)
		})
	}
}

func TestImportHostile(t *testing.T) {
	for _, c := range []struct {
		name string
		h    *tar.Header
		says string
	}{
		{"up", reg("../evil", ""), `contains ".."`},
		{"up inside", reg("usr/../../evil", ""), `contains ".."`},
		{"absolute", reg("/etc/passwd", ""), "absolute"},
		{"device", &tar.Header{Typeflag: tar.TypeBlock, Name: "home/sda", Devmajor: 8}, "device"},
		{"pipe", &tar.Header{Typeflag: tar.TypeFifo, Name: "etc/pipe"}, "device or FIFO"},
		{"whiteout", reg("etc/.wh.passwd", ""), "deletes files"},
		{"link out", &tar.Header{Typeflag: tar.TypeLink, Name: "etc/x", Linkname: "../../etc/shadow"}, `contains ".."`},
		{"link to nothing", &tar.Header{Typeflag: tar.TypeLink, Name: "etc/x", Linkname: "etc/nothing"},
			"not an earlier file"},
		{"twice", reg("etc/os-release", ""), "twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := storetest.Open(t)
			_, err := Import(context.Background(), s, writeArchive(t, root(t, item{c.h, ""})), ImportOptions{})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("err = %v, want %q", err, c.says)
			}
			if leftover, _ := os.ReadDir(s.Dir() + "/blobs/sha256"); len(leftover) != 0 {
				t.Errorf("%d blobs after an error", len(leftover))
			}
		})
	}
	for what, b := range map[string][]byte{
		"empty":      {},
		"no tar":     []byte(strings.Repeat("this is no tar", 100)),
		"letters":    tarOf(t, item{reg("letter.txt", "x"), "x"}),
		"no system":  tarOf(t, item{reg("usr/share/x", "x"), "x"}),
		"cut":        root(t)[:1300],
		"bad gzip":   {0x1f, 0x8b, 0, 0, 0},
		"bad docker": tarOf(t, item{reg("manifest.json", "{"), "{"}),
		"docker miss": tarOf(t, item{reg("manifest.json", `[{"Config":"c.json","Layers":["l.tar"]}]`),
			`[{"Config":"c.json","Layers":["l.tar"]}]`}),
	} {
		if _, err := Import(context.Background(), storetest.Open(t), writeArchive(t, b), ImportOptions{}); err == nil {
			t.Errorf("%s: imported", what)
		}
	}
	if _, err := Import(context.Background(), storetest.Open(t), "/nonexistent.tar", ImportOptions{}); err == nil ||
		!strings.Contains(err.Error(), "no such file") {
		t.Errorf("err = %v", err)
	}
	if _, err := Import(context.Background(), storetest.Open(t), t.TempDir(), ImportOptions{}); err == nil ||
		!strings.Contains(err.Error(), "not an OCI layout") {
		t.Errorf("err = %v", err)
	}
}

func anImage(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(3000, 2)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestImportLayout(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	p, err := layout.Write(dir, mutate.IndexMediaType(mutateEmpty(), types.OCIImageIndex))
	if err != nil {
		t.Fatal(err)
	}
	a, b := anImage(t), anImage(t)
	for n, img := range map[string]v1.Image{"registry.example/os/debian:trixie": a, "bookworm": b} {
		if err := p.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": n})); err != nil {
			t.Fatal(err)
		}
	}
	s := storetest.Open(t)
	for want, img := range map[string]v1.Image{"registry.example/os/debian:trixie": a, "debian:trixie": a, "trixie": a,
		"bookworm": b, "debian:bookworm": b} {
		e, err := Import(ctx, s, dir, ImportOptions{Name: want})
		h, _ := img.Digest()
		if err != nil || e.Digest.String() != h.String() {
			t.Errorf("%s: %v, %v", want, e.Digest, err)
		}
	}
	if _, err := Import(ctx, s, dir, ImportOptions{}); err == nil ||
		!strings.Contains(usererr.Hint(err), "bookworm, registry.example") {
		t.Errorf("no name: %v", err)
	}
	if _, err := Import(ctx, s, dir, ImportOptions{Name: "sid"}); err == nil ||
		!strings.Contains(err.Error(), `no image named "sid"`) {
		t.Errorf("wrong name: %v", err)
	}
	// A blob whose content does not match its name.
	m, _ := a.Manifest()
	blob := filepath.Join(dir, "blobs/sha256", m.Layers[0].Digest.Hex)
	content, _ := os.ReadFile(blob)
	content[7] ^= 1
	os.Remove(blob)
	if err := os.WriteFile(blob, content, 0o644); err != nil {
		t.Fatal(err)
	}
	var be *store.BlobError
	if _, err := Import(ctx, storetest.Open(t), dir, ImportOptions{Name: "trixie"}); !errors.As(err, &be) ||
		be.Digest.String() != m.Layers[0].Digest.String() {
		t.Errorf("flipped: %v", err)
	}
}

func mutateEmpty() v1.ImageIndex {
	idx, _ := random.Index(1, 1, 0)
	return idx
}

func TestImportPlatform(t *testing.T) {
	ctx := context.Background()
	var adds []mutate.IndexAddendum
	for _, arch := range []string{"amd64", "arm64"} {
		adds = append(adds, mutate.IndexAddendum{Add: anImage(t),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	idx := mutate.AppendManifests(mutateEmpty(), adds...)
	dir := t.TempDir()
	p, err := layout.Write(dir, mutateEmpty())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendIndex(idx); err != nil {
		t.Fatal(err)
	}
	s := storetest.Open(t)
	e, err := Import(ctx, s, dir, ImportOptions{Platform: "linux/arm64"})
	h, _ := adds[1].Add.(v1.Image).Digest()
	if err != nil || e.Digest.String() != h.String() {
		t.Errorf("arm64: %v, %v", e.Digest, err)
	}
	if _, err := Import(ctx, s, dir, ImportOptions{Platform: "linux/s390x"}); err == nil ||
		!strings.Contains(usererr.Hint(err), "it has linux/amd64, linux/arm64") {
		t.Errorf("s390x: %v", err)
	}
}

func TestImportArchives(t *testing.T) {
	ctx := context.Background()
	img := anImage(t)
	ref := name.MustParseReference("example.com/os/base:t")
	docker := filepath.Join(t.TempDir(), "docker.tar")
	if err := tarball.WriteToFile(docker, ref, img); err != nil {
		t.Fatal(err)
	}
	s := storetest.Open(t)
	e, err := Import(ctx, s, docker, ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Image(e.Digest)
	if err != nil {
		t.Fatal(err)
	}
	gc, _ := got.ConfigName()
	wc, _ := img.ConfigName()
	if gc != wc || e.Name != "example.com/os/base:t" {
		t.Errorf("docker archive: config %s, want %s; name %q", gc, wc, e.Name)
	}
	// A layer that does not match the config.
	b, _ := os.ReadFile(docker)
	layers, _ := img.Layers()
	rc, _ := layers[0].Compressed()
	head := make([]byte, 64)
	rc.Read(head)
	rc.Close()
	i := bytes.Index(b, head)
	if i < 0 {
		t.Fatal("layer not found")
	}
	b[i+40] ^= 1
	if _, err := Import(ctx, storetest.Open(t), writeArchive(t, b), ImportOptions{}); err == nil {
		t.Error("a flipped bit was imported")
	}

	d, err := s.WriteImage(ctx, img)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(store.Entry{Name: "example.com/os/base:t", Digest: d}); err != nil {
		t.Fatal(err)
	}
	entries, _ := s.Entries()
	oci := filepath.Join(t.TempDir(), "oci.tar")
	if _, err := save.Bundle(ctx, s, entries, oci, save.Options{}); err != nil {
		t.Fatal(err)
	}
	to := storetest.Open(t)
	e, err = Import(ctx, to, oci, ImportOptions{})
	if err != nil || e.Digest != d {
		t.Errorf("OCI archive: %v, %v", e.Digest, err)
	}
	if entries, _ := to.Entries(); len(entries) != 0 {
		t.Errorf("an import named something: %v", entries)
	}
}
