package bundle_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// TestRoundTripSkopeo saves an image, has skopeo convert the bundle into each of its
// forms, and loads these again. Config and layers are the same.
func TestRoundTripSkopeo(t *testing.T) {
	testenv.Slow(t)
	skopeo := bundletest.Tool(t, testenv.Program(t, "skopeo", "skopeo"))
	const name = "site.example/kolla/nova:1"
	img := registrytest.Image(t, registrytest.Base(t, 3000), 2000, 2)
	d := digest.Digest(testenv.Must[v1.Hash](t)(img.Digest()).String())
	dir := t.TempDir()
	saved := saveOne(t, name, img)
	unpacked := filepath.Join(dir, "unpacked")
	if err := os.Mkdir(unpacked, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		transport, path string
		name            string // with which it is loaded, "" if the file has it
		sameDigest      bool
	}{
		{"oci-archive", "oci.tar:" + name, "", true},
		{"oci", "oci:" + name, "", true},
		{"oci", "tagged:1", "site.example/kolla/nova", true},
		{"oci", "unnamed", name, true},
		{"dir", "dir", name, true},
		{"docker-archive", "docker.tar:" + name, "", false},
	} {
		t.Run(c.transport+" "+c.path, func(t *testing.T) {
			skopeo("copy", "--quiet", "--insecure-policy", "oci-archive:"+saved+":"+name,
				c.transport+":"+filepath.Join(dir, c.path))
			path, _, _ := strings.Cut(c.path, ":")
			check := func(path string) {
				t.Helper()
				to := storetest.Open(t)
				sum, err := load.Bundle(t.Context(), path, to, load.Options{Name: c.name})
				if err != nil {
					t.Fatal(err)
				}
				if len(sum.Images) != 1 || sum.Images[0].Name != name || c.sameDigest && sum.Images[0].Digest != d {
					t.Fatalf("loaded %+v", sum.Images)
				}
				got, err := to.Image(sum.Images[0].Digest)
				if err != nil {
					t.Fatal(err)
				}
				if err := to.Verify(t.Context(), sum.Images[0].Digest); err != nil {
					t.Error(err)
				}
				a, _ := got.ConfigName()
				if b, _ := img.ConfigName(); a != b || !slices.Equal(bundletest.DiffIDs(t, got), bundletest.DiffIDs(t, img)) {
					t.Errorf("config %s, want %s", a, b)
				}
			}
			check(filepath.Join(dir, path))
			if c.transport == "docker-archive" {
				bundletest.Tool(t, testenv.Program(t, "tar", "tar"))("-xf", filepath.Join(dir, path), "-C", unpacked)
				check(unpacked)
				for _, program := range []string{"gzip", "xz", "zstd", "bzip2"} {
					pack := exec.Command(testenv.Program(t, program, program), "-c", filepath.Join(dir, path))
					packed, err := pack.Output()
					if err != nil {
						t.Fatal(err)
					}
					file := filepath.Join(dir, "docker.tar."+program)
					if err := os.WriteFile(file, packed, 0o644); err != nil {
						t.Fatal(err)
					}
					check(file)
				}
			}
		})
	}
}

// saveOne saves an image and returns the file.
func saveOne(t *testing.T, name string, img v1.Image) string {
	t.Helper()
	st := storetest.Open(t)
	d := testenv.Must[digest.Digest](t)(st.WriteImage(t.Context(), img))
	if err := st.Put(store.Entry{Name: name, Digest: d, Kind: store.KindBuilt}); err != nil {
		t.Fatal(err)
	}
	return bundletest.Save(t, st, testenv.Must[[]store.Entry](t)(st.Entries()), save.Options{})
}

