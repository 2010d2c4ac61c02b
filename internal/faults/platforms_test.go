package faults

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/kolla-build/kolla-build/internal/faultproxy"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

// platforms are the platforms of the set. Its images only copy files, so that no emulator
// is needed.
var platforms = []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}

// TestSeveralPlatforms disturbs runs for two platforms. A tag names an index of both
// platforms, and all tags those of one set.
func TestSeveralPlatforms(t *testing.T) {
	if testing.Short() {
		t.Skip("starts builders")
	}
	testenv.Root(t)
	repetitions, seed := amount(t, 1)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := &world{buildkitd: testenv.Buildkitd(t), dir: t.TempDir(), mirror: httptest.NewServer(http.NotFoundHandler())}
	t.Cleanup(w.mirror.Close)
	w.onTmpfs(t)
	w.tool = buildTool(t, w.dir)
	for _, gen := range []string{old, new_} {
		w.writePlatformTree(t, gen)
	}
	w.writePlatformBase(t)
	tr := w.trial(t, "platforms", "")
	run := func(gen string, during func(*exec.Cmd), extra ...string) (string, error) {
		cmd := tr.command(gen, append([]string{"--platform", "linux/amd64,linux/arm64", "--timeout", "2", "--retries", "6"},
			extra...)...)
		if during == nil {
			return tr.run(cmd)
		}
		return tr.run(cmd, during)
	}
	mustRun := func(gen string, extra ...string) map[string]string {
		t.Helper()
		if out, err := run(gen, nil, extra...); err != nil {
			t.Fatalf("an undisturbed run ends with %v:\n%s", err, out)
		}
		return tr.indexes()
	}
	want := map[string]map[string]string{new_: mustRun(new_)}
	start := time.Now()
	want[old] = mustRun(old)
	w.took = time.Since(start)
	kills, published := 0, old
	other := func() string {
		if published == old {
			return new_
		}
		return old
	}
	// disturbed builds the other set.
	disturbed := func(during func(*exec.Cmd)) {
		t.Helper()
		out, err := run(other(), during, "--nocache")
		got := fmt.Sprint(tr.indexes())
		if got != fmt.Sprint(want[old]) && got != fmt.Sprint(want[new_]) {
			t.Fatalf("the tags name no set that was built: %s, not %v\n%s", got, want, out)
		}
		tr.storeIsWhole()
		if err == nil {
			published = other()
		}
	}
	for ; kills < repetitions; kills++ {
		at := tr.moment(rng)
		disturbed(func(c *exec.Cmd) {
			time.Sleep(at)
			_ = c.Process.Kill()
		})
	}
	tr.registry.Set(faultproxy.Options{Target: tr.server.Addr().String(), Seed: rng.Uint64(), Rate: 0.3,
		Max: repetitions, Stall: 3 * time.Second})
	injected := 0
	for round := 0; injected < repetitions && round < 8; round++ {
		disturbed(nil)
		injected = 0
		for _, n := range tr.registry.Injected() {
			injected += n
		}
	}
	tr.registry.Quiet()
	gen := other()
	if got := mustRun(gen); fmt.Sprint(got) != fmt.Sprint(want[gen]) {
		t.Errorf("after the faults the %s set is %v, want %v", gen, got, want[gen])
	}
	tr.nothingLeft()
	t.Logf("seed %d: %d kills and %d faults of the registry in %d runs for two platforms: nothing lost", seed,
		kills, injected, tr.runs)
}

// writePlatformTree writes templates that only copy files.
func (w *world) writePlatformTree(t *testing.T, gen string) {
	t.Helper()
	add := func(path, text string) { w.write(t, filepath.Join(gen, path), text) }
	for _, im := range images {
		from := "{{ namespace }}/{{ image_prefix }}" + im.parent + ":{{ tag }}"
		if im.parent == "" {
			from = "{{ base_image }}:{{ base_distro_tag }}"
		}
		add("tree/"+im.name+"/Dockerfile.j2", "FROM "+from+"\nCOPY data /opt/"+im.name+"/{{ base_arch }}\n")
		add("tree/"+im.name+"/data", string(noise(im.name+gen, 100_000)))
	}
	add("kolla-build.conf", "[DEFAULT]\nbase = debian\nthreads = 3\n")
}

// writePlatformBase writes a base image for each platform into a layout, as one index.
func (w *world) writePlatformBase(t *testing.T) {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, p := range platforms {
		img := testenv.Busybox(t, map[string]string{"etc/platform": p.String()})
		conf, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		conf = conf.DeepCopy()
		conf.OS, conf.Architecture = p.OS, p.Architecture
		if img, err = mutate.ConfigFile(img, conf); err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p}})
	}
	base, err := layout.Write(filepath.Join(w.dir, "busybox"), empty.Index)
	if err == nil {
		err = base.AppendIndex(index)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// indexes returns the digest of the index that each tag names, and checks that the index
// has a complete image for each platform.
func (tr *trial) indexes() map[string]string {
	tr.Helper()
	digests := map[string]string{}
	for _, im := range images {
		ref := tr.ref(im.name, ":t")
		index, err := remote.Index(ref)
		if err != nil {
			tr.Fatalf("%s: %s: %v", tr.name, ref, err)
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			tr.Fatal(err)
		}
		if len(manifest.Manifests) != len(platforms) {
			tr.Errorf("%s: %s has %d images", tr.name, ref, len(manifest.Manifests))
		}
		for _, p := range platforms {
			img, err := remote.Image(ref, remote.WithPlatform(p))
			if err != nil {
				tr.Fatalf("%s: %s for %s: %v", tr.name, ref, p, err)
			}
			if _, err := content(img); err != nil {
				tr.Errorf("%s: %s for %s is not whole: %v", tr.name, ref, p, err)
			}
		}
		d, err := index.Digest()
		if err != nil {
			tr.Fatal(err)
		}
		digests[im.name] = d.String()
	}
	return digests
}
