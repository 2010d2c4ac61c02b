package setcopy

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/faultproxy"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

func TestMain(m *testing.M) { registrytest.Main(m) }

func settings(dataDir string) *config.Config {
	return &config.Config{DataDir: dataDir, Threads: 4, Timeout: 20}
}

// site is a registry with a set of images.
type site struct {
	t      *testing.T
	host   string
	client *registry.Client
	dir    string // data directory of copies
	want   map[string]digest.Digest
}

// newSite fills a registry with a set of three images, one of them for two platforms and
// one with a signature.
func newSite(t *testing.T, host string) *site {
	t.Helper()
	s := &site{t: t, host: host, client: registrytest.Client(t, registry.Options{}), dir: t.TempDir(),
		want: map[string]digest.Digest{}}
	base := registrytest.Base(t, 40_000)
	s.push("base", "t1", base)
	s.push("nova-api", "t1", registrytest.Image(t, base, 20_000, 2))
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: registrytest.Image(t, base, 9000, 1),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: registrytest.Image(t, base, 8000, 1),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	s.pushIndex("keystone", "t1", index)
	return s
}

func (s *site) commit(name, tag string, d digest.Digest) {
	s.t.Helper()
	p := push.New(s.client, push.Options{})
	if err := p.Commit(s.t.Context(), []push.Tag{{Ref: s.host + "/kolla/" + name + ":" + tag, Digest: d}}); err != nil {
		s.t.Fatal(err)
	}
	s.want[name+":"+tag] = d
}

func (s *site) push(name, tag string, img v1.Image) {
	s.t.Helper()
	d, err := push.New(s.client, push.Options{}).Push(s.t.Context(), s.host+"/kolla/"+name, img)
	if err != nil {
		s.t.Fatal(err)
	}
	s.commit(name, tag, d.Digest)
}

func (s *site) pushIndex(name, tag string, idx v1.ImageIndex) {
	s.t.Helper()
	d, err := push.New(s.client, push.Options{}).PushIndex(s.t.Context(), s.host+"/kolla/"+name, idx)
	if err != nil {
		s.t.Fatal(err)
	}
	s.commit(name, tag, d.Digest)
}

// sign puts an artifact into a repository whose subject is one of its images.
func (s *site) sign(name, tag string) digest.Digest {
	s.t.Helper()
	repo := repository(s.t, s.client, s.host+"/kolla/"+name)
	subject, err := repo.Head(s.t.Context(), tag)
	if err != nil {
		s.t.Fatal(err)
	}
	blob := []byte("signature of " + name)
	raw, err := json.Marshal(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: "application/vnd.example.signature", Config: put(s.t, repo, []byte("{}"), ocispec.MediaTypeEmptyJSON),
		Layers: []ocispec.Descriptor{put(s.t, repo, blob, "text/plain")}, Subject: &subject})
	if err != nil {
		s.t.Fatal(err)
	}
	m := registry.Manifest{Raw: raw, MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(raw)}
	if err := repo.PutManifest(s.t.Context(), m); err != nil {
		s.t.Fatal(err)
	}
	return m.Digest
}

func put(t *testing.T, repo *registry.Repository, content []byte, mediaType string) ocispec.Descriptor {
	t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	if _, err := repo.Upload(t.Context(), registry.Blob{Digest: d.Digest, Size: d.Size,
		Open: func() (r readCloser, err error) {
			return nopCloser{bytes.NewReader(content)}, nil
		}}, nil, nil); err != nil {
		t.Fatal(err)
	}
	return d
}

func repository(t *testing.T, client *registry.Client, name string) *registry.Repository {
	t.Helper()
	ref, err := imageref.ParseTag(name)
	if err != nil {
		t.Fatal(err)
	}
	return client.Repository(ref)
}

// copy copies and returns the result.
func (s *site) copy(o Options, args ...string) (Result, error) {
	s.t.Helper()
	return s.run(Copy, o, args...)
}

func (s *site) run(command func(context.Context, *config.Config, *console.Console, []string, Options) error, o Options,
	args ...string) (Result, error) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	o.JSON = true
	err := command(s.t.Context(), settings(s.dir), &console.Console{Stdout: &stdout, Stderr: &stderr}, args, o)
	var r Result
	if err == nil {
		if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
			s.t.Fatalf("%v: %s", err, stdout.String())
		}
	}
	return r, err
}

// complete checks that a namespace of a registry has the whole set, readable.
func (s *site) complete(host, namespace string) {
	s.t.Helper()
	for name, want := range s.want {
		d, err := s.client.Head(s.t.Context(), host+"/"+namespace+"/"+name)
		if err != nil || d.Digest != want {
			s.t.Errorf("%s/%s/%s is %s (%v), want %s", host, namespace, name, d.Digest, err, want)
			continue
		}
		for _, platform := range []string{"linux/amd64", "linux/arm64"} {
			if platform == "linux/arm64" && !strings.HasPrefix(name, "keystone") {
				continue
			}
			img, _, err := s.client.Fetch(s.t.Context(), host+"/"+namespace+"/"+name, platform)
			if err != nil {
				s.t.Errorf("%s %s: %v", name, platform, err)
				continue
			}
			registrytest.ReadAll(s.t, img)
		}
	}
}

