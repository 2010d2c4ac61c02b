package push_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	digest "github.com/opencontainers/go-digest"
)

// twoSets pushes two sets of n images, commits the first, and returns the tags
// of both.
func twoSets(t *testing.T, p *push.Publisher, host string, n int) (before, after []push.Tag) {
	t.Helper()
	old, img := registrytest.Base(t, 500), registrytest.Base(t, 600)
	for i := range n {
		repo := fmt.Sprintf("%s/kolla/image-%d", host, i)
		for _, x := range []v1.Image{old, img} {
			if _, err := p.Push(context.Background(), repo, x); err != nil {
				t.Fatal(err)
			}
		}
		before = append(before, push.Tag{Ref: repo + ":t", Digest: registrytest.Digest(t, old)})
		after = append(after, push.Tag{Ref: repo + ":t", Digest: registrytest.Digest(t, img)})
	}
	if err := p.Commit(context.Background(), before); err != nil {
		t.Fatal(err)
	}
	return before, after
}

// mustReferTo checks the tags in the registry itself.
func mustReferTo(t *testing.T, host string, tags []push.Tag) {
	t.Helper()
	c := registrytest.Client(t, registry.Options{})
	for _, tag := range tags {
		ref := host + tag.Ref[strings.IndexByte(tag.Ref, '/'):]
		d, err := c.Head(context.Background(), ref)
		if err != nil || d.Digest != tag.Digest {
			t.Errorf("%s refers to %s (%v), expected %s", ref, d.Digest, err, tag.Digest)
		}
	}
}

func mustBeEmpty(t *testing.T, journal string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(journal, "commit-*"))
	if err != nil || len(files) > 0 {
		t.Errorf("left in the journal: %v (%v)", files, err)
	}
}

func isTagPut(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/t")
}

// If a registry refuses any tag in any way, every tag keeps its manifest.
func TestCommitRollsBack(t *testing.T) {
	testenv.Slow(t)
	registrytest.Each(t, func(t *testing.T, host string) {
		px := registrytest.StartProxy(t, host, nil)
		journal := t.TempDir()
		p := push.New(registrytest.Client(t, registry.Options{Retries: 2, Jobs: 2}), push.Options{Journal: journal})
		// Only the stall waits for this limit. Requests that nothing delays must not reach it
		// on a busy machine.
		impatient := push.New(registrytest.Client(t, registry.Options{Retries: -1, Jobs: 2, Timeout: 2 * time.Second}),
			push.Options{Journal: journal})
		before, after := twoSets(t, p, px.Host, 8)
		restored := 0
		for _, nth := range []int{0, 3, 7} {
			for _, f := range []registrytest.Fault{registrytest.Status503, registrytest.Reset,
				registrytest.Lost, registrytest.Stall} {
				if f == registrytest.Stall && nth != 3 {
					continue // each takes the whole limit
				}
				puts, bad := 0, ""
				px.Set(func(r *http.Request) registrytest.Fault {
					if isTagPut(r) {
						if puts == nth {
							bad = r.URL.Path
						}
						puts++
					}
					// This tag is always refused; the others can be restored.
					if r.URL.Path == bad && isTagPut(r) {
						return f
					}
					return registrytest.None
				})
				by := p
				if f == registrytest.Stall {
					by = impatient
				}
				err := by.Commit(context.Background(), after)
				px.Set(nil)
				var ce *push.CommitError
				if !errors.As(err, &ce) || len(ce.Failed) != 1 {
					t.Fatalf("%s at tag %d: %v", f, nth, err)
				}
				if len(ce.Stuck) > 0 { // with registrytest.Lost the restoring loses its answer too, having worked
					if f != registrytest.Lost {
						t.Errorf("%s at tag %d: %v", f, nth, err)
					}
					if _, err := p.Recover(context.Background(), []string{after[0].Ref}); err != nil {
						t.Fatal(err)
					}
				}
				restored += len(ce.Restored)
				mustReferTo(t, host, before)
				mustBeEmpty(t, journal)
			}
		}
		if restored == 0 {
			t.Error("no tag had to be restored: the test tests nothing")
		}
		if err := p.Commit(context.Background(), after); err != nil {
			t.Fatal(err)
		}
		mustReferTo(t, host, after)
	})
}

