package bootstrap

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/untar"
	"github.com/kolla-build/kolla-build/pkg/store"
)

func FuzzImport(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "./etc/"}, {Typeflag: tar.TypeReg, Name: "./etc/os-release"},
		{Typeflag: tar.TypeLink, Name: "etc/x", Linkname: "etc/os-release"}, {Typeflag: tar.TypeSymlink,
			Name: "bin", Linkname: "usr/bin"},
		{Typeflag: tar.TypeReg, Name: "usr/bin/sh", PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x"}},
	} {
		if err := w.WriteHeader(h); err != nil {
			f.Fatal(err)
		}
	}
	w.Close()
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:700])
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Add([]byte("BZh91"))
	s, err := store.Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "x.tar")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		e, err := Import(context.Background(), s, path, ImportOptions{})
		if err != nil {
			return
		}
		_, names := layerFiles(t, s, e)
		for _, n := range names {
			if c, err := untar.CleanName(n); err != nil || strings.HasPrefix(filepath.Base(c), ".wh.") {
				t.Errorf("file %q in the layer: %v", n, err)
			}
		}
	})
}

func FuzzRelease(f *testing.F) {
	f.Add("Origin: Debian\nDate: Sat, 09 May 2026 09:12:20 UTC\nArchitectures: amd64\n")
	f.Add("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nDate: x\n")
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := parseRelease("http://m", "s", text); err == nil && r.date.IsZero() {
			t.Error("a release without a date")
		}
	})
}