func TestCopy(t *testing.T) {
	source := registrytest.Embedded(t, server.Options{}).Host()
	s := newSite(t, source)
	signature := s.sign("nova-api", "t1")
	registrytest.Each(t, func(t *testing.T, host string) {
		s.t = t
		preview, err := s.copy(Options{DryRun: true}, source+"/kolla:t1", host+"/site")
		if err != nil {
			t.Fatal(err)
		}
		if paths, err := s.client.Repositories(t.Context(), host, ""); err != nil || len(paths) > 0 {
			t.Errorf("a dry run left %v (%v)", paths, err)
		}
		first, err := s.copy(Options{}, source+"/kolla:t1", host+"/site")
		if err != nil {
			t.Fatal(err)
		}
		s.complete(host, "site")
		if first.changed() != 3 || preview.changed() != 3 {
			t.Errorf("%d tags changed, %d in the preview, want 3", first.changed(), preview.changed())
		}
		// The signature adds two blobs, of which the preview does not know.
		if first.Sent != preview.Sent+2 {
			t.Errorf("%d blobs sent, the preview says %d without the 2 of the signature", first.Sent, preview.Sent)
		}
		found, _, err := repository(t, s.client, host+"/site/nova-api").Referrers(t.Context(), s.want["nova-api:t1"])
		if err != nil || len(found) != 1 || found[0].Digest != signature {
			t.Errorf("referrers after the copy: %v (%v), want %s", found, err, signature)
		}
		second, err := s.copy(Options{}, source+"/kolla:t1", host+"/site")
		if err != nil || second.Sent != 0 || second.Bytes != 0 || second.changed() != 0 {
			t.Errorf("again: %+v (%v), want nothing sent and no tag changed", second, err)
		}
		// Other tools can read it.
		raw := registrytest.Run(t, testenv.Program(t, "skopeo", "skopeo"), "inspect", "--raw", "--tls-verify=false",
			"docker://"+host+"/site/keystone:t1")
		if got := digest.FromBytes(raw); got != s.want["keystone:t1"] {
			t.Errorf("skopeo sees keystone as %s, want %s", got, s.want["keystone:t1"])
		}
	})
}

// Signatures from before OCI 1.1 have their content in "blobs", not in "layers".
func TestCopyOfOldArtifacts(t *testing.T) {
	backend := registrytest.Embedded(t, server.Options{}).Host()
	s := newSite(t, backend)
	repo := repository(t, s.client, backend+"/kolla/nova-api")
	blob := put(t, repo, []byte("an old signature"), "text/plain")
	source, artifact := registrytest.OldArtifact(t, backend, s.want["nova-api:t1"], blob)
	target := registrytest.Embedded(t, server.Options{}).Host()
	var stderr bytes.Buffer
	con := &console.Console{Stdout: &bytes.Buffer{}, Stderr: &stderr}
	if err := Copy(t.Context(), settings(s.dir), con, []string{source + "/kolla:t1", target + "/site"}, Options{}); err != nil {
		t.Fatal(err)
	}
	s.complete(target, "site")
	if !strings.Contains(stderr.String(), artifact.String()+" is not copied") {
		t.Errorf("no warning that the registry does not accept the signature:\n%s", stderr.String())
	}
	res, err := http.Head("http://" + target + "/v2/site/nova-api/blobs/" + blob.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("the blob of the signature: %s", res.Status)
	}
}

