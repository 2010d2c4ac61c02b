package imagearchive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/storetest"
)

// TestLimits checks that an archive with countless members ends with an error, before it
// takes much memory.
func TestLimits(t *testing.T) {
	for name, header := range map[string]func(i int) *tar.Header{
		"files": func(i int) *tar.Header { return &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%064x.json", i)} },
		"links": func(i int) *tar.Header {
			return &tar.Header{Typeflag: tar.TypeSymlink, Name: fmt.Sprintf("%064x.tar", i), Linkname: "a"}
		},
		"directories": func(i int) *tar.Header { return &tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("%064x/", i)} },
		"long names": func(i int) *tar.Header {
			return &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%s%d", strings.Repeat("x", 4000), i)}
		},
	} {
		a := New(nil, Options{NamesOnly: true})
		a.members = maxMembers - 20_000
		var err error
		n := 0
		for ; err == nil && n <= maxMembers; n++ {
			err = a.Add(t.Context(), header(n), bytes.NewReader(nil))
		}
		if err == nil {
			t.Errorf("%s: %d members were read", name, n)
		}
	}
	a := New(nil, Options{NamesOnly: true})
	big := &tar.Header{Typeflag: tar.TypeReg, Name: "config.json", Size: 1 << 40}
	if err := a.Add(t.Context(), big, strings.NewReader(strings.Repeat("x", 1000))); err == nil {
		t.Error("a config of a terabyte was read")
	}
}

// zeros is a reader of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestExpandingLayer checks that a layer that expands endlessly ends with an error.
func TestExpandingLayer(t *testing.T) {
	for packed, fails := range map[int64]bool{100: true, freeExpansion: false} {
		r := &expandedReader{r: zeros{}, compressed: &countingReader{n: packed}}
		n, err := io.CopyN(io.Discard, r, freeExpansion+10<<20)
		if fails != (err != nil) || n > freeExpansion+10<<20 {
			t.Errorf("%d bytes expanded to %d, %v", packed, n, err)
		}
	}
}

// TestStoreLayer checks that layers that are compressed again get the same digest for
// any original compression, and that others are kept.
func TestStoreLayer(t *testing.T) {
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	if err := w.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Size: 5}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(content.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	st := storetest.Open(t)
	kept, err := StoreLayer(t.Context(), st, bytes.NewReader(packed.Bytes()))
	if err != nil || kept.DiffID != digest.FromBytes(content.Bytes()) ||
		kept.Descriptor.Digest != digest.FromBytes(packed.Bytes()) {
		t.Errorf("zstd: %+v, %v", kept, err)
	}
	skippable := append([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00size"), packed.Bytes()...)
	if kept, err = StoreLayer(t.Context(), st, bytes.NewReader(skippable)); err != nil ||
		kept.DiffID != digest.FromBytes(content.Bytes()) {
		t.Errorf("zstd with a skippable frame: %+v, %v", kept, err)
	}
	plain, err := StoreLayer(t.Context(), st, bytes.NewReader(content.Bytes()))
	if err != nil || plain.DiffID != kept.DiffID {
		t.Errorf("plain: %+v, %v", plain, err)
	}
	if second, ok, err := StoredLayer(t.Context(), st, plain.DiffID); err != nil || !ok ||
		second.Descriptor.Digest != plain.Descriptor.Digest {
		t.Errorf("recorded: %+v, %v", second, err)
	}
	for name, b := range map[string][]byte{"text": []byte("text"), "cut": packed.Bytes()[:packed.Len()-3], "empty": nil} {
		if _, err := StoreLayer(t.Context(), st, bytes.NewReader(b)); err == nil {
			t.Errorf("%s was stored as a layer", name)
		}
	}
}

// TestDamagedLists checks archives whose list of images is damaged.
func TestDamagedLists(t *testing.T) {
	for text, want := range map[string]string{
		`[{"RepoTags":["a:1"]}][{"RepoTags":["b:1"]}]`: "more after the list",
		`[{"RepoTags":["a:1"]}] x`:                     "more after the list",
		`[{"RepoTags":["a:1"]}`:                        "in the middle",
		`[{"RepoTags":["a:1"]}]` + "\n":                "",
	} {
		a := New(nil, Options{NamesOnly: true})
		header := &tar.Header{Typeflag: tar.TypeReg, Name: ManifestFile, Size: int64(len(text))}
		if err := a.Add(t.Context(), header, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		images, err := a.Images(t.Context())
		if want == "" && (err != nil || len(images) != 1) || want != "" &&
			(err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %d images, %v", text, len(images), err)
		}
	}
}
