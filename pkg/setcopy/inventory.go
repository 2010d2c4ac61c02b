package setcopy

import (
	"context"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// Inventory lists the images and blobs of a location in a registry.
func Inventory(ctx context.Context, client *registry.Client, from Location) (*inventory.Inventory, error) {
	images, err := Find(ctx, client, from, nil)
	if err != nil {
		return nil, err
	}
	inv := inventory.New(from.String(), time.Now())
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * client.Jobs())
	for _, image := range images {
		ref, err := imageref.ParseTag(from.Repository(image.Name) + ":" + image.Tag)
		if err != nil {
			return nil, err
		}
		g.Go(func() error {
			// Read without the lock, added with it.
			manifests := map[digest.Digest][]byte{}
			read := func(d digest.Digest) ([]byte, error) {
				if b, ok := manifests[d]; ok {
					return b, nil
				}
				m, err := client.Repository(ref).Manifest(gctx, d.String())
				manifests[d] = m.Raw
				return m.Raw, err
			}
			if err := inventory.New("", time.Time{}).Add(ref.Familiar(), image.Digest, read); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			return inv.Add(ref.Familiar(), image.Digest, read)
		})
	}
	return inv, g.Wait()
}
