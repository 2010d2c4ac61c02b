package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// ociBase is a small image with a config that inspection can find again.
func ociBase(t testing.TB, size int64) v1.Image {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{
		OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: "nova", Entrypoint: []string{"dumb-init", "--"}, Cmd: []string{"kolla_start"},
			Env: []string{"LANG=en_US.UTF-8"}, Labels: map[string]string{"kolla_version": "21.0.0"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return testImage(t, img, size, 1)
}

func TestPushThenCommit(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		ctx := context.Background()
		c := newClient(t, Options{})
		p := c.NewPublisher(PublishOptions{})
		base := ociBase(t, 20_000)
		child := testImage(t, base, 10_000, 2)
		names := imageref.Naming{Registry: host, Namespace: "team/kolla", Prefix: "debian-", Tag: "2026.1"}

		d, err := p.Push(ctx, names.Repository("base"), base)
		if err != nil {
			t.Fatal(err)
		}
		dc, err := p.Push(ctx, names.Repository("nova-api"), child)
		if err != nil {
			t.Fatal(err)
		}
		var nf *NotFoundError
		if _, err := c.Head(ctx, names.Reference("base")); !errors.As(err, &nf) {
			t.Fatalf("before the commit the tag gives %v, want a NotFoundError", err)
		}
		tags := []Tag{
			{names.Reference("base"), d.Digest}, {names.Reference("nova-api"), dc.Digest},
			{names.Repository("base") + ":nightly", d.Digest}, {names.Repository("nova-api") + ":nightly", dc.Digest},
		}
		if err := p.Commit(ctx, tags); err != nil {
			t.Fatal(err)
		}
		for _, tag := range tags {
			got, err := c.Head(ctx, tag.Ref)
			if err != nil || got.Digest != tag.Digest {
				t.Errorf("%s is %s (%v), want %s", tag.Ref, got.Digest, err, tag.Digest)
			}
			mustPull(t, host, tag.Ref, tag.Digest)
		}
		// base: 1 layer and a config sent; child: 1 mounted, 2 and a config sent.
		if s := p.Stats(); s.Uploaded != 5 || s.Mounted != 1 || s.Manifests != 2 || s.Tags != 4 || s.Retried != 0 {
			t.Errorf("statistics %+v", s)
		}

		// The same again in a new run moves no byte.
		again := c.NewPublisher(PublishOptions{})
		if _, err := again.Push(ctx, names.Repository("nova-api"), child); err != nil {
			t.Fatal(err)
		}
		if s := again.Stats(); s.Uploaded+s.Mounted+s.Manifests != 0 || s.Unchanged != 1 {
			t.Errorf("pushing again: %+v", s)
		}
		// A new image on the parent that is there mounts the parent's layers.
		other := testImage(t, base, 5_000, 1)
		if _, err := again.Push(ctx, names.Repository("base"), base); err != nil {
			t.Fatal(err)
		}
		if _, err := again.Push(ctx, names.Repository("glance-api"), other); err != nil {
			t.Fatal(err)
		}
		if s := again.Stats(); s.Uploaded != 2 || s.Mounted != 1 {
			t.Errorf("pushing a sibling: %+v", s)
		}
	})
}

// Tools that are not ours must be able to read what was pushed.
func TestForeignToolsRead(t *testing.T) {
	crane := buildCrane(t)
	eachRegistry(t, func(t *testing.T, host string) {
		ctx := context.Background()
		img := testImage(t, ociBase(t, 1000), 1000, 1)
		p := newClient(t, Options{}).NewPublisher(PublishOptions{})
		d, err := p.Push(ctx, host+"/kolla/base", img)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(ctx, []Tag{{host + "/kolla/base:t", d.Digest}}); err != nil {
			t.Fatal(err)
		}
		t.Run("skopeo", func(t *testing.T) {
			skopeo := testenv.Program(t, "skopeo", "skopeo")
			out := runTool(t, skopeo, "inspect", "--tls-verify=false", "docker://"+host+"/kolla/base:t")
			var got struct {
				Digest string
				Labels map[string]string
				Layers []string
			}
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if got.Digest != d.Digest.String() || got.Labels["kolla_version"] != "21.0.0" || len(got.Layers) != 2 {
				t.Errorf("skopeo sees %+v", got)
			}
			runTool(t, skopeo, "copy", "--src-tls-verify=false", "docker://"+host+"/kolla/base:t", "oci:"+t.TempDir()+":t")
		})
		t.Run("crane", func(t *testing.T) {
			if got := strings.TrimSpace(string(runTool(t, crane, "digest", host+"/kolla/base:t"))); got != d.Digest.String() {
				t.Errorf("crane digest: %s, want %s", got, d.Digest)
			}
			var cf v1.ConfigFile
			if err := json.Unmarshal(runTool(t, crane, "config", host+"/kolla/base:t"), &cf); err != nil {
				t.Fatal(err)
			}
			if cf.Config.User != "nova" || strings.Join(cf.Config.Cmd, " ") != "kolla_start" {
				t.Errorf("crane config: %+v", cf.Config)
			}
			runTool(t, crane, "validate", "--remote", host+"/kolla/base:t")
			runTool(t, crane, "pull", host+"/kolla/base:t", t.TempDir()+"/x.tar")
		})
	})
}

