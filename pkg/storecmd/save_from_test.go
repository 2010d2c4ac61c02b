package storecmd

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/faultproxy"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle/contents"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// published is a set in a registry: two images, one of them for two platforms, with a
// signature of OCI and one of cosign.
type published struct {
	t         *testing.T
	host      string
	client    *registry.Client
	digests   map[string]digest.Digest // by NAME:TAG
	signature digest.Digest            // refers to nova-api
	cosign    digest.Digest            // is tagged for keystone
}

func publishSample(t *testing.T, host string) *published {
	t.Helper()
	p := &published{t: t, host: host, client: registrytest.Client(t, registry.Options{}),
		digests: map[string]digest.Digest{}}
	base := registrytest.Base(t, 300_000)
	pub := push.New(p.client, push.Options{})
	d, err := pub.Push(t.Context(), host+"/kolla/nova-api", registrytest.Image(t, base, 20_000, 2))
	if err != nil {
		t.Fatal(err)
	}
	p.tag("nova-api:t1", d.Digest)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: registrytest.Image(t, base, 9000, 1),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	if d, err = pub.PushIndex(t.Context(), host+"/kolla/keystone", index); err != nil {
		t.Fatal(err)
	}
	p.tag("keystone:t1", d.Digest)
	subject, err := p.client.Head(t.Context(), host+"/kolla/nova-api:t1")
	if err != nil {
		t.Fatal(err)
	}
	p.signature = p.artifact("nova-api", "notation", ocispec.MediaTypeEmptyJSON, &subject)
	if _, hasAPI, err := p.repository("nova-api").Referrers(t.Context(), subject.Digest); err != nil {
		t.Fatal(err)
	} else if !hasAPI { // the client keeps the list, as an index under a tag
		m, err := p.repository("nova-api").Manifest(t.Context(), p.signature.String())
		if err != nil {
			t.Fatal(err)
		}
		list, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2},
			MediaType: ocispec.MediaTypeImageIndex,
			Manifests: []ocispec.Descriptor{registry.ReferrerDescriptor(m)}})
		if err != nil {
			t.Fatal(err)
		}
		m = registry.Manifest{Raw: list, MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(list)}
		if err := p.repository("nova-api").PutTag(t.Context(), registry.ReferrersTag(subject.Digest), m); err != nil {
			t.Fatal(err)
		}
	}
	p.cosign = p.artifact("keystone", "cosign", ocispec.MediaTypeImageConfig, nil)
	tag := registry.ReferrersTag(p.digests["keystone:t1"]) + ".sig"
	p.tag("keystone:"+tag, p.cosign)
	delete(p.digests, "keystone:"+tag)
	return p
}

func (p *published) repository(name string) *registry.Repository {
	p.t.Helper()
	ref, err := imageref.ParseTag(p.host + "/kolla/" + name)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.client.Repository(ref)
}

func (p *published) tag(nameTag string, d digest.Digest) {
	p.t.Helper()
	err := push.New(p.client, push.Options{}).Commit(p.t.Context(),
		[]push.Tag{{Ref: p.host + "/kolla/" + nameTag, Digest: d}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.digests[nameTag] = d
}

func (p *published) artifact(name, text, configType string, subject *ocispec.Descriptor) digest.Digest {
	p.t.Helper()
	repo := p.repository(name)
	put := func(content, mediaType string) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
		if _, err := repo.Upload(p.t.Context(), registry.Blob{Digest: d.Digest, Size: d.Size,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}, nil,
			nil); err != nil {
			p.t.Fatal(err)
		}
		return d
	}
	raw, err := json.Marshal(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    put("{}", configType),
		Layers:    []ocispec.Descriptor{put("signature by "+text, "application/vnd.example.signature")}, Subject: subject})
	if err != nil {
		p.t.Fatal(err)
	}
	d := digest.FromBytes(raw)
	if err := repo.PutManifest(p.t.Context(), registry.Manifest{Raw: raw, MediaType: ocispec.MediaTypeImageManifest,
		Digest: d}); err != nil {
		p.t.Fatal(err)
	}
	return d
}

