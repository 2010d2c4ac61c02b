package push_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// pushFaults are the possible faults of any request of a push.
var pushFaults = []registrytest.Fault{registrytest.Reset, registrytest.Status429, registrytest.Status503,
	registrytest.Truncate, registrytest.Cut, registrytest.Stall, registrytest.Lost}

// A registry fails at random requests: the set still arrives completely, and the tags
// do not change until the commit.
func TestRandomFaultsLoseNothing(t *testing.T) {
	testenv.Slow(t)
	registrytest.Each(t, func(t *testing.T, host string) {
		ctx := context.Background()
		px := registrytest.StartProxy(t, host, nil)
		c := registrytest.Client(t, registry.Options{Retries: 12, Timeout: 400 * time.Millisecond})
		old := registrytest.Base(t, 1000)
		const n = 12
		repo := func(i int) string { return fmt.Sprintf("%s/kolla/image-%d", px.Host, i) }
		first := push.New(c, push.Options{})
		var before []push.Tag
		for i := range n {
			if _, err := first.Push(ctx, repo(i), old); err != nil {
				t.Fatal(err)
			}
			before = append(before, push.Tag{Ref: repo(i) + ":t", Digest: registrytest.Digest(t, old)})
		}
		if err := first.Commit(ctx, before); err != nil {
			t.Fatal(err)
		}

		// The seed is fixed, but the order of requests varies. The kinds alternate, so that
		// each one occurs often.
		rng := rand.New(rand.NewPCG(1, 2))
		turn := 0
		px.Set(func(r *http.Request) registrytest.Fault {
			if rng.IntN(4) != 0 {
				return registrytest.None
			}
			f := pushFaults[turn%len(pushFaults)]
			if f == registrytest.Truncate && r.ContentLength <= 0 {
				f = registrytest.Reset
			}
			turn++
			return f
		})
		// Several sets, until each kind has come a dozen times.
		rounds, repetitions := 0, 13
		if testing.Short() {
			repetitions = 2
		}
		for ; rounds < 20 && turn < repetitions*len(pushFaults); rounds++ {
			p := push.New(c, push.Options{})
			base := registrytest.Base(t, 200_000)
			var mu sync.Mutex
			var tags []push.Tag
			var wg sync.WaitGroup
			for i := range n {
				img := registrytest.Image(t, base, 50_000, 1)
				wg.Add(1)
				go func() {
					defer wg.Done()
					d, err := p.Push(ctx, repo(i), img)
					if err != nil {
						t.Errorf("round %d: %v", rounds, err)
						return
					}
					mu.Lock()
					tags = append(tags, push.Tag{Ref: repo(i) + ":t", Digest: d.Digest})
					mu.Unlock()
				}()
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			direct := registrytest.Client(t, registry.Options{})
			for _, tag := range before {
				d, err := direct.Head(ctx, strings.Replace(tag.Ref, px.Host, host, 1))
				if err != nil || d.Digest != tag.Digest {
					t.Fatalf("before the commit %s is at %s (%v)", tag.Ref, d.Digest, err)
				}
			}
			if err := p.Commit(ctx, tags); err != nil {
				t.Fatalf("round %d: %v", rounds, err)
			}
			for _, tag := range tags {
				registrytest.MustPull(t, host, strings.Replace(tag.Ref, px.Host, "HOST", 1), tag.Digest)
			}
			before = tags
		}
		t.Logf("%d sets of %d images; faults: %s", rounds, n, px.Faults())
	})
}

// If the faults do not end, the push fails in time, and no tag is changed.
func TestLastingFaultsFail(t *testing.T) {
	testenv.Slow(t)
	host := registrytest.Embedded(t, server.Options{}).Host()
	ctx := context.Background()
	old := registrytest.Base(t, 100)
	for _, f := range pushFaults {
		t.Run(string(f), func(t *testing.T) {
			px := registrytest.StartProxy(t, host, nil)
			c := registrytest.Client(t, registry.Options{Retries: 2, Timeout: 500 * time.Millisecond})
			p := push.New(c, push.Options{})
			repo := px.Host + "/kolla/base"
			layer, err := p.Push(ctx, repo, old)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Commit(ctx, []push.Tag{{Ref: repo + ":t", Digest: layer.Digest}}); err != nil {
				t.Fatal(err)
			}
			img := registrytest.Base(t, 50_000)
			px.Set(func(r *http.Request) registrytest.Fault {
				switch {
				case f == registrytest.Cut && r.Method != http.MethodGet, f == registrytest.Truncate && r.ContentLength <= 0:
					return registrytest.None
				case f == registrytest.Lost && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/uploads/"):
					return registrytest.Reset // an upload whose answer is lost has worked: see the test below
				}
				return f
			})
			_, err = p.Push(ctx, repo, img)
			if err == nil {
				t.Fatal("the push succeeded")
			}
			t.Log(err)
			px.Set(nil)
			if got, err := c.Head(ctx, repo+":t"); err != nil || got.Digest != layer.Digest {
				t.Errorf("the tag is at %s (%v), want %s", got.Digest, err, layer.Digest)
			}
			// When the faults are over, the same publisher continues.
			if _, err := p.Push(ctx, repo, img); err != nil {
				t.Errorf("pushing after the fault: %v", err)
			}
		})
	}
}

func TestLostAnswerIsFoundAgain(t *testing.T) {
	host := registrytest.Embedded(t, server.Options{}).Host()
	px := registrytest.StartProxy(t, host, nil)
	lost := false
	px.Set(func(r *http.Request) registrytest.Fault {
		if r.Method == http.MethodPut && !lost {
			lost = true
			return registrytest.Lost
		}
		return registrytest.None
	})
	p := push.New(registrytest.Client(t, registry.Options{Jobs: 1}), push.Options{})
	if _, err := p.Push(context.Background(), px.Host+"/kolla/base", registrytest.Base(t, 90_000)); err != nil {
		t.Fatal(err)
	}
	// The blob whose answer was lost is found, not sent again.
	if s := p.Stats(); s.Skipped != 1 || s.Uploaded != 1 {
		t.Errorf("statistics %+v", s)
	}
}

// damagedLayer gives other bytes than its digest promises.
type damagedLayer struct{ v1.Layer }

func (damagedLayer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(strings.Repeat("x", 700))), nil
}
func (damagedLayer) Size() (int64, error) { return 700, nil }