// buildCrane builds the crane that go.mod pins.
func buildCrane(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "tool", "-n", "crane").CombinedOutput()
	if err != nil {
		t.Fatalf("go tool -n crane: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func runTool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, stderr.String())
	}
	return out
}

// Fifty images on one base, pushed at the same time: the base goes up once.
func TestBaseLayerGoesUpOnce(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		ctx := context.Background()
		px := startProxy(t, host, nil)
		c := newClient(t, Options{})
		var mu sync.Mutex
		final := map[BlobState]int{}
		p := c.NewPublisher(PublishOptions{Progress: func(pr Progress) {
			mu.Lock()
			defer mu.Unlock()
			if pr.State != BlobUploading {
				final[pr.State]++
				if pr.Done != pr.Size {
					t.Errorf("finished blob reports %d of %d bytes", pr.Done, pr.Size)
				}
			}
		}})
		base := ociBase(t, 3_000_000)
		const n = 50
		images := make([]v1.Image, n)
		for i := range images {
			images[i] = testImage(t, base, 2_000, 1)
		}
		var wg sync.WaitGroup
		for i, img := range images {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if _, err := p.Push(ctx, fmt.Sprintf("%s/kolla/image-%02d", px.host, i), img); err != nil {
					t.Error(err)
				}
			}()
		}
		wg.Wait()
		s := p.Stats()
		// One layer of the base; of each image one layer and one config.
		if s.Uploaded != 1+2*n || s.Mounted != n-1 || s.Skipped != 0 || s.Bytes > 3_500_000 {
			t.Errorf("statistics %+v", s)
		}
		if got := px.count("PUT ", "/blobs/uploads/"); got != 1+2*n {
			t.Errorf("%d uploads seen at the registry, want %d", got, 1+2*n)
		}
		if final[BlobMounted] != n-1 || final[BlobUploaded] != 1+2*n {
			t.Errorf("progress reports %v", final)
		}
		tags := make([]Tag, n)
		for i, img := range images {
			tags[i] = Tag{fmt.Sprintf("%s/kolla/image-%02d:t", px.host, i), digestOf(t, img)}
		}
		if err := p.Commit(ctx, tags); err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, 17, n - 1} {
			mustPull(t, px.host, tags[i].Ref, tags[i].Digest)
		}

		// Nothing changed: one HEAD request per image, and one first contact.
		px.set(nil)
		fresh := newClient(t, Options{})
		refs := make([]string, n)
		for i := range tags {
			refs[i] = tags[i].Ref
		}
		for i, r := range fresh.Heads(ctx, refs) {
			if r.Err != nil || r.Descriptor.Digest != tags[i].Digest {
				t.Errorf("%s: %v", r.Ref, r.Err)
			}
		}
		if heads, all := px.count("HEAD "), px.count(""); heads != n || all > n+1 {
			t.Errorf("looking up %d images took %d HEAD requests, %d requests in all", n, heads, all)
		}
	})
}

