package bootstrap

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/store"
)

func FuzzImport(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "./etc/"}, {Typeflag: tar.TypeReg, Name: "./etc/os-release"},
		{Typeflag: tar.TypeLink, Name: "etc/x", Linkname: "etc/os-release"}, {Typeflag: tar.TypeSymlink, Name: "bin", Linkname: "usr/bin"},
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
		e, err := ImportTar(context.Background(), s, path)
		if err != nil {
			return
		}
		_, names := layerFiles(t, s, e)
		for _, n := range names {
			if c, err := cleanName(n); err != nil || strings.HasPrefix(filepath.Base(c), ".wh.") {
				t.Errorf("file %q in the layer: %v", n, err)
			}
		}
	})
}

func FuzzAptSources(f *testing.F) {
	f.Add("deb [signed-by=/k] http://m/debian trixie main # x\n")
	f.Add("Types: deb\nURIs: http://m/debian\nSuites: trixie\n trixie-updates\nComponents: main\nSigned-By:\n -----BEGIN\n\n#\nTypes: deb\n")
	f.Add("deb [")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range append(parseOneLine(text), parseDeb822(text)...) {
			for _, u := range append(s.uris, s.suites...) {
				if strings.ContainsAny(u, " \t\n") {
					t.Errorf("%q", u)
				}
			}
		}
		_, _ = parseRelease("http://m", "s", text)
	})
}