// TestRoundTripCrane has crane push a bundle to a registry, from the file and from the files
// in it, and loads what it pulls in each of its formats.
func TestRoundTripCrane(t *testing.T) {
	testenv.Slow(t)
	const name = "site.example/kolla/nova:1"
	img := registrytest.Image(t, registrytest.Base(t, 3000), 2000, 2)
	saved := saveOne(t, name, img)
	dir := t.TempDir()
	unpacked := filepath.Join(dir, "unpacked")
	if err := os.Mkdir(unpacked, 0o755); err != nil {
		t.Fatal(err)
	}
	bundletest.Tool(t, testenv.Program(t, "tar", "tar"))("-xf", saved, "-C", unpacked)
	crane := bundletest.Tool(t, registrytest.Tool(t, "crane"))
	host := registrytest.Embedded(t, server.Options{}).Host()
	for i, from := range []string{saved, unpacked} {
		ref := fmt.Sprintf("%s/kolla/nova:%d", host, i)
		crane("push", from, ref)
		crane("validate", "--remote", ref)
		for _, format := range []string{"tarball", "legacy", "oci"} {
			to := storetest.Open(t)
			path := filepath.Join(dir, fmt.Sprint(i, format))
			crane("pull", "--format", format, ref, path)
			sum, err := load.Bundle(t.Context(), path, to, load.Options{Name: name})
			if err != nil {
				t.Errorf("%s: %v", format, err)
				continue
			}
			if len(sum.Images) != 1 || format == "oci" && sum.Images[0].Name != name {
				t.Errorf("%s: loaded %+v", format, sum.Images)
			}
			got := testenv.Must[v1.Image](t)(to.Image(sum.Images[0].Digest))
			if !slices.Equal(bundletest.DiffIDs(t, got), bundletest.DiffIDs(t, img)) {
				t.Errorf("%s: layers %v, want %v", format, bundletest.DiffIDs(t, got), bundletest.DiffIDs(t, img))
			}
			if err := to.Verify(t.Context(), sum.Images[0].Digest); err != nil {
				t.Errorf("%s: %v", format, err)
			}
		}
	}
}

// TestRoundTripEngines loads archives of docker save's formats into Debian's Docker and
// Podman, and their archives into a store.
func TestRoundTripEngines(t *testing.T) {
	const name = "site.example/kolla/nova:1"
	img := registrytest.Image(t, registrytest.Base(t, 3000), 2000, 2)
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path,
		archivetest.Archive(t, archivetest.Docker10, archivetest.Image{Image: img,
			Names: []string{name}}), 0o644); err != nil {
		t.Fatal(err)
	}
	saved := saveOne(t, name, img)
	check := func(t *testing.T, file string, sameConfig bool) {
		t.Helper()
		to := storetest.Open(t)
		sum, err := load.Bundle(t.Context(), file, to, load.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(sum.Images) != 1 || sum.Images[0].Name != name {
			t.Fatalf("loaded %+v", sum.Images)
		}
		got, err := to.Image(sum.Images[0].Digest)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := got.ConfigName()
		if b, _ := img.ConfigName(); sameConfig && a != b ||
			!slices.Equal(bundletest.DiffIDs(t, got), bundletest.DiffIDs(t, img)) {
			t.Errorf("%s: config %s, want %s; layers %s", file, a, b, bundletest.DiffIDs(t, got))
		}
	}
	t.Run("Docker", func(t *testing.T) {
		d := testenv.Dockerd(t, "")
		docker := bundletest.Tool(t, testenv.Program(t, "docker", "docker.io"), "DOCKER_HOST="+d.Addr)
		for _, file := range []string{path, saved} {
			out := filepath.Join(t.TempDir(), "out.tar")
			docker("load", "--input", file)
			docker("save", "--output", out, name)
			check(t, out, true)
			docker("rmi", name)
		}
	})
	t.Run("Podman", func(t *testing.T) {
		_, environment := testenv.Podman(t)
		podman := bundletest.Tool(t, testenv.Program(t, "podman", "podman"), environment)
		podman("load", "--quiet", "--input", saved) // Podman reads it as docker-archive, by its manifest.json
		out := filepath.Join(t.TempDir(), "own")
		podman("save", "--quiet", "--output", out, name)
		check(t, out, true)
		podman("rmi", name)
		podman("pull", "--quiet", "oci-archive:"+saved+":"+name)
		podman("rmi", name)
		podman("load", "--quiet", "--input", path)
		for _, format := range []string{"docker-archive", "oci-archive", "docker-dir"} {
			out := filepath.Join(t.TempDir(), format)
			podman("save", "--quiet", "--format", format, "--output", out, name)
			if format == "docker-dir" {
				to := storetest.Open(t)
				if sum, err := load.Bundle(t.Context(), out, to, load.Options{Name: name}); err != nil ||
					sum.Images[0].Name != name {
					t.Errorf("%s: %+v, %v", format, sum.Images, err)
				}
				continue
			}
			check(t, out, format == "docker-archive") // Podman converts the config for OCI
		}
	})
}

// FuzzLoadForeign loads any bytes: an error, or images that are complete.
func FuzzLoadForeign(f *testing.F) {
	for _, format := range archivetest.Formats {
		f.Add(archivetest.Archive(f, format, bundletest.ForeignImages(f)[1]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		st := storetest.Open(t)
		sum, err := load.Bundle(t.Context(), "-", st, load.Options{Stdin: bytes.NewReader(b)})
		if err != nil {
			storetest.NoImages(t, st)
			return
		}
		for _, e := range sum.Images {
			if err := st.Verify(t.Context(), e.Digest); err != nil {
				t.Error(err)
			}
		}
	})
}
