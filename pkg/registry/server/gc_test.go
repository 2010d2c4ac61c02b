package server_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// age makes all content of a registry look unused for a time.
func age(t *testing.T, dir string, by time.Duration) {
	t.Helper()
	then := time.Now().Add(-by)
	err := filepath.WalkDir(filepath.Join(dir, "docker"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Chtimes(path, then, then)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// garbage fills a registry's directory with images that have no tag and are old.
func garbage(t *testing.T, dir string, n int) []v1.Image {
	t.Helper()
	s := registrytest.Embedded(t, server.Options{Dir: dir})
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	base := registrytest.Base(t, 3000)
	var images []v1.Image
	for i := range n {
		img := registrytest.Image(t, base, 2000, 1)
		images = append(images, img)
		if _, err := p.Push(t.Context(), fmt.Sprintf("%s/kolla/svc-%d", s.Host(), i%10), img); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	age(t, dir, 3*time.Hour)
	return images
}

// TestCollectWhileServing has 100 clients push images whose blobs are garbage already,
// through a proxy that spoils requests, and publish a set, while garbage is collected
// without a pause. Content that was reported as stored must exist.
func TestCollectWhileServing(t *testing.T) {
	testenv.Slow(t)
	const clients = 100
	dir := t.TempDir()
	old := garbage(t, dir, 60)
	var log syncBuffer
	s := registrytest.Embedded(t, server.Options{Dir: dir, Log: &log})
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(1, 2))
	proxy := registrytest.StartProxy(t, s.Host(), func(*http.Request) registrytest.Fault {
		mu.Lock()
		defer mu.Unlock()
		faults := []registrytest.Fault{registrytest.Reset, registrytest.Status429, registrytest.Status503,
			registrytest.Truncate, registrytest.Cut, registrytest.Lost}
		if rnd.IntN(12) > 0 {
			return registrytest.None
		}
		return faults[rnd.IntN(len(faults))]
	})

	stop := make(chan struct{})
	var freed, runs int64
	var collector sync.WaitGroup
	collector.Go(func() { freed, runs = collectUntil(t, dir, stop) })

	var tagged sync.Map // reference without the host: digest
	var all sync.WaitGroup
	options := registry.Options{Retries: 40, BaseDelay: time.Millisecond, Jobs: 2}
	for i := range clients {
		img := old[i%40] // the last 20 stay garbage
		if i%2 == 1 {
			img = registrytest.Image(t, img, 500, 1)
		}
		p := push.New(registrytest.Client(t, options), push.Options{})
		all.Go(func() {
			repo := fmt.Sprintf("/kolla/svc-%d", i%10)
			tag := fmt.Sprintf("%s:c%d", repo, i)
			d, err := p.Push(t.Context(), proxy.Host+repo, img)
			if err == nil {
				err = p.Commit(t.Context(), []push.Tag{{Ref: proxy.Host + tag, Digest: d.Digest}})
			}
			if err != nil {
				t.Errorf("client %d: %v", i, err)
				return
			}
			tagged.Store(tag, d.Digest)
		})
	}
	p := push.New(registrytest.Client(t, options), push.Options{Journal: t.TempDir()})
	set := make([]v1.Image, 20)
	for i := range set {
		set[i] = registrytest.Image(t, old[i], 700, 1)
	}
	all.Go(func() {
		var tags []push.Tag
		for i, img := range set {
			repo := fmt.Sprintf("/kolla/set-%d", i)
			d, err := p.Push(t.Context(), proxy.Host+repo, img)
			if err != nil {
				t.Errorf("the set: %v", err)
				return
			}
			tags = append(tags, push.Tag{Ref: proxy.Host + repo + ":released", Digest: d.Digest})
			tagged.Store(repo+":released", d.Digest)
		}
		if err := p.Commit(t.Context(), tags); err != nil {
			t.Errorf("the set: %v", err)
		}
	})
	all.Wait()
	close(stop)
	collector.Wait()
	if t.Failed() {
		t.Logf("faults: %s\n%s", proxy.Faults(), log.String())
	}

	n := 0
	tagged.Range(func(tag, d any) bool {
		registrytest.MustPull(t, s.Host(), "HOST"+tag.(string), d.(digest.Digest))
		n++
		return true
	})
	if n != clients+len(set) {
		t.Errorf("%d tags are complete, want %d", n, clients+len(set))
	}
	client := registrytest.Client(t, registry.Options{})
	checkTagsHaveManifests(t, client, s.Host())
	for _, img := range old[40:] {
		for i := range 10 {
			var missing *registry.NotFoundError
			name := fmt.Sprintf("%s/kolla/svc-%d@%s", s.Host(), i, registrytest.Digest(t, img))
			if _, err := client.Head(t.Context(), name); !errors.As(err, &missing) {
				t.Errorf("%s is garbage, and still there (%v)", name, err)
			}
		}
	}
	if freed < 20*2000 {
		t.Errorf("freed %d bytes in %d runs", freed, runs)
	}
	t.Logf("%d runs freed %d bytes; faults: %s", runs, freed, proxy.Faults())
}

// collectUntil collects the garbage of a running registry again and again until stop is closed, and
// returns the bytes that were freed and the number of runs.
func collectUntil(t *testing.T, dir string, stop <-chan struct{}) (freed, runs int64) {
	for {
		result, err := server.CollectRunning(context.Background(), dir, server.GCOptions{Untagged: true, Unused: time.Hour})
		if err != nil {
			t.Errorf("collecting garbage: %v", err)
			return freed, runs
		}
		freed, runs = freed+result.Freed, runs+1
		select {
		case <-stop:
			return freed, runs
		default:
		}
	}
}

// checkTagsHaveManifests looks up each tag of the repositories svc-0 to svc-9.
func checkTagsHaveManifests(t *testing.T, client *registry.Client, host string) {
	t.Helper()
	for i := range 10 {
		tags, err := client.Tags(t.Context(), fmt.Sprintf("%s/kolla/svc-%d", host, i))
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range tags {
			if _, err := client.Head(t.Context(), fmt.Sprintf("%s/kolla/svc-%d:%s", host, i, tag)); err != nil {
				t.Errorf("a tag without its manifest: %v", err)
			}
		}
	}
}

// TestCollectKeepsWhatIsInUse checks that content which a client has asked for, without a
// manifest or tag yet, outlives a collection and a restart.
func TestCollectKeepsWhatIsInUse(t *testing.T) {
	testenv.Slow(t)
	dir := t.TempDir()
	old := garbage(t, dir, 4)
	s := registrytest.Embedded(t, server.Options{Dir: dir})
	client := registrytest.Client(t, registry.Options{})
	name := func(i int) string {
		return fmt.Sprintf("%s/kolla/svc-%d@%s", s.Host(), i, registrytest.Digest(t, old[i]))
	}
	// A client looks at a manifest, another at a blob.
	if _, err := client.Head(t.Context(), name(0)); err != nil {
		t.Fatal(err)
	}
	layers, err := old[1].Layers()
	if err != nil {
		t.Fatal(err)
	}
	last, err := layers[len(layers)-1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	blob := fmt.Sprintf("/v2/kolla/svc-1/blobs/%s", last)
	if status, _ := request(t, http.MethodHead, "http://"+s.Host()+blob, nil, nil); status != http.StatusOK {
		t.Fatalf("looking at a blob: status %d", status)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = registrytest.Embedded(t, server.Options{Dir: dir})
	if _, err := s.Collect(t.Context(), server.GCOptions{Untagged: true, Unused: time.Second}); err == nil {
		t.Error("a running registry collects what was used a moment ago")
	}
	result, err := s.Collect(t.Context(), server.GCOptions{Untagged: true, Unused: time.Hour})
	if err != nil || result.Manifests != 3 {
		t.Fatalf("collected %+v, %v", result, err)
	}
	registrytest.MustPull(t, s.Host(), fmt.Sprintf("HOST/kolla/svc-0@%s", registrytest.Digest(t, old[0])),
		registrytest.Digest(t, old[0]))
	if status, _ := request(t, http.MethodHead, "http://"+s.Host()+blob, nil, nil); status != http.StatusOK {
		t.Errorf("the blob that was looked at: status %d", status)
	}
	var missing *registry.NotFoundError
	if _, err := client.Head(t.Context(), name(2)); !errors.As(err, &missing) {
		t.Errorf("garbage is still there: %v", err)
	}
}

// TestCollectRunningNeedsARegistry checks that a directory without a running registry is
// an error, not a wait.
func TestCollectRunningNeedsARegistry(t *testing.T) {
	var dirErr *server.DirError
	if _, err := server.CollectRunning(t.Context(), t.TempDir(), server.GCOptions{}); !errors.As(err, &dirErr) {
		t.Errorf("no registry: %v", err)
	}
}

// TestRequestedDigestsAreNotRemembered checks that memory does not grow with the requests
// of clients.
func TestRequestedDigestsAreNotRemembered(t *testing.T) {
	testenv.Slow(t)
	s := registrytest.Embedded(t, server.Options{})
	const n = 200
	for i := range n {
		d := digest.FromString(fmt.Sprint(i))
		for _, path := range []string{"blobs", "manifests"} {
			if status, _ := request(t, http.MethodHead, fmt.Sprintf("http://%s/v2/kolla/base/%s/%s", s.Host(), path, d), nil,
				nil); status != http.StatusNotFound {
				t.Fatalf("status %d", status)
			}
		}
		if status, _ := request(t, http.MethodPost, fmt.Sprintf("http://%s/v2/kolla/base/blobs/uploads/?mount=%s&from=kolla/other",
			s.Host(), d), nil, nil); status != http.StatusAccepted {
			t.Fatalf("mount: status %d", status)
		}
	}
	if got := s.Remembered(); got > 0 {
		t.Errorf("%d of %d digests are remembered", got, 3*n)
	}
}

// TestControlSocketIsPrivate checks that the mode of the socket does not depend on the
// umask.
func TestControlSocketIsPrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := t.TempDir()
	registrytest.Embedded(t, server.Options{Dir: dir})
	info, err := os.Stat(filepath.Join(dir, server.ControlSocket))
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v (%v)", info.Mode(), err)
	}
}
