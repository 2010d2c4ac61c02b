package interrupt

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// registries are a registry with both states of the set, and an empty one for others.
type registries struct {
	*world
	t         *testing.T
	client    *registry.Client
	source    string // its host; the set is kolla/NAME:old and kolla/NAME:t1
	sourceDir string
	target    string
	targetDir string
	disk      string // the file system of data directories
}

func newRegistries(t *testing.T, w *world) *registries {
	t.Helper()
	r := &registries{world: w, t: t, client: registrytest.Client(t, registry.Options{}),
		sourceDir: filepath.Join(t.TempDir(), "source"),
		targetDir: testenv.Tmpfs(t, "48m"), disk: testenv.Tmpfs(t, "48m")}
	r.source = registrytest.Embedded(t, server.Options{Dir: r.sourceDir}).Host()
	r.target = registrytest.Embedded(t, server.Options{Dir: r.targetDir}).Host()
	pub := push.New(r.client, push.Options{})
	var tags []push.Tag
	for _, name := range names {
		for tag, s := range map[string]map[string]digest.Digest{"old": w.old, tag: w.new} {
			st := w.newStore
			if tag == "old" {
				st = w.oldStore
			}
			img, err := st.Image(s[name])
			if err != nil {
				t.Fatal(err)
			}
			repo := r.source + "/kolla/" + name
			if _, err := pub.Push(t.Context(), repo, img); err != nil {
				t.Fatal(err)
			}
			tags = append(tags, push.Tag{Ref: repo + ":" + tag, Digest: s[name]})
		}
	}
	if err := pub.Commit(t.Context(), tags); err != nil {
		t.Fatal(err)
	}
	return r
}

// prepare gives a namespace of the target the old state of the set.
func (r *registries) prepare(namespace string) {
	r.t.Helper()
	pub := push.New(r.client, push.Options{})
	var tags []push.Tag
	for _, name := range names {
		to := r.target + "/" + namespace + "/" + name
		if _, err := pub.Copy(r.t.Context(), r.repository(r.source+"/kolla/"+name), r.repository(to),
			r.old[name]); err != nil {
			r.t.Fatal(err)
		}
		tags = append(tags, push.Tag{Ref: to + ":" + tag, Digest: r.old[name]})
	}
	if err := pub.Commit(r.t.Context(), tags); err != nil {
		r.t.Fatal(err)
	}
}

func (r *registries) repository(name string) *registry.Repository {
	r.t.Helper()
	ref, err := imageref.ParseTag(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.client.Repository(ref)
}

// tags returns what the tags of a namespace of the target refer to.
func (r *registries) tags(namespace string) map[string]digest.Digest {
	r.t.Helper()
	found := map[string]digest.Digest{}
	for _, name := range names {
		d, err := r.client.Head(r.t.Context(), r.target+"/"+namespace+"/"+name+":"+tag)
		if err != nil {
			r.t.Fatal(err)
		}
		found[name] = d.Digest
	}
	return found
}

// finished checks that a namespace has the new state, and nothing else, and that all of it
// can be read.
func (r *registries) finished(name, namespace string) {
	r.t.Helper()
	if got := r.tags(namespace); !maps.Equal(got, r.new) {
		r.t.Errorf("%s, repeated: the tags refer to %v, want %v", name, got, r.new)
	}
	if n := strings.Count(registrytest.Tags(r.t, r.client, r.target), namespace+"/"); n != len(names) {
		r.t.Errorf("%s, repeated: %d tags, want %d", name, n, len(names))
	}
	for _, name := range names {
		img, _, err := r.client.Fetch(r.t.Context(), r.target+"/"+namespace+"/"+name+":"+tag, "linux/amd64")
		if err != nil {
			r.t.Error(err)
			continue
		}
		registrytest.ReadAll(r.t, img)
	}
}

// registryKinds are the ways to interrupt a client of the target when it sends a request.
var registryKinds = []struct {
	name string
	// interrupt returns the fault of the request, and undo removes its effects.
	interrupt func(r *registries, at int, run *run, dataDir string) (fault registrytest.Fault, undo func())
}{
	{"killed", func(_ *registries, _ int, run *run, _ string) (registrytest.Fault, func()) {
		_ = run.cmd.Process.Kill()
		return registrytest.Reset, nil
	}},
	{"Ctrl-C", func(_ *registries, _ int, run *run, _ string) (registrytest.Fault, func()) {
		_ = run.cmd.Process.Signal(syscall.SIGINT)
		return registrytest.None, nil
	}},
	{"disk of the registry full", func(r *registries, at int, _ *run, _ string) (registrytest.Fault, func()) {
		ballast := fillUp(r.t, r.targetDir, int64(at%3)<<12)
		return registrytest.None, func() { remove(r.t, ballast) }
	}},
	{"own disk full", func(r *registries, _ int, _ *run, _ string) (registrytest.Fault, func()) {
		ballast := fillUp(r.t, r.disk, 0)
		return registrytest.None, func() { remove(r.t, ballast) }
	}},
	{"source gone", func(r *registries, _ int, _ *run, _ string) (registrytest.Fault, func()) {
		rename(r.t, r.sourceDir, r.sourceDir+".away")
		return registrytest.None, func() { rename(r.t, r.sourceDir+".away", r.sourceDir) }
	}},
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Error(err)
	}
}

