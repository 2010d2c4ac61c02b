package compress_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// entries returns the headers of a tar without their times, and the times.
func entries(t *testing.T, r io.Reader) (
	headers map[string]tar.Header, times map[string]time.Time, content map[string]string) {
	t.Helper()
	headers, times, content = map[string]tar.Header{}, map[string]time.Time{}, map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return headers, times, content
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		times[h.Name], content[h.Name] = h.ModTime, string(b)
		h.ModTime, h.PAXRecords = time.Time{}, maps.Clone(h.PAXRecords)
		headers[h.Name] = *h
	}
}

// TestClampTimes checks that times after the creation of an image are set to it in
// the published form, that nothing else changes, and that layers of a parent keep
// the parent's limit.
func TestClampTimes(t *testing.T) {
	limit := time.Unix(1_700_000_000, 0)
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	for _, h := range []tar.Header{
		{Name: "dir/", Typeflag: tar.TypeDir, Mode: 0o2775, Uid: 42, Gid: 43, ModTime: limit.Add(time.Hour)},
		{Name: "dir/old", Typeflag: tar.TypeReg, Mode: 0o644, Size: 3, ModTime: limit.Add(-time.Hour)},
		{Name: "dir/new", Typeflag: tar.TypeReg, Mode: 0o4755, Size: 3,
			ModTime: limit.Add(time.Second), Format: tar.FormatPAX,
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02"}},
		{Name: "dir/link", Typeflag: tar.TypeLink, Linkname: "dir/new", ModTime: limit.Add(time.Second)},
		{Name: "dir/symlink", Typeflag: tar.TypeSymlink, Linkname: "../über", ModTime: limit.Add(time.Second)},
		{Name: "dir/.wh.gone", Typeflag: tar.TypeReg, ModTime: limit.Add(time.Minute)},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "abc"[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, settings := range []string{"gzip", "zstd", "estargz"} {
		b := newBlobs()
		s, err := compress.Parse(settings)
		if err != nil {
			t.Fatal(err)
		}
		c := compress.New(compress.Options{Settings: s, Source: b, Store: b, Workers: 2, TempDir: t.TempDir()})
		source := b.image(t, plain.Bytes())
		diffID := digest.FromBytes(plain.Bytes())
		c.ClampTimes(limit, diffID)
		c.ClampTimes(limit.Add(24*time.Hour), diffID)
		desc, err := c.Image(t.Context(), source)
		if err != nil {
			t.Fatal(err)
		}
		m := b.manifest(t, desc.Digest)
		tarball := decompress(t, m.Layers[0].MediaType, b.m[m.Layers[0].Digest])
		var config ocispec.Image
		if err := json.Unmarshal(b.m[m.Config.Digest], &config); err != nil {
			t.Fatal(err)
		}
		if got := digest.FromBytes(tarball); config.RootFS.DiffIDs[0] != got || got == diffID {
			t.Errorf("%s: the config has diff ID %s, the layer %s", settings, config.RootFS.DiffIDs[0], got)
		}
		wantHeaders, wantTimes, wantContent := entries(t, bytes.NewReader(plain.Bytes()))
		headers, times, content := entries(t, bytes.NewReader(tarball))
		for name, want := range wantHeaders {
			got := headers[name]
			if wantTime := wantTimes[name]; wantTime.After(limit) != times[name].Equal(limit) || !wantTime.After(limit) &&
				!times[name].Equal(wantTime) {
				t.Errorf("%s: %s has time %s, was %s", settings, name, times[name], wantTime)
			}
			if got.Mode != want.Mode || got.Uid != want.Uid || got.Gid != want.Gid || got.Linkname != want.Linkname ||
				got.Typeflag != want.Typeflag ||
				got.PAXRecords["SCHILY.xattr.security.capability"] != want.PAXRecords["SCHILY.xattr.security.capability"] ||
				content[name] != wantContent[name] {
				t.Errorf("%s: %s became %+v, was %+v", settings, name, got, want)
			}
		}
	}
}
