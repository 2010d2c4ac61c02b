package bootstrap

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/untar"
)

// TestCredentialsInArguments runs a stand-in for mmdebstrap that prints its arguments
// and standard input: credentials of a mirror must only be in the latter.
func TestCredentialsInArguments(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\nfor a; do echo \"arg $a\" >&2; done\ncat >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "mmdebstrap"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	var log bytes.Buffer
	b := debianImage{opts: Options{Distro: "debian", Suite: "trixie", Components: []string{"main"}, Progress: &log},
		keyring: "/k",
		archive: archive{sources: []packageSource{{"http://joe:s3cret@m/debian", "trixie"}}}}
	err := b.run(t.Context(), func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err })
	if err == nil {
		t.Error("the failure of mmdebstrap was not reported")
	}
	if args := strings.Join(b.command(), " "); strings.Contains(args, "s3cret") {
		t.Errorf("arguments: %s", args)
	}
	if want := "deb [signed-by=/k] http://joe:s3cret@m/debian trixie main\n"; b.aptSources() != want {
		t.Errorf("standard input: %s", b.aptSources())
	}
	// The stand-in printed both; what is shown has no credentials.
	if shown := log.String() + err.Error(); strings.Contains(shown, "s3cret") ||
		!strings.Contains(shown, "@m/debian trixie main") {
		t.Errorf("shown: %s", shown)
	}
}

// TestImportSpecialFiles checks that devices and FIFOs are errors and are never read.
func TestImportSpecialFiles(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, "/dev/zero"} {
		if _, err := Import(t.Context(), storetest.Open(t), path, ImportOptions{}); err == nil ||
			!strings.Contains(err.Error(), "regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestImportExpansion checks that small archives that expand to very much are refused.
func TestImportExpansion(t *testing.T) {
	old := rootfsLimits
	t.Cleanup(func() { rootfsLimits = old })
	rootfsLimits = untar.Limits{Members: 1000, Bytes: 1 << 20}
	for name, write := range map[string]func(*tar.Writer){
		"many members": func(w *tar.Writer) {
			for i := range 2000 {
				_ = w.WriteHeader(&tar.Header{Name: fmt.Sprint("etc/", i), Typeflag: tar.TypeReg})
			}
		},
		"large member": func(w *tar.Writer) {
			_ = w.WriteHeader(&tar.Header{Name: "etc/zeros", Typeflag: tar.TypeReg, Size: 2 << 20})
			_, _ = w.Write(make([]byte, 2<<20))
		},
	} {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		write(w)
		_ = w.Close()
		_ = z.Close()
		var limit *untar.LimitError
		s := storetest.Open(t)
		if _, err := Import(context.Background(), s, writeArchive(t, b.Bytes()), ImportOptions{}); !errors.As(err, &limit) {
			t.Errorf("%s: %v", name, err)
		}
		if leftover, _ := os.ReadDir(s.Dir() + "/blobs/sha256"); len(leftover) != 0 {
			t.Errorf("%s: %d blobs are left", name, len(leftover))
		}
	}
}

// TestImportDocuments checks that documents of foreign layouts and archives are checked
// before they are read into memory: many small entries take a hundred times their size.
func TestImportDocuments(t *testing.T) {
	many := `{"schemaVersion":2,"manifests":[` + strings.Repeat("{},", 200_000) + "{}]}"
	config := `{"history":[` + strings.Repeat("{},", 200_000) + `{}]}`
	for name, files := range map[string]map[string]string{
		"index":    {"index.json": many},
		"manifest": {"index.json": indexOf(many), blobPath(many): many},
		"config": {"index.json": indexOf(manifestOf(config)), blobPath(manifestOf(config)): manifestOf(config),
			blobPath(config): config},
		"not a manifest": {"index.json": indexOf("x"), blobPath("x"): "x"},
	} {
		dir := t.TempDir()
		files["oci-layout"] = `{"imageLayoutVersion":"1.0.0"}`
		for file, content := range files {
			path := filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Import(t.Context(), storetest.Open(t), dir, ImportOptions{}); err == nil || name != "not a manifest" &&
			!strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
	}
	member := func(name, content string) tarMember {
		return tarMember{tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg}, content}
	}
	for name, members := range map[string][]tarMember{
		"list":       {member("manifest.json", "["+strings.Repeat("{},", 200_000)+"{}]")},
		"large list": {member("manifest.json", "["+strings.Repeat(" ", 5<<20)+"]")},
		"docker config": {member("manifest.json", `[{"Config":"c","Layers":[]}]`),
			member("c", strings.Repeat(" ", 5<<20)+"{}")},
		"link": {member("manifest.json", `[{"Config":"c","Layers":[]}]`),
			member("layer", strings.Repeat("x", 100)), {tar.Header{Name: "c", Typeflag: tar.TypeSymlink, Linkname: "layer"},
				""}},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, m := range members {
			m.Size = int64(len(m.content))
			if err := w.WriteHeader(&m.Header); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, m.content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := Import(t.Context(), storetest.Open(t), writeArchive(t, b.Bytes()), ImportOptions{})
		if err == nil || !strings.Contains(err.Error(), "more than") && !strings.Contains(err.Error(), "larger than") &&
			!strings.Contains(err.Error(), "regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type tarMember struct {
	tar.Header
	content string
}

func blobPath(content string) string {
	return filepath.Join("blobs", "sha256", digest.FromString(content).Encoded())
}

func indexOf(content string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d}]}`,
		digest.FromString(content), len(content))
}

func manifestOf(config string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[]}`, digest.FromString(config), len(config))
}