// A tag that did not exist does not exist after a failure, and other tags of the same
// image stay.
func TestRollBackOfNewTags(t *testing.T) {
	testenv.Slow(t)
	registrytest.Each(t, func(t *testing.T, host string) {
		ctx := context.Background()
		px := registrytest.StartProxy(t, host, nil)
		p := push.New(registrytest.Client(t, registry.Options{Retries: 2, Jobs: 1}), push.Options{})
		before, after := twoSets(t, p, px.Host, 4)
		var tags []push.Tag
		for _, tag := range after {
			tags = append(tags, push.Tag{Ref: strings.TrimSuffix(tag.Ref, ":t") + ":dated", Digest: before[0].Digest}, tag)
		}
		px.Set(func(r *http.Request) registrytest.Fault {
			if isTagPut(r) && strings.Contains(r.URL.Path, "image-3") {
				return registrytest.Status503
			}
			return registrytest.None
		})
		var ce *push.CommitError
		if err := p.Commit(ctx, tags); !errors.As(err, &ce) || len(ce.Stuck) > 0 || len(ce.Restored) < 3 {
			t.Fatalf("got %v", err)
		}
		mustReferTo(t, host, before)
		for _, tag := range before {
			tags, err := registrytest.Client(t, registry.Options{}).Tags(ctx, strings.TrimSuffix(tag.Ref, ":t"))
			if err != nil || len(tags) != 1 || tags[0] != "t" {
				t.Errorf("tags %v (%v)", tags, err)
			}
			registrytest.MustPull(t, host, "HOST"+tag.Ref[strings.IndexByte(tag.Ref, '/'):], tag.Digest)
		}
	})
}

// If the registry cannot be reached while tags are restored, the error names those that
// are stuck, and the next publication restores them.
func TestStuckTagsAreNamedAndRecovered(t *testing.T) {
	host := registrytest.Embedded(t, server.Options{}).Host()
	px := registrytest.StartProxy(t, host, nil)
	journal := t.TempDir()
	p := push.New(registrytest.Client(t, registry.Options{Retries: 2}), push.Options{Journal: journal})
	before, after := twoSets(t, p, px.Host, 6)
	puts := 0
	px.Set(func(r *http.Request) registrytest.Fault {
		if isTagPut(r) {
			puts++
		}
		if puts > 3 {
			return registrytest.Reset
		}
		return registrytest.None
	})
	var ce *push.CommitError
	err := p.Commit(context.Background(), after)
	if !errors.As(err, &ce) || len(ce.Stuck) == 0 || ce.Journal == "" || !strings.Contains(ce.Hint(), ce.Journal) {
		t.Fatalf("got %v", err)
	}
	for ref := range ce.Stuck {
		if len(ce.Stuck) < 5 && !strings.Contains(err.Error(), ref) {
			t.Errorf("the error does not name %s:\n%v", ref, err)
		}
	}
	px.Set(nil)
	p = push.New(registrytest.Client(t, registry.Options{}), push.Options{Journal: journal})
	if done, err := p.Recover(context.Background(), []string{"elsewhere.example/x/y:z"}); err != nil || len(done) != 0 {
		t.Errorf("recovering for another registry: %q, %v", done, err)
	}
	done, err := p.Recover(context.Background(), []string{after[0].Ref})
	if err != nil || len(done) != 1 || !strings.Contains(done[0], "were restored") {
		t.Fatalf("recovering: %q, %v", done, err)
	}
	mustReferTo(t, host, before)
	mustBeEmpty(t, journal)
}

// Ctrl-C while tags are updated leaves every tag as it was.
func TestInterruptedCommit(t *testing.T) {
	testenv.Slow(t)
	registrytest.Each(t, func(t *testing.T, host string) {
		px := registrytest.StartProxy(t, host, nil)
		journal := t.TempDir()
		p := push.New(registrytest.Client(t, registry.Options{Jobs: 1}), push.Options{Journal: journal})
		before, after := twoSets(t, p, px.Host, 6)
		for nth := range 6 {
			ctx, cancel := context.WithCancel(context.Background())
			puts := 0
			px.Set(func(r *http.Request) registrytest.Fault {
				if isTagPut(r) {
					if puts++; puts > nth {
						cancel()
					}
				}
				return registrytest.None
			})
			err := p.Commit(ctx, after)
			cancel()
			var ce *push.CommitError
			if !errors.As(err, &ce) || len(ce.Stuck) > 0 {
				t.Fatalf("interrupted at tag %d: %v", nth, err)
			}
			mustReferTo(t, host, before)
			mustBeEmpty(t, journal)
		}
	})
}