func TestPushIndexAndFetchByPlatform(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		ctx := context.Background()
		c := newClient(t, Options{})
		p := c.NewPublisher(PublishOptions{})
		shared := ociBase(t, 4_000)
		idx := mutate.IndexMediaType(v1.ImageIndex(empty.Index), types.OCIImageIndex)
		want := map[string]v1.Hash{}
		for _, arch := range []string{"amd64", "arm64"} {
			cf, err := shared.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			cf = cf.DeepCopy()
			cf.Architecture = arch
			img, err := mutate.ConfigFile(shared, cf)
			if err != nil {
				t.Fatal(err)
			}
			idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
			want[arch] = digestOf(t, img)
		}
		d, err := p.PushIndex(ctx, host+"/kolla/base", idx)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(ctx, []Tag{{host + "/kolla/base:multi", d.Digest}}); err != nil {
			t.Fatal(err)
		}
		for platform, arch := range map[string]string{"": "amd64", "linux/amd64": "amd64", "aarch64": "arm64", "linux/arm64/v8": "arm64"} {
			img, top, err := c.Fetch(ctx, host+"/kolla/base:multi", platform)
			if err != nil {
				t.Fatal(err)
			}
			if digestOf(t, img) != want[arch] || top != d.Digest {
				t.Errorf("platform %q gives %s of index %s", platform, digestOf(t, img), top)
			}
		}
		var pe *PlatformError
		if _, _, err := c.Fetch(ctx, host+"/kolla/base:multi", "linux/s390x"); !errors.As(err, &pe) || len(pe.Have) != 2 {
			t.Errorf("missing platform: %v", err)
		}
		if _, _, err := c.Fetch(ctx, host+"/kolla/base@"+want["arm64"].String(), "linux/amd64"); !errors.As(err, &pe) {
			t.Errorf("image for another platform: %v", err)
		}
		if _, _, err := c.Fetch(ctx, host+"/kolla/base:multi", "arm"); err == nil {
			t.Error("platform \"arm\" was taken")
		}
	})
}

// An incomplete set touches no tag, neither does one of whose tags one is
// refused, and the error says what happened to which.
func TestCommitFailures(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		ctx := context.Background()
		px := startProxy(t, host, nil)
		c := newClient(t, Options{Retries: 2})
		p := c.NewPublisher(PublishOptions{})
		old, img := ociBase(t, 500), ociBase(t, 600)
		var tags, before []Tag
		for i := range 6 {
			repo := fmt.Sprintf("%s/kolla/image-%d", px.host, i)
			for _, x := range []v1.Image{old, img} {
				if _, err := p.Push(ctx, repo, x); err != nil {
					t.Fatal(err)
				}
			}
			before = append(before, Tag{repo + ":t", digestOf(t, old)})
			tags = append(tags, Tag{repo + ":t", digestOf(t, img)})
		}
		if err := p.Commit(ctx, before); err != nil {
			t.Fatal(err)
		}
		at := func(want ...v1.Hash) {
			t.Helper()
			for i, tag := range tags {
				d, err := c.Head(ctx, tag.Ref)
				if err != nil {
					t.Fatal(err)
				}
				if w := want[i%len(want)]; d.Digest != w {
					t.Errorf("%s is at %s, want %s", tag.Ref, d.Digest, w)
				}
			}
		}

		var ce *CommitError
		missing := append(tags[:5:5], Tag{px.host + "/kolla/never-pushed:t", digestOf(t, img)})
		if err := p.Commit(ctx, missing); !errors.As(err, &ce) || len(ce.Failed) != 1 {
			t.Fatalf("incomplete set: %v", err)
		}
		at(digestOf(t, old))

		canceled, cancel := context.WithCancel(ctx)
		cancel()
		if err := p.Commit(canceled, tags); !errors.As(err, &ce) || len(ce.Untried) != 6 {
			t.Fatalf("interrupted: %v", err)
		}
		at(digestOf(t, old))

		px.set(func(r *http.Request) fault {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "image-3/manifests/t") {
				return fault503
			}
			return faultNone
		})
		err := p.Commit(ctx, tags)
		if !errors.As(err, &ce) || len(ce.Failed) != 1 || ce.Failed[tags[3].Ref] == nil || len(ce.Stuck) != 0 {
			t.Fatalf("one tag refused: %v", err)
		}
		if !strings.Contains(err.Error(), "no tag was moved (6 wanted)") || ce.Hint() == "" {
			t.Errorf("error says %q, hint %q", err, ce.Hint())
		}
		px.set(nil)
		at(digestOf(t, old))

		// Another process goes on: it has no manifest in memory.
		if err := newClient(t, Options{}).NewPublisher(PublishOptions{}).Commit(ctx, tags); err != nil {
			t.Fatal(err)
		}
		at(digestOf(t, img))

		if err := p.Commit(ctx, []Tag{{tags[0].Ref, digestOf(t, img)}, {tags[0].Ref, digestOf(t, old)}}); err == nil {
			t.Error("one tag for two images was taken")
		}
	})
}
