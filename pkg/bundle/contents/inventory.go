package contents

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/reader"
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

// InventoryOfStream is Inventory of content that can be read only once, such as that of a pipe.
func InventoryOfStream(ctx context.Context, name string, content io.Reader, st *store.Store) (*inventory.Inventory, error) {
	return inventoryOf(ctx, name, "-", content, st)
}

func inventoryOf(
	ctx context.Context, name, path string, stdin io.Reader, st *store.Store,
) (*inventory.Inventory, error) {
	src, err := reader.Open(ctx, path, stdin, nil)
	var inv *inventory.Inventory
	if err == nil {
		defer src.Close()
		inv, err = readInventory(ctx, name, src, st)
	}
	if err != nil {
		return nil, fmt.Errorf("reading bundle %s: %w", name, err)
	}
	return inv, nil
}

func readInventory(
	ctx context.Context, name string, src *reader.Source, st *store.Store,
) (*inventory.Inventory, error) {
	inv := inventory.New(name, time.Now())
	var check reader.Checker
	var images []ocispec.Descriptor
	manifests, total := map[digest.Digest][]byte{}, int64(0)
	for {
		m, err := check.Next(ctx, src)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		switch {
		case m.Name == ocispec.ImageIndexFile:
			var b []byte
			if b, err = reader.ReadSmall(src, m, bundle.MaxIndex); err == nil {
				images, err = bundle.ParseIndex(b)
			}
		case m.Name == bundle.DeltaListName:
			err = addRequired(inv, src, m)
		case m.Digest != "" && !m.Delta:
			inv.Blobs[m.Digest] = m.Size
			if m.Size <= bundle.MaxImageManifest && total+m.Size <= maxManifests {
				var b []byte
				if b, err = reader.ReadSmall(src, m, bundle.MaxImageManifest); err == nil && len(b) > 0 && b[0] == '{' {
					manifests[m.Digest] = b
					total += m.Size
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if images == nil {
		return nil, &bundle.FormatError{Detail: "it contains no " + ocispec.ImageIndexFile, Advice: bundle.AdviceNoBundle}
	}
	read := func(d digest.Digest) ([]byte, error) {
		if b, ok := manifests[d]; ok {
			if got := d.Algorithm().FromBytes(b); got != d {
				return nil, &bundle.FormatError{Blob: d, Detail: "its content has digest " + got.String(),
					Advice: bundle.AdviceDamaged}
			}
			return b, nil
		}
		if st == nil {
			return nil, fmt.Errorf("manifest %s is not in it, and there is no store", d)
		}
		return st.ReadManifest(d)
	}
	for _, d := range images {
		if err := inv.Add(bundle.ImageName(d), d.Digest, read); err != nil {
			return nil, err
		}
	}
	return inv, nil
}

// addRequired adds the requirements of a delta.
func addRequired(inv *inventory.Inventory, src *reader.Source, m reader.Member) error {
	b, err := reader.ReadSmall(src, m, bundle.MaxIndex)
	if err != nil {
		return err
	}
	doc, err := bundle.ParseDeltaList(b)
	if err != nil {
		return &bundle.FormatError{Member: m.Name, Detail: "not the list of a delta", Err: err}
	}
	for _, r := range doc.Requires {
		if len(inv.Blobs) < bundle.MaxBlobs {
			inv.Blobs[r.Digest] = r.Size
		}
	}
	return nil
}
