package push_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// A hundred clients pull, and some push other images, through a network that fails, while
// sets are published to the same registry. Nobody ever sees a tag that refers to anything but one of the published images, and
// garbage collection afterwards loses nothing.
func TestManyClientsWhileSetsArePublished(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a hundred clients")
	}
	const clients, images, sets = 100, 12, 3
	dir := t.TempDir()
	s := registrytest.Embedded(t, server.Options{Dir: dir})
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(3, 4))
	px := registrytest.StartProxy(t, s.Host(), func(r *http.Request) registrytest.Fault {
		mu.Lock()
		defer mu.Unlock()
		switch n := rng.IntN(30); {
		case n == 0:
			return registrytest.Reset
		case n == 1:
			return registrytest.Status503
		case n == 2 && r.ContentLength > 0:
			return registrytest.Truncate
		case n == 3:
			return registrytest.Cut
		}
		return registrytest.None
	})
	name := func(i int) string { return fmt.Sprintf("%s/kolla/image-%d", px.Host, i) }
	published := make([][]digest.Digest, images) // by image: the digests of all sets so far
	current := make([]push.Tag, images)
	publish := func() {
		p := push.New(registrytest.Client(t, registry.Options{Retries: 20}), push.Options{})
		base := registrytest.Base(t, 20_000)
		for i := range images {
			img := registrytest.Image(t, base, 2_000, 1)
			mu.Lock()
			published[i] = append(published[i], registrytest.Digest(t, img))
			mu.Unlock()
			d, err := p.Push(t.Context(), name(i), img)
			if err != nil {
				t.Fatal(err)
			}
			current[i] = push.Tag{Ref: name(i) + ":t", Digest: d.Digest}
		}
		if err := p.Commit(t.Context(), current); err != nil {
			t.Fatal(err)
		}
	}
	publish()

	ctx, cancel := context.WithCancel(t.Context())
	var pulls, pushes atomic.Int64
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			c := registrytest.Client(t, registry.Options{Retries: 20})
			for ctx.Err() == nil {
				time.Sleep(rand.N(2 * time.Second))
				if n%10 == 0 {
					repo := fmt.Sprintf("%s/other/image-%d", px.Host, n)
					if _, err := push.New(c, push.Options{}).Push(ctx, repo, registrytest.Base(t, 3_000)); err != nil &&
						ctx.Err() == nil {
						t.Errorf("client %d: %v", n, err)
						return
					}
					pushes.Add(1)
					continue
				}
				i := rand.IntN(images)
				_, named, err := c.Fetch(ctx, name(i)+":t", "")
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("client %d: %v", n, err)
					}
					return
				}
				mu.Lock()
				known := slices.Contains(published[i], named)
				mu.Unlock()
				if !known {
					t.Errorf("%s refers to %s, which was not published", name(i), named)
				}
				pulls.Add(1)
			}
		})
	}
	for range sets {
		publish()
		mustReferTo(t, s.Host(), current)
	}
	var de *server.DirError
	if _, err := server.GarbageCollect(t.Context(), dir, server.GCOptions{Untagged: true}); !errors.As(err, &de) ||
		!de.Locked {
		t.Errorf("collecting garbage in a registry that is running: %v", err)
	}
	cancel()
	wg.Wait()
	t.Logf("%d pulls and %d pushes while %d sets were published; faults: %s", pulls.Load(),
		pushes.Load(), sets, px.Faults())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.GarbageCollect(t.Context(), dir, server.GCOptions{Untagged: true}); err != nil {
		t.Fatal(err)
	}
	restarted := registrytest.Embedded(t, server.Options{Dir: dir})
	for _, tag := range current {
		registrytest.MustPull(t, restarted.Host(), "HOST"+tag.Ref[strings.IndexByte(tag.Ref, '/'):], tag.Digest)
	}
}