// What arrives damaged from the source is read again.
func TestCopyOfDamagedContent(t *testing.T) {
	s := newSite(t, registrytest.Embedded(t, server.Options{}).Host())
	proxy, err := faultproxy.Start(faultproxy.Options{Target: s.host, Rate: 1, Max: 4,
		Faults: []faultproxy.Fault{faultproxy.Corrupt},
		Match: func(r *http.Request) bool {
			return r.Method == http.MethodGet && (strings.Contains(r.URL.Path, "/blobs/") ||
				strings.Contains(r.URL.Path, "/manifests/sha256:"))
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	target := registrytest.Embedded(t, server.Options{}).Host()
	if _, err := s.copy(Options{}, proxy.Addr()+"/kolla:t1", target+"/site"); err != nil {
		t.Fatal(err)
	}
	s.complete(target, "site")
	if n := proxy.Injected()[faultproxy.Corrupt]; n != 4 {
		t.Errorf("%d answers were damaged, want 4", n)
	}
}

func TestCopySelectsImages(t *testing.T) {
	source := registrytest.Embedded(t, server.Options{}).Host()
	s := newSite(t, source)
	s.push("base", "t2", registrytest.Base(t, 1000))
	host := registrytest.Embedded(t, server.Options{}).Host()
	for _, tc := range []struct {
		args []string
		want string // names in the destination
	}{
		{[]string{source + "/kolla:t1", host + "/a", "^nova-"}, "a/nova-api:t1"},
		{[]string{source + "/kolla:t1", host + "/b:x", "base", "keystone"}, "b/base:x b/keystone:x"},
		{[]string{source + "/kolla", host + "/c", "base"}, "c/base:t1 c/base:t2"},
	} {
		r, err := s.copy(Options{}, tc.args...)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, tag := range r.Tags {
			got = append(got, strings.TrimPrefix(tag.To, host+"/"))
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("copy %v: %v, want %s", tc.args, got, tc.want)
		}
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{source + "/kolla:t1", host + "/a", "glance"}, "matches"},
		{[]string{source + "/kolla:t9", host + "/a"}, "tag t9"},
		{[]string{source + "/nowhere:t1", host + "/a"}, "no images"},
		{[]string{source + "/kolla", host + "/a:one"}, "one tag"},
		{[]string{source + "/kolla:t1", source + "/kolla"}, "the same"},
		{[]string{source + "/kolla:t1"}, "two locations"},
	} {
		if _, err := s.copy(Options{}, tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("copy %v: %v, want an error about %q", tc.args, err, tc.want)
		}
	}
}

// TestIndexThatRepeatsItself checks that an image that an index names in 216,000 ways
// is looked at, pushed and copied once.
func TestIndexThatRepeatsItself(t *testing.T) {
	testenv.Slow(t)
	backend := registrytest.Embedded(t, server.Options{}).Host()
	proxy := registrytest.StartProxy(t, backend, nil)
	s := newSite(t, proxy.Host)
	var child mutate.Appendable = registrytest.Image(t, registrytest.Base(t, 1000), 500, 1)
	var index v1.ImageIndex
	for range 3 {
		index = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
		adds := make([]mutate.IndexAddendum, 60)
		for i := range adds {
			adds[i] = mutate.IndexAddendum{Add: child, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux",
				Architecture: "amd64"}}}
		}
		index = mutate.AppendManifests(index, adds...)
		child = index
	}
	steps := []struct {
		name string
		run  func() error
	}{
		{"push", func() error { s.pushIndex("bomb", "t1", index); return nil }},
		{"preview", func() error {
			_, err := s.copy(Options{DryRun: true}, proxy.Host+"/kolla:t1", proxy.Host+"/other", "bomb")
			return err
		}},
		{"copy", func() error {
			_, err := s.copy(Options{}, proxy.Host+"/kolla:t1", proxy.Host+"/other", "bomb")
			return err
		}},
		{"inventory", func() error {
			from, err := ParseLocation(proxy.Host + "/kolla:t1")
			if err == nil {
				_, err = Inventory(t.Context(), s.client, from)
			}
			return err
		}},
	}
	for _, step := range steps {
		before := proxy.Count("/manifests/")
		if err := step.run(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if n := proxy.Count("/manifests/") - before; n > 100 {
			t.Errorf("%s: %d requests for manifests", step.name, n)
		}
	}
}

// TestTag gives a set new tags and a new namespace, for which nothing is downloaded.
func TestTag(t *testing.T) {
	testenv.Slow(t)
	registrytest.Each(t, func(t *testing.T, backend string) {
		s := newSite(t, backend)
		proxy := registrytest.StartProxy(t, backend, nil)
		host := proxy.Host
		r, err := s.run(AddTags, Options{}, host+"/kolla:t1", "t2", host+"/other:t3")
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Tags) != 6 || r.changed() != 6 || r.Sent != 0 {
			t.Errorf("%+v, want 6 tags changed and no blob sent", r)
		}
		s.complete(backend, "kolla")
		for name, d := range s.want {
			name, _, _ = strings.Cut(name, ":")
			for _, ref := range []string{"kolla/" + name + ":t2", "other/" + name + ":t3"} {
				if got, err := s.client.Head(t.Context(), backend+"/"+ref); err != nil || got.Digest != d {
					t.Errorf("%s is %s (%v), want %s", ref, got.Digest, err, d)
				}
			}
		}
		if n := proxy.Count("GET", "/blobs/"); n > 0 {
			t.Errorf("%d blobs were downloaded", n)
		}
	})
}

// TestTagAllOrNone checks that no tag changes if one of them cannot.
func TestTagAllOrNone(t *testing.T) {
	testenv.Slow(t)
	backend := registrytest.Embedded(t, server.Options{}).Host()
	s := newSite(t, backend)
	proxy := registrytest.StartProxy(t, backend, nil)
	s.client = registrytest.Client(t, registry.Options{})
	before := registrytest.Tags(t, s.client, backend)
	proxy.Set(refuseTag("keystone/manifests/t2"))
	if _, err := s.run(AddTags, Options{}, proxy.Host+"/kolla:t1", "t2"); err == nil {
		t.Fatal("no error although a tag could not be updated")
	}
	if after := registrytest.Tags(t, s.client, backend); after != before {
		t.Errorf("tags before:\n%s\nafter:\n%s", before, after)
	}
}
