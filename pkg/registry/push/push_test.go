package push_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
)

func TestPushThenCommit(t *testing.T) {
	registrytest.Each(t, func(t *testing.T, host string) {
		ctx := context.Background()
		c := registrytest.Client(t, registry.Options{})
		p := push.New(c, push.Options{})
		base := registrytest.Base(t, 20_000)
		child := registrytest.Image(t, base, 10_000, 2)
		names := imageref.Naming{Registry: host, Namespace: "team/kolla", Prefix: "debian-", Tag: "2026.1"}

		d, err := p.Push(ctx, names.Repository("base"), base)
		if err != nil {
			t.Fatal(err)
		}
		dc, err := p.Push(ctx, names.Repository("nova-api"), child)
		if err != nil {
			t.Fatal(err)
		}
		var nf *registry.NotFoundError
		if _, err := c.Head(ctx, names.Reference("base")); !errors.As(err, &nf) {
			t.Fatalf("before the commit the tag gives %v, want a registry.NotFoundError", err)
		}
		tags := []push.Tag{
			{Ref: names.Reference("base"), Digest: d.Digest}, {Ref: names.Reference("nova-api"), Digest: dc.Digest},
			{Ref: names.Repository("base") + ":nightly",
				Digest: d.Digest}, {Ref: names.Repository("nova-api") + ":nightly", Digest: dc.Digest},
		}
		if err := p.Commit(ctx, tags); err != nil {
			t.Fatal(err)
		}
		for _, tag := range tags {
			got, err := c.Head(ctx, tag.Ref)
			if err != nil || got.Digest != tag.Digest {
				t.Errorf("%s is %s (%v), want %s", tag.Ref, got.Digest, err, tag.Digest)
			}
			registrytest.MustPull(t, host, tag.Ref, tag.Digest)
		}
		// base: 1 layer and a config sent; child: 1 mounted, 2 and a config sent.
		if s := p.Stats(); s.Uploaded != 5 || s.Mounted != 1 || s.Manifests != 2 || s.Tags != 4 || s.Retried != 0 {
			t.Errorf("statistics %+v", s)
		}

		// A repetition in a new run transfers no bytes.
		second := push.New(c, push.Options{})
		if _, err := second.Push(ctx, names.Repository("nova-api"), child); err != nil {
			t.Fatal(err)
		}
		if s := second.Stats(); s.Uploaded+s.Mounted+s.Manifests != 0 || s.Unchanged != 1 {
			t.Errorf("pushing again: %+v", s)
		}
		// A new image on an existing parent mounts the parent's layers.
		other := registrytest.Image(t, base, 5_000, 1)
		if _, err := second.Push(ctx, names.Repository("base"), base); err != nil {
			t.Fatal(err)
		}
		if _, err := second.Push(ctx, names.Repository("glance-api"), other); err != nil {
			t.Fatal(err)
		}
		if s := second.Stats(); s.Uploaded != 2 || s.Mounted != 1 {
			t.Errorf("pushing a sibling: %+v", s)
		}
	})
}

// Tools that are not ours must be able to read what was pushed.
func TestForeignToolsRead(t *testing.T) {
	testenv.Slow(t)
	crane := registrytest.Tool(t, "crane")
	registrytest.Each(t, func(t *testing.T, host string) {
		ctx := context.Background()
		img := registrytest.Image(t, registrytest.Base(t, 1000), 1000, 1)
		p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
		layer, err := p.Push(ctx, host+"/kolla/base", img)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(ctx, []push.Tag{{Ref: host + "/kolla/base:t", Digest: layer.Digest}}); err != nil {
			t.Fatal(err)
		}
		t.Run("skopeo", func(t *testing.T) {
			skopeo := testenv.Program(t, "skopeo", "skopeo")
			out := registrytest.Run(t, skopeo, "inspect", "--tls-verify=false", "docker://"+host+"/kolla/base:t")
			var got struct {
				Digest string
				Labels map[string]string
				Layers []string
			}
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if got.Digest != layer.Digest.String() || got.Labels["kolla_version"] != "21.0.0" || len(got.Layers) != 2 {
				t.Errorf("skopeo sees %+v", got)
			}
			registrytest.Run(t, skopeo, "copy", "--src-tls-verify=false", "docker://"+host+"/kolla/base:t",
				"oci:"+t.TempDir()+":t")
		})
		t.Run("crane", func(t *testing.T) {
			if got := strings.TrimSpace(string(registrytest.Run(t, crane, "digest",
				host+"/kolla/base:t"))); got != layer.Digest.String() {
				t.Errorf("crane digest: %s, want %s", got, layer.Digest)
			}
			var cf v1.ConfigFile
			if err := json.Unmarshal(registrytest.Run(t, crane, "config", host+"/kolla/base:t"), &cf); err != nil {
				t.Fatal(err)
			}
			if cf.Config.User != "nova" || strings.Join(cf.Config.Cmd, " ") != "kolla_start" {
				t.Errorf("crane config: %+v", cf.Config)
			}
			registrytest.Run(t, crane, "validate", "--remote", host+"/kolla/base:t")
			registrytest.Run(t, crane, "pull", host+"/kolla/base:t", t.TempDir()+"/x.tar")
		})
	})
}

