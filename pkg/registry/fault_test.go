package registry

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
)

// pushFaults are what may happen to any request of a push.
var pushFaults = []fault{faultReset, fault429, fault503, faultTruncate, faultCut, faultStall, faultLost}

// A registry that fails at random requests: the set arrives whole all the same,
// the tags stay where they were until the commit, and move all at once after it.
func TestRandomFaultsLoseNothing(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		ctx := context.Background()
		px := startProxy(t, host, nil)
		c := newClient(t, Options{Retries: 12, Timeout: 400 * time.Millisecond})
		old := ociBase(t, 1000)
		const n = 12
		repo := func(i int) string { return fmt.Sprintf("%s/kolla/image-%d", px.host, i) }
		first := c.NewPublisher(PublishOptions{})
		var before []Tag
		for i := range n {
			if _, err := first.Push(ctx, repo(i), old); err != nil {
				t.Fatal(err)
			}
			before = append(before, Tag{repo(i) + ":t", digestOf(t, old)})
		}
		if err := first.Commit(ctx, before); err != nil {
			t.Fatal(err)
		}

		// A fixed seed, though the order of requests varies. Each kind is due in
		// turn, so that each comes often.
		rng := rand.New(rand.NewPCG(1, 2))
		turn := 0
		px.set(func(r *http.Request) fault {
			if rng.IntN(4) != 0 {
				return faultNone
			}
			f := pushFaults[turn%len(pushFaults)]
			if f == faultTruncate && r.ContentLength <= 0 {
				f = faultReset
			}
			turn++
			return f
		})
		// Several sets, until each kind was met a dozen times.
		rounds := 0
		for ; rounds < 20 && turn < 13*len(pushFaults); rounds++ {
			p := c.NewPublisher(PublishOptions{})
			base := ociBase(t, 200_000)
			var mu sync.Mutex
			var tags []Tag
			var wg sync.WaitGroup
			for i := range n {
				img := testImage(t, base, 50_000, 1)
				wg.Add(1)
				go func() {
					defer wg.Done()
					d, err := p.Push(ctx, repo(i), img)
					if err != nil {
						t.Errorf("round %d: %v", rounds, err)
						return
					}
					mu.Lock()
					tags = append(tags, Tag{repo(i) + ":t", d.Digest})
					mu.Unlock()
				}()
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			direct := newClient(t, Options{})
			for _, tag := range before {
				d, err := direct.Head(ctx, strings.Replace(tag.Ref, px.host, host, 1))
				if err != nil || d.Digest != tag.Digest {
					t.Fatalf("before the commit %s is at %s (%v)", tag.Ref, d.Digest, err)
				}
			}
			if err := p.Commit(ctx, tags); err != nil {
				t.Fatalf("round %d: %v", rounds, err)
			}
			for _, tag := range tags {
				mustPull(t, host, strings.Replace(tag.Ref, px.host, "HOST", 1), tag.Digest)
			}
			before = tags
		}
		px.mu.Lock()
		t.Logf("%d sets of %d images; faults: %v", rounds, n, px.faults)
		px.mu.Unlock()
	})
}

// When the faults do not end, the push fails, in time and clearly, and no tag has
// moved.
func TestLastingFaultsFail(t *testing.T) {
	host := startEmbedded(t, ServeOptions{}).Host()
	ctx := context.Background()
	old := ociBase(t, 100)
	for _, f := range pushFaults {
		t.Run(string(f), func(t *testing.T) {
			px := startProxy(t, host, nil)
			c := newClient(t, Options{Retries: 2, Timeout: 500 * time.Millisecond})
			p := c.NewPublisher(PublishOptions{})
			repo := px.host + "/kolla/base"
			d, err := p.Push(ctx, repo, old)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Commit(ctx, []Tag{{repo + ":t", d.Digest}}); err != nil {
				t.Fatal(err)
			}
			img := ociBase(t, 50_000)
			px.set(func(r *http.Request) fault {
				switch {
				case f == faultCut && r.Method != http.MethodGet, f == faultTruncate && r.ContentLength <= 0:
					return faultNone
				case f == faultLost && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/uploads/"):
					return faultReset // an upload whose answer is lost has worked: see the test below
				}
				return f
			})
			_, err = p.Push(ctx, repo, img)
			if err == nil {
				t.Fatal("the push succeeded")
			}
			t.Log(err)
			px.set(nil)
			if got, err := c.Head(ctx, repo+":t"); err != nil || got.Digest != d.Digest {
				t.Errorf("the tag is at %s (%v), want %s", got.Digest, err, d.Digest)
			}
			// And when the faults are over, the same publisher goes on.
			if _, err := p.Push(ctx, repo, img); err != nil {
				t.Errorf("pushing after the fault: %v", err)
			}
		})
	}
}

func TestLostAnswerIsFoundAgain(t *testing.T) {
	host := startEmbedded(t, ServeOptions{}).Host()
	px := startProxy(t, host, nil)
	lost := false
	px.set(func(r *http.Request) fault {
		if r.Method == http.MethodPut && !lost {
			lost = true
			return faultLost
		}
		return faultNone
	})
	p := newClient(t, Options{Jobs: 1}).NewPublisher(PublishOptions{})
	if _, err := p.Push(context.Background(), px.host+"/kolla/base", ociBase(t, 90_000)); err != nil {
		t.Fatal(err)
	}
	// The blob whose answer was lost is found, not sent a second time.
	if s := p.Stats(); s.Skipped != 1 || s.Uploaded != 1 {
		t.Errorf("statistics %+v", s)
	}
}

