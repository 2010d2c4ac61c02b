// Package bundletest makes bundles for tests: saved ones, and hostile ones that are made by hand.
// It must not know the packages that read bundles, whose tests use it.
package bundletest

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Save saves images to a file in a temporary directory, and returns its path.
func Save(t testing.TB, s *store.Store, entries []store.Entry, opts save.Options) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "set.tar")
	testenv.Must[save.Summary](t)(save.Bundle(context.Background(), s, entries, out, opts))
	return out
}

// Item is a file of a tar: its header and content.
type Item struct {
	H tar.Header
	C string
}

// File returns a regular file.
func File(name, content string) Item { return Item{H: tar.Header{Name: name}, C: content} }

// Tar returns a tar of files.
func Tar(t testing.TB, items ...Item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		if i.H.Typeflag == 0 {
			i.H.Typeflag = tar.TypeReg
		}
		if i.H.Size == 0 && i.H.Typeflag == tar.TypeReg {
			i.H.Size = int64(len(i.C))
		}
		if err := w.WriteHeader(&i.H); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(i.C))
	}
	w.Flush()
	return b.Bytes()
}

// Layout is the content of the file oci-layout.
const Layout = `{"imageLayoutVersion":"1.0.0"}`

// Months are two months of a set: the first bundle, and a store with the second.
type Months struct {
	St       *store.Store
	First    string // the bundle of the first month
	Old, Now []store.Entry
}

// NewMonths returns four images that change in the second month, and one that does not.
func NewMonths(t *testing.T) Months {
	t.Helper()
	m := Months{St: storetest.Open(t), First: filepath.Join(t.TempDir(), "first.tar")}
	base, shared := storetest.LayerTar(1, 150, 0), storetest.LayerTar(2, 20, 0)
	for i := range 4 {
		m.Old = append(m.Old, storetest.PutImage(t, m.St, fmt.Sprintf("kolla/image%d:t", i), shared, base,
			storetest.LayerTar(uint64(10+i), 40, 0)))
	}
	m.Old = append(m.Old, storetest.PutImage(t, m.St, "kolla/unchanged:t", shared, storetest.LayerTar(99, 5, 0)))
	if _, err := save.Bundle(t.Context(), m.St, m.Old, m.First, save.Options{}); err != nil {
		t.Fatal(err)
	}
	updated := storetest.LayerTar(1, 150, 1)
	for i := range 4 {
		m.Now = append(m.Now, storetest.PutImage(t, m.St, fmt.Sprintf("kolla/image%d:t", i), shared, updated,
			storetest.LayerTar(uint64(10+i), 40, 1)))
	}
	m.Now = append(m.Now, m.Old[4])
	return m
}

// Save saves the second month as a delta, and returns its path.
func (m Months) Save(t *testing.T, since *inventory.Inventory, byteDeltas bool) (string, save.Summary) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "delta.tar")
	sum, err := save.Bundle(t.Context(), m.St, m.Now, path, save.Options{Since: since, ByteDeltas: byteDeltas})
	if err != nil {
		t.Fatal(err)
	}
	return path, sum
}

// Packed is a bundle that is made by hand.
type Packed struct {
	Images []ocispec.Descriptor
	Blobs  map[digest.Digest][]byte
}

// Add adds a blob and returns its descriptor.
func (p *Packed) Add(mediaType string, b []byte) ocispec.Descriptor {
	if p.Blobs == nil {
		p.Blobs = map[digest.Digest][]byte{}
	}
	d := digest.FromBytes(b)
	p.Blobs[d] = b
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

// AddJSON adds a document and returns its descriptor.
func (p *Packed) AddJSON(t testing.TB, mediaType string, doc any) ocispec.Descriptor {
	t.Helper()
	return p.Add(mediaType, testenv.Must[[]byte](t)(json.Marshal(doc)))
}

// Image adds an image of one layer.
func (p *Packed) Image(t testing.TB, name, content string, annotations map[string]string) ocispec.Descriptor {
	t.Helper()
	config := p.AddJSON(t, ocispec.MediaTypeImageConfig, map[string]string{"os": "linux", "architecture": "amd64"})
	layer := p.Add(ocispec.MediaTypeImageLayer, []byte(content))
	d := p.AddJSON(t, ocispec.MediaTypeImageManifest,
		ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer}})
	d.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	for k, v := range annotations {
		d.Annotations[k] = v
	}
	p.Images = append(p.Images, d)
	return d
}

// Bytes returns the bundle, a tar.
func (p *Packed) Bytes(t testing.TB) []byte {
	t.Helper()
	return Tar(t, p.Items(t)...)
}

// Items returns the members of the bundle, blobs last.
func (p *Packed) Items(t testing.TB) []Item {
	t.Helper()
	index := testenv.Must[[]byte](t)(json.Marshal(map[string]any{"schemaVersion": 2, "manifests": p.Images}))
	items := []Item{File("oci-layout", Layout), File("index.json", string(index))}
	for d, b := range p.Blobs {
		items = append(items, File(bundle.BlobPath(d), string(b)))
	}
	return items
}

// Unpack returns the files of a tar in their order.
func Unpack(t testing.TB, b []byte) []Item {
	t.Helper()
	var items []Item
	for tr := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return items
		}
		if err != nil {
			t.Fatal(err)
		}
		content := testenv.Must[[]byte](t)(io.ReadAll(tr))
		items = append(items, Item{H: tar.Header{Name: h.Name, Typeflag: h.Typeflag, Size: h.Size}, C: string(content)})
	}
}

// ManifestOf returns the manifest of a bundle.
func ManifestOf(t testing.TB, b []byte) *bundle.Manifest {
	t.Helper()
	for _, i := range Unpack(t, b) {
		if i.H.Name == bundle.ManifestName {
			return testenv.Must[*bundle.Manifest](t)(bundle.ParseManifest([]byte(i.C)))
		}
	}
	t.Fatal("no manifest")
	return nil
}

// NewKey returns a new pair of keys for signatures.
func NewKey(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

// Split saves two images, whose layers have size bytes, in parts of at most split bytes.
func Split(t testing.TB, size, split int64, parity int) (*store.Store, []store.Entry, []string) {
	t.Helper()
	s, entries := storetest.FillSize(t, size)
	sum := testenv.Must[save.Summary](t)(save.Bundle(t.Context(), s, entries, filepath.Join(t.TempDir(), "set"),
		save.Options{Split: split, Parity: parity}))
	return s, entries, sum.Parts
}

// ForeignImages are two images with a common layer, one of them with two names.
func ForeignImages(t testing.TB) []archivetest.Image {
	base := registrytest.Base(t, 3000)
	child := registrytest.Image(t, base, 2000, 2)
	return []archivetest.Image{
		{Image: registrytest.Image(t, base, 1000, 1), Names: []string{"site.example:4000/kolla/nova-api:2.0", "nova:latest"}},
		{Image: child, Names: []string{"site.example:4000/kolla/nova-compute:2.0"}},
	}
}

// DiffIDs returns the diff IDs of an image.
func DiffIDs(t testing.TB, img v1.Image) []v1.Hash {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return c.RootFS.DiffIDs
}

// Tool returns a function that runs a program.
func Tool(t *testing.T, bin string, env ...string) func(args ...string) {
	return func(args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, bin, args...)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", filepath.Base(bin), strings.Join(args, " "), err, out)
		}
	}
}
