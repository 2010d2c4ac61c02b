package bundle

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// maxManifests bounds the bytes of manifests that Inventory keeps in memory.
const maxManifests = 512 << 20

// Inventory lists the content of a site that has loaded a bundle: the bundle's content and, for a
// delta, the content that it requires. Manifests that a delta omits are looked up in the store,
// which may be nil. path is a file, a directory or a part.
func Inventory(ctx context.Context, path string, st *store.Store) (*inventory.Inventory, error) {
	return inventoryOf(ctx, path, path, nil, st)
}

// InventoryOf is Inventory of content that can be read only once, such as that of a pipe.
func InventoryOf(ctx context.Context, name string, content io.Reader, st *store.Store) (*inventory.Inventory, error) {
	return inventoryOf(ctx, name, "-", content, st)
}

func inventoryOf(
	ctx context.Context, name, path string, stdin io.Reader, st *store.Store,
) (*inventory.Inventory, error) {
	src, err := openSource(ctx, path, stdin, nil)
	var inv *inventory.Inventory
	if err == nil {
		defer src.close()
		inv, err = readInventory(ctx, name, src, st)
	}
	if err != nil {
		return nil, fmt.Errorf("reading bundle %s: %w", name, err)
	}
	return inv, nil
}

func readInventory(ctx context.Context, name string, src *source, st *store.Store) (*inventory.Inventory, error) {
	inv := inventory.New(name, time.Now())
	var check checker
	var images []ocispec.Descriptor
	manifests, total := map[digest.Digest][]byte{}, int64(0)
	for {
		m, err := check.next(ctx, src)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		switch {
		case m.name == ocispec.ImageIndexFile:
			var b []byte
			if b, err = readSmall(src, m, maxIndex); err == nil {
				images, err = parseIndex(b)
			}
		case m.name == deltaIndex:
			err = addRequired(inv, src, m)
		case m.digest != "" && !m.delta:
			inv.Blobs[m.digest] = m.size
			if m.size <= maxManifest && total+m.size <= maxManifests {
				var b []byte
				if b, err = readSmall(src, m, maxManifest); err == nil && len(b) > 0 && b[0] == '{' {
					manifests[m.digest] = b
					total += m.size
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if images == nil {
		return nil, &FormatError{Detail: "it contains no " + ocispec.ImageIndexFile, Advice: adviceNoBundle}
	}
	read := func(d digest.Digest) ([]byte, error) {
		if b, ok := manifests[d]; ok {
			if got := d.Algorithm().FromBytes(b); got != d {
				return nil, &FormatError{Blob: d, Detail: "its content has digest " + got.String(), Advice: adviceDamaged}
			}
			return b, nil
		}
		if st == nil {
			return nil, fmt.Errorf("manifest %s is not in it, and there is no store", d)
		}
		return st.ReadManifest(d)
	}
	for _, d := range images {
		if err := inv.Add(fullName(d), d.Digest, read); err != nil {
			return nil, err
		}
	}
	return inv, nil
}

// addRequired adds the requirements of a delta.
func addRequired(inv *inventory.Inventory, src *source, m member) error {
	b, err := readSmall(src, m, maxIndex)
	if err != nil {
		return err
	}
	doc, err := parseDelta(b)
	if err != nil {
		return &FormatError{Member: m.name, Detail: "not the list of a delta", Err: err}
	}
	for _, r := range doc.Requires {
		if len(inv.Blobs) < maxBlobs {
			inv.Blobs[r.Digest] = r.Size
		}
	}
	return nil
}