// loadedAt loads a bundle into a new registry, and checks that it has the whole set.
func (p *published) loadedAt(path, tag string) {
	p.t.Helper()
	host := registrytest.Embedded(p.t, server.Options{}).Host()
	f := site(p.t)
	if err := Load(p.t.Context(), f.config("--push", "--registry", host, "--namespace", "site", "--also-tag", "stable"),
		f.con, []string{path}, LoadOptions{Tags: []string{tag}, Renames: []string{"s/:(.*)/:x-\\1/"}}); err != nil {
		p.t.Fatalf("%v\n%s", err, f.stderr.String())
	}
	for nameTag, want := range p.digests {
		name, _, _ := strings.Cut(nameTag, ":")
		for _, tag := range []string{tag, "stable"} {
			d, err := p.client.Head(p.t.Context(), host+"/site/"+name+":"+tag)
			if err != nil || d.Digest != want {
				p.t.Errorf("%s:%s is %s (%v), want %s", name, tag, d.Digest, err, want)
			}
		}
	}
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		img, _, err := p.client.Fetch(p.t.Context(), host+"/site/keystone:"+tag, platform)
		if err != nil {
			p.t.Fatal(err)
		}
		registrytest.ReadAll(p.t, img)
	}
	ref, err := imageref.ParseTag(host + "/site/nova-api")
	if err != nil {
		p.t.Fatal(err)
	}
	found, _, err := p.client.Repository(ref).Referrers(p.t.Context(), p.digests["nova-api:t1"])
	if err != nil || len(found) != 1 || found[0].Digest != p.signature {
		p.t.Errorf("referrers of nova-api: %v (%v), want %s", found, err, p.signature)
	}
	sig := host + "/site/keystone:" + registry.ReferrersTag(p.digests["keystone:t1"]) + ".sig"
	if d, err := p.client.Head(p.t.Context(), sig); err != nil || d.Digest != p.cosign {
		p.t.Errorf("%s is %s (%v), want %s", sig, d.Digest, err, p.cosign)
	}
	if tags := registrytest.Tags(p.t, p.client, host); strings.Count(tags, ":stable ") != 2 ||
		strings.Count(tags, ":"+tag+" ") != 2 {
		p.t.Errorf("tags of the site:\n%s", tags)
	}
}

// save saves a set of a registry, and returns the file.
func saveFrom(t *testing.T, from string, o SaveOptions, args ...string) (string, error) {
	t.Helper()
	f := site(t)
	o.From = from
	path := filepath.Join(t.TempDir(), "set.tar")
	err := Save(t.Context(), f.config(args...), f.con, path, o)
	if _, statErr := os.Stat(f.dir); statErr == nil {
		t.Errorf("saving from a registry made the data directory %s", f.dir)
	}
	return path, err
}

// An artifact from before OCI 1.1 is left out of the bundle, with a warning; the images are saved.
func TestSaveFromRegistryWithOldArtifact(t *testing.T) {
	p := publishSample(t, registrytest.Embedded(t, server.Options{}).Host())
	subject := p.digests["keystone:t1"] // it has no other artifact
	host, artifact := registrytest.OldArtifact(t, p.host, subject, ocispec.Descriptor{Digest: digest.FromString("x"), Size: 1})
	f := site(t)
	path := filepath.Join(t.TempDir(), "set.tar")
	if err := Save(t.Context(), f.config(), f.con, path, SaveOptions{From: host + "/kolla:t1"}); err != nil {
		t.Fatal(err)
	}
	if want := "/kolla/keystone@" + artifact.String() + " is not saved"; !strings.Contains(f.stderr.String(), want) {
		t.Errorf("no warning of %s:\n%s", want, f.stderr.String())
	}
	p.loadedAt(path, "t1")
}

