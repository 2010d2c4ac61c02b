package push_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// BenchmarkPushSet pushes and commits a set of 187 images in the shape of
// Kolla's (a shared base, and two small layers for each image) to the embedded
// registry, then looks the set up again as a run in which nothing changed does.
func BenchmarkPushSet(b *testing.B) {
	const n = 187
	ctx := context.Background()
	base := registrytest.Base(b, 5_000_000)
	images := make([]v1.Image, n)
	for i := range images {
		images[i] = registrytest.Image(b, base, 20_000, 2)
	}
	tags := func(host string) []push.Tag {
		out := make([]push.Tag, n)
		for i, img := range images {
			out[i] = push.Tag{Ref: fmt.Sprintf("%s/kolla/image-%03d:t", host, i), Digest: registrytest.Digest(b, img)}
		}
		return out
	}
	b.Run("new", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			host := registrytest.Embedded(b, server.Options{}).Host()
			b.StartTimer()
			p := push.New(registrytest.Client(b, registry.Options{}), push.Options{})
			slots := make(chan struct{}, 8) // as builds end: not all at once
			var wg sync.WaitGroup
			for i, img := range images {
				wg.Add(1)
				slots <- struct{}{}
				go func() {
					defer wg.Done()
					defer func() { <-slots }()
					if _, err := p.Push(ctx, fmt.Sprintf("%s/kolla/image-%03d", host, i), img); err != nil {
						b.Error(err)
					}
				}()
			}
			wg.Wait()
			if err := p.Commit(ctx, tags(host)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		host := registrytest.Embedded(b, server.Options{}).Host()
		p := push.New(registrytest.Client(b, registry.Options{}), push.Options{})
		var refs []string
		for i, t := range tags(host) {
			if _, err := p.Push(ctx, t.Ref, images[i]); err != nil {
				b.Fatal(err)
			}
			refs = append(refs, t.Ref)
		}
		if err := p.Commit(ctx, tags(host)); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			for _, r := range registrytest.Client(b, registry.Options{}).Heads(ctx, refs) {
				if r.Err != nil {
					b.Fatal(r.Err)
				}
			}
		}
	})
}