// Two publishers on different machines update the same names at the same time: in any
// order of their requests, one of the sets is completely published at the end.
func TestTwoPublishersAtOnce(t *testing.T) {
	testenv.Slow(t)
	host := registrytest.Embedded(t, server.Options{}).Host()
	shared := t.TempDir()
	// Requests that take a while collide more often than those on a quiet machine.
	slow := registrytest.StartProxy(t, host, nil)
	slow.Delay = 5 * time.Millisecond
	for name, journals := range map[string][2]string{
		"two machines": {t.TempDir(), t.TempDir()},
		"one machine":  {shared, shared},
	} {
		t.Run(name, func(t *testing.T) {
			var pubs [2]*push.Publisher
			var sets [2][]push.Tag
			for i := range pubs {
				pubs[i] = push.New(registrytest.Client(t, registry.Options{Jobs: 2}), push.Options{Journal: journals[i]})
				_, sets[i] = twoSets(t, pubs[i], slow.Host, 12)
			}
			rounds := 5
			if testing.Short() {
				rounds = 1
			}
			for range rounds {
				var errs [2]error
				var wg sync.WaitGroup
				for i := range pubs {
					wg.Go(func() {
						time.Sleep(rand.N(3 * time.Millisecond))
						errs[i] = pubs[i].Commit(context.Background(), sets[i])
					})
				}
				wg.Wait()
				if errs[0] != nil || errs[1] != nil {
					t.Fatalf("%v\n%v", errs[0], errs[1])
				}
				d, err := registrytest.Client(t, registry.Options{}).Head(context.Background(), sets[0][0].Ref)
				if err != nil {
					t.Fatal(err)
				}
				winner := sets[0]
				if d.Digest == sets[1][0].Digest {
					winner = sets[1]
				}
				mustReferTo(t, host, winner)
			}
			mustBeEmpty(t, journals[0])
			mustBeEmpty(t, journals[1])
		})
	}
}

// A publisher that repeatedly fails to keep a tag reports that and leaves the tag to the
// other one.
func TestCommitAgainstARival(t *testing.T) {
	testenv.Slow(t)
	host := registrytest.Embedded(t, server.Options{}).Host()
	px := registrytest.StartProxy(t, host, nil)
	journal := t.TempDir()
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{Journal: journal})
	before, after := twoSets(t, p, px.Host, 2)
	theirs := push.Tag{Ref: host + before[0].Ref[strings.IndexByte(before[0].Ref, '/'):], Digest: before[0].Digest}
	rival := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	px.Set(func(r *http.Request) registrytest.Fault {
		if r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "image-0/manifests/t") {
			if err := rival.Commit(context.Background(), []push.Tag{theirs}); err != nil {
				t.Error(err)
			}
		}
		return registrytest.None
	})
	err := p.Commit(context.Background(), after)
	px.Set(nil)
	var conflict *push.ConflictError
	var ce *push.CommitError
	if !errors.As(err, &conflict) || conflict.Tags != 1 || !errors.As(err, &ce) || len(ce.Stuck) > 0 {
		t.Fatalf("got %v", err)
	}
	mustReferTo(t, host, before)
	mustBeEmpty(t, journal)
}

// The process that is killed while tags are updated is this test itself, run again.
func TestKilledCommitIsFinished(t *testing.T) {
	testenv.Slow(t)
	if host := os.Getenv("REGISTRY_TEST_COMMIT"); host != "" {
		commitUntilKilled(host)
		return
	}
	registrytest.Each(t, func(t *testing.T, host string) {
		for _, removed := range []bool{false, true} {
			t.Run(fmt.Sprintf("content gone %v", removed), func(t *testing.T) {
				journal := t.TempDir()
				p := push.New(registrytest.Client(t, registry.Options{}), push.Options{Journal: journal})
				before, after := twoSets(t, p, host, 8)
				killMidway(t, host, journal, after)
				if removed {
					// The registry has collected the unreferenced content.
					c := registrytest.Client(t, registry.Options{})
					for _, tag := range after {
						r, err := imageref.Parse(tag.Ref)
						if err != nil {
							t.Fatal(err)
						}
						if d, err := c.Head(context.Background(), tag.Ref); err != nil || d.Digest == tag.Digest {
							continue
						}
						if err := c.Repository(r).DeleteManifest(context.Background(), tag.Digest); err != nil {
							t.Fatal(err)
						}
					}
				}
				p = push.New(registrytest.Client(t, registry.Options{}), push.Options{Journal: journal})
				done, err := p.Recover(context.Background(), []string{after[0].Ref})
				if err != nil || len(done) != 1 {
					t.Fatalf("recovering: %q, %v", done, err)
				}
				t.Log(done[0])
				if removed {
					mustReferTo(t, host, before)
				} else {
					mustReferTo(t, host, after)
				}
				mustBeEmpty(t, journal)
			})
		}
	})
}

