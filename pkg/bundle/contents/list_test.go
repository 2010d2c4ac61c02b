package contents

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/bundle/reader"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
	"github.com/kolla-build/kolla-build/pkg/inventory"
)

func TestList(t *testing.T) {
	s, entries := storetest.Fill(t)
	contents := testenv.Must[*Listing](t)(List(t.Context(),
		bundletest.Save(t, s, entries, save.Options{Tool: "kolla-build 1"}), nil, nil))
	if len(contents.Images) != 2 || contents.Blobs != 7 || contents.Tool != "kolla-build 1" || contents.Signed ||
		contents.Delta != nil {
		t.Errorf("%+v", contents)
	}
	var sizes int64
	for i, image := range contents.Images {
		if e := entries[i]; image.Name != e.Name || image.Digest != e.Digest || image.Size != e.Size || image.Key != e.Key ||
			image.Own >= image.Size || image.Own == 0 {
			t.Errorf("%+v, want %+v", image, e)
		}
		sizes += image.Size
	}
	if contents.Bytes+contents.Shared != sizes || contents.Shared < 20_000 {
		t.Errorf("%d bytes and %d shared, for images of %d", contents.Bytes, contents.Shared, sizes)
	}
	_, _, files := bundletest.Split(t, 50_000, parts.MinSize, 10)
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	if c := testenv.Must[*Listing](t)(List(t.Context(), files[0], nil, nil)); len(c.Images) != 2 {
		t.Errorf("of parts: %+v", c)
	}
	m := bundletest.NewMonths(t)
	path, sum := m.Save(t, testenv.Must[*inventory.Inventory](t)(Inventory(t.Context(), m.First, m.St)), true)
	contents = testenv.Must[*Listing](t)(List(t.Context(), path, nil, nil))
	if contents.Delta == nil || len(contents.Delta.Requires) != sum.Required || contents.Delta.Bytes == 0 {
		t.Errorf("of a delta: %+v", contents)
	}
	// What is in the file, and not what it is made from.
	if contents.Blobs != sum.Blobs || contents.Bytes != sum.Bytes {
		t.Errorf("of a delta: %d blobs, %d bytes; saved were %+v", contents.Blobs, contents.Bytes, sum)
	}
	for i, image := range contents.Images {
		unchanged := strings.Contains(image.Name, "unchanged")
		if e := m.Now[i]; image.Name != e.Name || unchanged && image.Own > 0 || !unchanged && image.Size <= contents.Bytes ||
			image.Own > contents.Bytes {
			t.Errorf("%+v, in a delta of %d bytes", image, contents.Bytes)
		}
	}
	if r := testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), path, verify.Options{})); !r.OK ||
		r.Required != sum.Required {
		t.Errorf("of a delta: %+v", r)
	}
}

// An index of many images is read to its last one, and each of its images is looked at a few
// times, however many blobs there are.
func TestListOfLargeIndex(t *testing.T) {
	const n = 900
	var index ocispec.Index
	index.MediaType = ocispec.MediaTypeImageIndex
	var blobs []bundletest.Item
	for i := range n {
		raw := fmt.Appendf(nil, `{"schemaVersion":2,"config":{"digest":"%s","size":1},"layers":[]}`,
			digest.FromString(fmt.Sprint(i)))
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(raw),
			Size: int64(len(raw))}
		index.Manifests = append(index.Manifests, d)
		blobs = append(blobs, bundletest.File(bundle.BlobPath(d.Digest), string(raw)))
	}
	raw := testenv.Must[[]byte](t)(json.Marshal(index))
	top := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, index.MediaType,
		digest.FromBytes(raw), len(raw))
	items := append([]bundletest.Item{bundletest.File("oci-layout", bundletest.Layout), bundletest.File("index.json", top),
		bundletest.File(bundle.BlobPath(digest.FromBytes(raw)), string(raw))}, blobs...)
	src := testenv.Must[*reader.Source](t)(reader.Open(t.Context(), "-", bytes.NewReader(bundletest.Tar(t, items...)),
		nil))
	defer src.Close()
	l := newLister(src)
	if err := l.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.check.Manifest = &bundle.Manifest{} // without one, anything may follow
	if !l.complete() || len(l.reached) != n+1 || len(l.graph.Documents) != n+1 {
		t.Errorf("%d manifests reached, %d read, complete: %v", len(l.reached), len(l.graph.Documents), l.complete())
	}
	if l.graph.Visits() > 0 {
		t.Errorf("%d visits while reading", l.graph.Visits())
	}
}