// Images, platforms, signatures and SBOMs go from a registry to a file, each blob once.
func TestSaveFromRegistry(t *testing.T) {
	registrytest.Each(t, func(t *testing.T, host string) {
		p := publishSample(t, host)
		proxy := registrytest.StartProxy(t, host, nil)
		path, err := saveFrom(t, proxy.Host+"/kolla:t1", SaveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		listed, err := contents.List(t.Context(), path, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(listed.Images) != 4 {
			t.Errorf("%d images in the bundle, want 2, a list of referrers and a signature", len(listed.Images))
		}
		report, err := verify.Bundle(t.Context(), path, verify.Options{})
		if err != nil || !report.OK {
			t.Fatalf("%+v (%v)", report, err)
		}
		// Manifests are not read as blobs.
		if n, most := proxy.Count("GET", "/blobs/"), report.Blobs; n > most {
			t.Errorf("%d downloads of %d blobs", n, most)
		}
		p.loadedAt(path, "june")

		// The same again, and as an input of --tag.
		again, err := saveFrom(t, proxy.Host+"/kolla", SaveOptions{}, "--tag", "t1")
		if err != nil {
			t.Fatal(err)
		}
		if !sameContent(t, path, again) {
			t.Error("saving again gives another file")
		}
	})
}

func sameContent(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}

// A set that was loaded is saved again with its signatures, also by its tag.
func TestSaveArtifactsOfStore(t *testing.T) {
	p := publishSample(t, registrytest.Embedded(t, server.Options{}).Host())
	path, err := saveFrom(t, p.host+"/kolla:t1", SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := site(t)
	if err := Load(t.Context(), f.config(), f.con, []string{path}, LoadOptions{Tags: []string{"june"}}); err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(t.TempDir(), "second.tar")
	if err := Save(t.Context(), f.config("--tag", "june"), f.con, second, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	p.loadedAt(second, "july")
	// They go with the last name of the image.
	if err := Load(t.Context(), f.config(), f.con, []string{path}, LoadOptions{Tags: []string{"july"}}); err != nil {
		t.Fatal(err)
	}
	all := len(f.names())
	for _, step := range []struct {
		tag  string
		left int
	}{{"june", all - 2}, {"july", 0}} {
		if err := Remove(t.Context(), f.config("--tag", step.tag, "."), f.con, false); err != nil {
			t.Fatal(err)
		}
		if names := f.names(); len(names) != step.left {
			t.Errorf("after removing %s: %v", step.tag, names)
		}
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A registry that requires tokens, with the login of the user, and without.
func TestSaveFromRegistryWithTokens(t *testing.T) {
	testenv.Slow(t)
	host, tokens := registrytest.WithTokens(t, registrytest.TokenOptions{Accounts: map[string]string{"ada": "s3cret"}})
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	login := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte("ada:s3cret")))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(login), 0o600); err != nil {
		t.Fatal(err)
	}
	p := publishSample(t, host)
	tokens.Requests()
	// Token servers seldom let users list all repositories.
	path, err := saveFrom(t, host+"/kolla:t1", SaveOptions{}, "nova-api", "keystone")
	if err != nil {
		t.Fatal(err)
	}
	if len(tokens.Requests()) == 0 {
		t.Error("no token was requested")
	}
	p.loadedAt(path, "june")
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	path, err = saveFrom(t, host+"/kolla:t1", SaveOptions{}, "nova-api", "keystone")
	if err == nil || usererr.Hint(err) == "" {
		t.Errorf("without a login: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("without a login there is a file")
	}
}

// Whatever happens to downloads a few times, also content that arrives damaged, the file is
// that of an undisturbed run. If content is always damaged, there is no file.
func TestSaveFromBrokenRegistry(t *testing.T) {
	testenv.Slow(t)
	p := publishSample(t, registrytest.Embedded(t, server.Options{}).Host())
	faults := []faultproxy.Fault{faultproxy.Reset, faultproxy.Truncate, faultproxy.Corrupt,
		faultproxy.Busy, faultproxy.Refuse}
	proxy, err := faultproxy.Start(faultproxy.Options{Target: p.host, Rate: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	want, err := saveFrom(t, proxy.Addr()+"/kolla:t1", SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	happened := map[faultproxy.Fault]int{}
	for i := range 3 {
		for _, fault := range faults {
			proxy.Set(faultproxy.Options{Target: p.host, Rate: 0.5, Max: 2, Seed: uint64(i), Faults: []faultproxy.Fault{fault},
				Match: func(r *http.Request) bool {
					return r.Method == http.MethodGet && (strings.Contains(r.URL.Path, "/blobs/") ||
						strings.Contains(r.URL.Path, "/manifests/sha256:"))
				}})
			got, err := saveFrom(t, proxy.Addr()+"/kolla:t1", SaveOptions{})
			for f, n := range proxy.Injected() {
				happened[f] += n
			}
			switch {
			case err == nil:
				if !sameContent(t, want, got) {
					t.Errorf("%s, %d: another file", fault, i)
				}
			default:
				t.Errorf("%s, %d: %v", fault, i, err)
			}
		}
	}
	if got := slices.Sorted(maps.Keys(happened)); len(got) != len(faults) {
		t.Errorf("faults that happened: %v", happened)
	}
	proxy.Set(faultproxy.Options{Target: p.host, Rate: 1, Faults: []faultproxy.Fault{faultproxy.Corrupt},
		Match: func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/") }})
	got, err := saveFrom(t, proxy.Addr()+"/kolla:t1", SaveOptions{})
	var damaged *registry.ContentError
	if _, statErr := os.Stat(got); !errors.As(err, &damaged) || usererr.Hint(err) == "" || statErr == nil {
		t.Errorf("always damaged: %v, the file exists: %v", err, statErr == nil)
	}
}

func TestSaveFromRegistryMistakes(t *testing.T) {
	p := publishSample(t, registrytest.Embedded(t, server.Options{}).Host())
	for _, tc := range []struct {
		from, want string
		o          SaveOptions
		args       []string
	}{
		{"kolla", "registry is missing", SaveOptions{}, nil},
		{p.host, "namespace is missing", SaveOptions{}, nil},
		{p.host + "/nowhere", "no images", SaveOptions{}, nil},
		{p.host + "/kolla:t9", "tag t9", SaveOptions{}, nil},
		{p.host + "/kolla:t1", "glance", SaveOptions{}, []string{"glance"}},
		{p.host + "/kolla:t1", "--registry", SaveOptions{}, []string{"--registry", "other.example:4000"}},
		{p.host + "/kolla:t1", "-n", SaveOptions{}, []string{"-n", "other"}},
		{p.host + "/kolla:t1", "--tag", SaveOptions{}, []string{"--tag", "t2"}},
	} {
		_, err := saveFrom(t, tc.from, tc.o, tc.args...)
		var located *config.Error // has its hint in it
		if err == nil || !strings.Contains(err.Error(), tc.want) || usererr.Hint(err) == "" && !errors.As(err, &located) {
			t.Errorf("--from %s %v: %v (hint %q), want an error about %q", tc.from, tc.args, err, usererr.Hint(err), tc.want)
		}
	}
}