// killMidway has another process commit tags, and kills it when some are updated.
func killMidway(t *testing.T, host, journal string, tags []push.Tag) {
	t.Helper()
	px := registrytest.StartProxy(t, host, nil)
	reached := make(chan struct{})
	puts := 0
	px.Set(func(r *http.Request) registrytest.Fault {
		if !isTagPut(r) {
			return registrytest.None
		}
		if puts++; puts <= 3 {
			return registrytest.None
		}
		if puts == 5 { // two are in flight at once, so the third has been answered
			close(reached)
		}
		return registrytest.Stall
	})
	cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledCommitIsFinished$")
	cmd.Env = append(os.Environ(), "REGISTRY_TEST_COMMIT="+px.Host, "REGISTRY_TEST_JOURNAL="+journal,
		"REGISTRY_TEST_DIGEST="+tags[0].Digest.String())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-reached:
	case <-time.After(30 * time.Second):
		t.Error("the other process updates no tags")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	// The journal has the proxy's address, which is replaced by the registry's.
	px.Set(nil)
	files, err := filepath.Glob(filepath.Join(journal, "commit-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("journals: %v (%v)", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err == nil {
		err = os.WriteFile(files[0], []byte(strings.ReplaceAll(string(b), px.Host, host)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func commitUntilKilled(host string) {
	c, err := registry.New(context.Background(), registry.Options{Jobs: 1, BaseDelay: time.Millisecond})
	if err != nil {
		panic(err)
	}
	h, err := digest.Parse(os.Getenv("REGISTRY_TEST_DIGEST"))
	if err != nil {
		panic(err)
	}
	var tags []push.Tag
	for i := range 8 {
		tags = append(tags, push.Tag{Ref: fmt.Sprintf("%s/kolla/image-%d:t", host, i), Digest: h})
	}
	p := push.New(c, push.Options{Journal: os.Getenv("REGISTRY_TEST_JOURNAL")})
	fmt.Println(p.Commit(context.Background(), tags))
}

// Later publications by others are not changed by the recovery of an interrupted
// commit.
func TestRecoverLeavesLaterPublications(t *testing.T) {
	host := registrytest.Embedded(t, server.Options{}).Host()
	journal := t.TempDir()
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{Journal: journal})
	_, after := twoSets(t, p, host, 8)
	killMidway(t, host, journal, after)
	other := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	_, later := twoSets(t, other, host, 3)
	if err := other.Commit(context.Background(), later); err != nil {
		t.Fatal(err)
	}
	var current []push.Tag
	for _, tag := range after {
		d, err := registrytest.Client(t, registry.Options{}).Head(context.Background(), tag.Ref)
		if err != nil {
			t.Fatal(err)
		}
		current = append(current, push.Tag{Ref: tag.Ref, Digest: d.Digest})
	}
	done, err := p.Recover(context.Background(), []string{after[0].Ref})
	if err != nil || len(done) != 1 || !strings.Contains(done[0], "nothing was changed") {
		t.Fatalf("recovering: %q, %v", done, err)
	}
	mustReferTo(t, host, current)
	mustBeEmpty(t, journal)
}

func TestJournalThatCannotBeRead(t *testing.T) {
	journal := t.TempDir()
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{Journal: journal})
	for _, text := range []string{"", "{", `{"version":2}`} {
		path := filepath.Join(journal, "commit-1.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		var je *push.JournalError
		if _, err := p.Recover(context.Background(), []string{"localhost:1/a/b:c"}); !errors.As(err, &je) ||
			je.Path != path || je.Hint() == "" {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