type damagedImage struct{ v1.Image }

func (d damagedImage) Layers() ([]v1.Layer, error) {
	ls, err := d.Image.Layers()
	if err == nil {
		ls[0] = damagedLayer{ls[0]}
	}
	return ls, err
}

// Content that does not match its digest here is not the network's fault.
func TestDamagedLayerIsNotRetried(t *testing.T) {
	registrytest.Each(t, func(t *testing.T, host string) {
		px := registrytest.StartProxy(t, host, nil)
		p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
		_, err := p.Push(context.Background(), px.Host+"/kolla/base", damagedImage{registrytest.Base(t, 1000)})
		var ce *registry.ContentError
		if !errors.As(err, &ce) || ce.Remote || !strings.Contains(ce.Hint(), "build this image again") {
			t.Errorf("got %v, want a registry.ContentError", err)
		}
		if n := px.Count("PUT ", "/uploads/"); n > 2 { // the layer and the config
			t.Errorf("%d uploads", n)
		}
	})
}

func TestPushEndsWithItsContext(t *testing.T) {
	testenv.Slow(t)
	host := registrytest.Embedded(t, server.Options{}).Host()
	px := registrytest.StartProxy(t, host, func(r *http.Request) registrytest.Fault {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/kolla/a/") {
			return registrytest.Stall
		}
		return registrytest.None
	})
	c := registrytest.Client(t, registry.Options{})
	p := push.New(c, push.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	img := registrytest.Base(t, 1000)
	errs := make(chan error, 2)
	other := registrytest.Image(t, img, 100, 1)
	go func() { _, err := p.Push(ctx, px.Host+"/kolla/a", img); errs <- err }()
	for px.Count("PUT ") == 0 {
		time.Sleep(time.Millisecond)
	}
	// Another image waits for the same layer, with its own context.
	go func() { _, err := p.Push(context.Background(), px.Host+"/kolla/b", other); errs <- err }()
	time.Sleep(20 * time.Millisecond)
	px.Set(nil)
	cancel()
	var canceled, fine int
	for range 2 {
		switch err := <-errs; {
		case errors.Is(err, context.Canceled):
			canceled++
		case err == nil:
			fine++
		default:
			t.Error(err)
		}
	}
	if canceled != 1 || fine != 1 {
		t.Errorf("%d canceled, %d fine", canceled, fine)
	}
	registrytest.MustPull(t, host, "HOST/kolla/b@"+registrytest.Digest(t, other).String(), registrytest.Digest(t, other))
}

// unreadableLayer fails to open once fail is closed.
type unreadableLayer struct {
	v1.Layer
	fail <-chan struct{}
}

var errUnreadable = errors.New("this layer cannot be read")

func (l unreadableLayer) Compressed() (io.ReadCloser, error) {
	<-l.fail
	return nil, errUnreadable
}

type unreadableImage struct {
	v1.Image
	fail <-chan struct{}
}

func (i unreadableImage) Layers() ([]v1.Layer, error) {
	layers, err := i.Image.Layers()
	if err == nil {
		layers[len(layers)-1] = unreadableLayer{layers[len(layers)-1], i.fail}
	}
	return layers, err
}

// An image that fails takes the upload of a layer with it for which another image waits.
// That one has nothing wrong with it.
func TestErrorOfOneImageIsNotThatOfAnother(t *testing.T) {
	host := registrytest.Embedded(t, server.Options{}).Host()
	base := registrytest.Base(t, 1000)
	shared, err := base.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := shared[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	px := registrytest.StartProxy(t, host, func(r *http.Request) registrytest.Fault {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/kolla/a/") &&
			r.URL.Query().Get("digest") == digest.String() {
			return registrytest.Stall
		}
		return registrytest.None
	})
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	fail := make(chan struct{})
	failed, other := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := p.Push(context.Background(), px.Host+"/kolla/a", unreadableImage{registrytest.Image(t, base, 100, 1), fail})
		failed <- err
	}()
	await(t, func() bool { return px.Count("PUT ", "/kolla/a/") >= 2 }, "the config and the shared layer are sent")
	img := registrytest.Image(t, base, 100, 1)
	go func() {
		_, err := p.Push(context.Background(), px.Host+"/kolla/b", img)
		other <- err
	}()
	await(t, func() bool { return px.Count("PUT ", "/kolla/b/") > 0 },
		"the other image has begun, and waits for the shared layer")
	close(fail)
	if err := <-failed; !errors.Is(err, errUnreadable) {
		t.Errorf("the unreadable image: %v", err)
	}
	if err := <-other; err != nil {
		t.Errorf("the other image: %v", err)
	}
	registrytest.MustPull(t, host, "HOST/kolla/b@"+registrytest.Digest(t, img).String(), registrytest.Digest(t, img))
}

// await waits until a condition holds, which a test expects soon.
func await(t *testing.T, holds func() bool, name string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", name)
		}
	}
}