func TestRetryAfterIsKept(t *testing.T) {
	host := startEmbedded(t, ServeOptions{}).Host()
	px := startProxy(t, host, nil)
	var mu sync.Mutex
	var times []time.Time
	px.Handler = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				mu.Lock()
				times = append(times, time.Now())
				first := len(times) == 1
				mu.Unlock()
				if first {
					w.Header().Set("Retry-After", "1")
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}(px.Handler)
	c := newClient(t, Options{})
	var nf *NotFoundError
	if _, err := c.Head(context.Background(), px.host+"/kolla/none:t"); !errors.As(err, &nf) {
		t.Fatal(err)
	}
	if len(times) != 2 || times[1].Sub(times[0]) < time.Second {
		t.Errorf("asked at %v", times)
	}
	// A wait that is longer than the whole may take is not begun.
	times = nil
	short := newClient(t, Options{MaxElapsed: 500 * time.Millisecond})
	if _, err := short.Head(context.Background(), px.host+"/kolla/none:t"); err == nil || errors.As(err, &nf) {
		t.Errorf("got %v, want the refusal", err)
	}
	if len(times) != 1 {
		t.Errorf("asked %d times", len(times))
	}
}

// Answers that will not change are not asked for again.
func TestNoRetryOnFinalAnswers(t *testing.T) {
	for _, code := range []int{400, 401, 403, 404} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			n := 0
			px := startProxy(t, "127.0.0.1:1", nil)
			px.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v2/" {
					return
				}
				n++
				w.WriteHeader(code)
			})
			c := newClient(t, Options{})
			_, err := c.Head(context.Background(), px.host+"/kolla/base:t")
			if err == nil || n != 1 {
				t.Errorf("%d requests, error %v", n, err)
			}
			var u *UnauthorizedError
			if want := code == 401 || code == 403; errors.As(err, &u) != want {
				t.Errorf("%T: %v", err, err)
			}
			if u != nil && (u.Denied != (code == 403) || !strings.Contains(u.Hint(), "docker login "+px.host)) {
				t.Errorf("%+v, hint %q", u, u.Hint())
			}
		})
	}
}

// A pull that breaks off goes on where it broke off.
func TestPullResumes(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		ctx := context.Background()
		img := ociBase(t, 400_000)
		p := newClient(t, Options{}).NewPublisher(PublishOptions{})
		d, err := p.Push(ctx, host+"/kolla/base", img)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(ctx, []Tag{{host + "/kolla/base:t", d.Digest}}); err != nil {
			t.Fatal(err)
		}
		cuts, ranges := 0, 0
		px := startProxy(t, host, func(r *http.Request) fault {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
				return faultNone
			}
			if r.Header.Get("Range") != "" {
				ranges++
			}
			if cuts++; cuts%3 != 0 {
				return faultCut
			}
			return faultNone
		})
		got, _, err := newClient(t, Options{Retries: 4}).Fetch(ctx, px.host+"/kolla/base:t", "")
		if err != nil {
			t.Fatal(err)
		}
		layers, err := got.Layers()
		if err != nil {
			t.Fatal(err)
		}
		r, err := layers[0].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if n, err := io.Copy(io.Discard, r); err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		if ranges == 0 {
			t.Error("nothing was resumed")
		}
	})
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
	eachRegistry(t, func(t *testing.T, host string) {
		px := startProxy(t, host, nil)
		p := newClient(t, Options{}).NewPublisher(PublishOptions{})
		_, err := p.Push(context.Background(), px.host+"/kolla/base", damagedImage{ociBase(t, 1000)})
		var ce *ContentError
		if !errors.As(err, &ce) || ce.Remote || !strings.Contains(ce.Hint(), "build this image again") {
			t.Errorf("got %v, want a ContentError", err)
		}
		if n := px.count("PUT ", "/uploads/"); n > 2 { // the layer and the config
			t.Errorf("%d uploads", n)
		}
	})
}

func TestPushEndsWithItsContext(t *testing.T) {
	host := startEmbedded(t, ServeOptions{}).Host()
	px := startProxy(t, host, func(r *http.Request) fault {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/kolla/a/") {
			return faultStall
		}
		return faultNone
	})
	c := newClient(t, Options{})
	p := c.NewPublisher(PublishOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	img := ociBase(t, 1000)
	errs := make(chan error, 2)
	other := testImage(t, img, 100, 1)
	go func() { _, err := p.Push(ctx, px.host+"/kolla/a", img); errs <- err }()
	for px.count("PUT ") == 0 {
		time.Sleep(time.Millisecond)
	}
	// Another image waits for the same layer; its own context lives on.
	go func() { _, err := p.Push(context.Background(), px.host+"/kolla/b", other); errs <- err }()
	time.Sleep(20 * time.Millisecond)
	px.set(nil)
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
	mustPull(t, host, "HOST/kolla/b@"+digestOf(t, other).String(), digestOf(t, other))
}