// Fifty images on one base are pushed at the same time: the base is uploaded once.
func TestBaseLayerGoesUpOnce(t *testing.T) {
	testenv.Slow(t)
	registrytest.Each(t, func(t *testing.T, host string) {
		ctx := context.Background()
		px := registrytest.StartProxy(t, host, nil)
		c := registrytest.Client(t, registry.Options{})
		var mu sync.Mutex
		final := map[registry.BlobState]int{}
		p := push.New(c, push.Options{Progress: func(pr push.Progress) {
			mu.Lock()
			defer mu.Unlock()
			if pr.State != "" {
				final[pr.State]++
				if pr.Done != pr.Size {
					t.Errorf("finished blob reports %d of %d bytes", pr.Done, pr.Size)
				}
			}
		}})
		base := registrytest.Base(t, 3_000_000)
		const n = 50
		images := make([]v1.Image, n)
		for i := range images {
			images[i] = registrytest.Image(t, base, 2_000, 1)
		}
		var wg sync.WaitGroup
		for i, img := range images {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if _, err := p.Push(ctx, fmt.Sprintf("%s/kolla/image-%02d", px.Host, i), img); err != nil {
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
		if got := px.Count("PUT ", "/blobs/uploads/"); got != 1+2*n {
			t.Errorf("%d uploads seen at the registry, want %d", got, 1+2*n)
		}
		if final[registry.BlobMounted] != n-1 || final[registry.BlobUploaded] != 1+2*n {
			t.Errorf("progress reports %v", final)
		}
		tags := make([]push.Tag, n)
		for i, img := range images {
			tags[i] = push.Tag{Ref: fmt.Sprintf("%s/kolla/image-%02d:t", px.Host, i), Digest: registrytest.Digest(t, img)}
		}
		if err := p.Commit(ctx, tags); err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, 17, n - 1} {
			registrytest.MustPull(t, px.Host, tags[i].Ref, tags[i].Digest)
		}

		// Nothing changed: one HEAD request per image, and one first contact.
		px.Set(nil)
		fresh := registrytest.Client(t, registry.Options{})
		refs := make([]string, n)
		for i := range tags {
			refs[i] = tags[i].Ref
		}
		for i, r := range fresh.Heads(ctx, refs) {
			if r.Err != nil || r.Descriptor.Digest != tags[i].Digest {
				t.Errorf("%s: %v", r.Ref, r.Err)
			}
		}
		if heads, all := px.Count("HEAD "), px.Count(""); heads != n || all > n+1 {
			t.Errorf("looking up %d images took %d HEAD requests, %d requests in all", n, heads, all)
		}
	})
}

func TestPushIndexAndFetchByPlatform(t *testing.T) {
	registrytest.Each(t, func(t *testing.T, host string) {
		ctx := context.Background()
		c := registrytest.Client(t, registry.Options{})
		p := push.New(c, push.Options{})
		shared := registrytest.Base(t, 4_000)
		idx := mutate.IndexMediaType(v1.ImageIndex(empty.Index), types.OCIImageIndex)
		want := map[string]digest.Digest{}
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
			idx = mutate.AppendManifests(idx,
				mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
			want[arch] = registrytest.Digest(t, img)
		}
		d, err := p.PushIndex(ctx, host+"/kolla/base", idx)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(ctx, []push.Tag{{Ref: host + "/kolla/base:multi", Digest: d.Digest}}); err != nil {
			t.Fatal(err)
		}
		for platform, arch := range map[string]string{"": "amd64", "linux/amd64": "amd64", "aarch64": "arm64",
			"linux/arm64/v8": "arm64"} {
			img, top, err := c.Fetch(ctx, host+"/kolla/base:multi", platform)
			if err != nil {
				t.Fatal(err)
			}
			if registrytest.Digest(t, img) != want[arch] || top != d.Digest {
				t.Errorf("platform %q gives %s of index %s", platform, registrytest.Digest(t, img), top)
			}
		}
		var pe *registry.PlatformError
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

// An incomplete set, or one with a refused tag, changes no tags, and the error contains
// the state of each.
func TestCommitFailures(t *testing.T) {
	testenv.Slow(t)
	registrytest.Each(t, func(t *testing.T, host string) {
		ctx := context.Background()
		px := registrytest.StartProxy(t, host, nil)
		c := registrytest.Client(t, registry.Options{Retries: 2})
		p := push.New(c, push.Options{})
		old, img := registrytest.Base(t, 500), registrytest.Base(t, 600)
		var tags, before []push.Tag
		for i := range 6 {
			repo := fmt.Sprintf("%s/kolla/image-%d", px.Host, i)
			for _, x := range []v1.Image{old, img} {
				if _, err := p.Push(ctx, repo, x); err != nil {
					t.Fatal(err)
				}
			}
			before = append(before, push.Tag{Ref: repo + ":t", Digest: registrytest.Digest(t, old)})
			tags = append(tags, push.Tag{Ref: repo + ":t", Digest: registrytest.Digest(t, img)})
		}
		if err := p.Commit(ctx, before); err != nil {
			t.Fatal(err)
		}
		at := func(want ...digest.Digest) {
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

		var ce *push.CommitError
		missing := append(tags[:5:5], push.Tag{Ref: px.Host + "/kolla/never-pushed:t", Digest: registrytest.Digest(t, img)})
		if err := p.Commit(ctx, missing); !errors.As(err, &ce) || len(ce.Failed) != 1 {
			t.Fatalf("incomplete set: %v", err)
		}
		at(registrytest.Digest(t, old))

		canceled, cancel := context.WithCancel(ctx)
		cancel()
		if err := p.Commit(canceled, tags); !errors.As(err, &ce) || len(ce.Untried) != 6 {
			t.Fatalf("interrupted: %v", err)
		}
		at(registrytest.Digest(t, old))

		px.Set(func(r *http.Request) registrytest.Fault {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "image-3/manifests/t") {
				return registrytest.Status503
			}
			return registrytest.None
		})
		err := p.Commit(ctx, tags)
		if !errors.As(err, &ce) || len(ce.Failed) != 1 || ce.Failed[tags[3].Ref] == nil || len(ce.Stuck) != 0 {
			t.Fatalf("one tag refused: %v", err)
		}
		if !strings.Contains(err.Error(), "no tag was updated (6 wanted)") || ce.Hint() == "" {
			t.Errorf("error says %q, hint %q", err, ce.Hint())
		}
		px.Set(nil)
		at(registrytest.Digest(t, old))

		// Another process continues, without manifests in memory.
		if err := push.New(registrytest.Client(t, registry.Options{}), push.Options{}).Commit(ctx, tags); err != nil {
			t.Fatal(err)
		}
		at(registrytest.Digest(t, img))

		if err := p.Commit(ctx, []push.Tag{{Ref: tags[0].Ref, Digest: registrytest.Digest(t, img)},
			{Ref: tags[0].Ref, Digest: registrytest.Digest(t, old)}}); err == nil {
			t.Error("one tag for two images was taken")
		}
	})
}

func TestStatsText(t *testing.T) {
	for text, s := range map[string]push.Stats{
		"nothing to send": {Manifests: 1, Tags: 2},
		"1 blob sent (10 B), 2 blobs reused from other repositories": {Uploaded: 1, Bytes: 10, Mounted: 2},
		"3 blobs already in the registry":                            {Skipped: 3},
		"1 image already in the registry":                            {Unchanged: 1},
	} {
		if got := s.String(); got != text {
			t.Errorf("%+v: %q, want %q", s, got, text)
		}
	}
}