// testCopy interrupts copies to a registry that has an older state of the set.
func testCopy(t *testing.T, w *world) {
	r := newRegistries(t, w)
	r.interrupted(times(t, 5), len(registryKinds), func(proxy, namespace string) []string {
		return []string{"copy", r.source + "/kolla:" + tag, proxy + "/" + namespace}
	})
}

// testPush interrupts load --push in the same way. The names in the store change after the
// tags.
func testPush(t *testing.T, w *world) {
	r := newRegistries(t, w)
	r.interrupted(times(t, 4), len(registryKinds)-1, func(proxy, namespace string) []string {
		return []string{"load", r.newFile, "--replace", "--push", "--registry", proxy, "-n", namespace}
	})
}

// interrupted runs a command n times, each of which is interrupted at another request, and
// then repeated.
func (r *registries) interrupted(n, kinds int, command func(proxy, namespace string) []string) {
	r.t.Helper()
	args := func(proxy *registrytest.Proxy, namespace, dataDir string) []string {
		return append(command(proxy.Host, namespace), "--data-dir", dataDir, "--threads", "2")
	}
	// An undisturbed run counts the requests.
	quiet := registrytest.StartProxy(r.t, r.target, nil)
	dataDir := filepath.Join(r.disk, "data")
	r.prepare("quiet")
	r.must(r.t, args(quiet, "quiet", dataDir)...)
	r.finished("undisturbed", "quiet")
	requests := quiet.Count("")
	want := list(r.t, dataDir)
	remove(r.t, dataDir)

	count := tally{}
	for i := range n {
		kind := registryKinds[i%kinds]
		at := 1 + i*requests/n
		name := fmt.Sprintf("%d, %s at request %d of %d", i, kind.name, at, requests)
		namespace := fmt.Sprintf("site%d", i)
		r.prepare(namespace)
		proxy := registrytest.StartProxy(r.t, r.target, nil)
		var mu sync.Mutex
		var undo func()
		seen, interrupted := 0, false
		started := make(chan *run, 1)
		proxy.Set(func(*http.Request) registrytest.Fault {
			mu.Lock()
			defer mu.Unlock()
			if seen++; seen != at {
				return registrytest.None
			}
			process := <-started
			interrupted = true
			var fault registrytest.Fault
			fault, undo = kind.interrupt(r, at, process, dataDir)
			return fault
		})
		process := r.start(r.t, args(proxy, namespace, dataDir)...)
		started <- process
		status := process.wait()
		proxy.Set(nil) // waits for a request that is being looked at
		mu.Lock()
		if undo != nil {
			undo()
		}
		mu.Unlock()
		journals, _ := filepath.Glob(filepath.Join(dataDir, "publications", "commit-*"))
		got := r.tags(namespace)
		switch {
		case status == 0:
			count[kind.name+" too late"]++
		case !interrupted:
			r.t.Errorf("%s: exit status %d\n%s", name, status, process.out.String())
		case !maps.Equal(got, r.old) && !maps.Equal(got, r.new) && len(journals) == 0:
			r.t.Errorf("%s: the tags refer to %v, and no journal knows:\n%s", name, got, process.out.String())
		default:
			count[kind.name]++
		}
		if len(journals) > 0 {
			count["journals"]++
		}
		// Through the same proxy, whose name is in the journal.
		r.must(r.t, args(proxy, namespace, dataDir)...)
		r.finished(name, namespace)
		if leftover := list(r.t, dataDir); leftover != want {
			r.t.Errorf("%s, repeated: the data directory has\n%s\nand undisturbed\n%s", name, leftover, want)
		}
		remove(r.t, dataDir)
		proxy.Close()
		if r.t.Failed() {
			break
		}
	}
	r.t.Logf("%d runs of %d requests: %s", n, requests, count)
	if count["killed"] == 0 {
		r.t.Errorf("too few interruptions: %s", count)
	}
}
