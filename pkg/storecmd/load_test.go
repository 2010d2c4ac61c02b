package storecmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

func TestMain(m *testing.M) { registrytest.Main(m) }

// site is the data directory of a site that bundles are loaded at.
func site(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: filepath.Join(t.TempDir(), "data")}
	f.con = &console.Console{Stdout: &f.stdout, Stderr: &f.stderr}
	return f
}

// saved saves two images of the tag 2026-11-22 in a bundle.
func saved(t *testing.T) (path string, digests map[string]digest.Digest) {
	t.Helper()
	f := site(t)
	s, err := workspace.OpenStore(f.config())
	if err != nil {
		t.Fatal(err)
	}
	base := registrytest.Base(t, 1000)
	digests = map[string]digest.Digest{}
	for _, name := range []string{"nova-api", "nova-compute"} {
		d, err := s.WriteImage(t.Context(), registrytest.Image(t, base, 500, 1))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(store.Entry{Name: "origin.example/kolla/" + name + ":2026-11-22", Digest: d,
			Kind: store.KindBuilt}); err != nil {
			t.Fatal(err)
		}
		digests[name] = d
	}
	s.Close()
	path = filepath.Join(t.TempDir(), "set.tar")
	if err := Save(t.Context(), f.config(), f.con, path, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	return path, digests
}

func TestLoad(t *testing.T) {
	path, digests := saved(t)
	f := site(t)
	if err := Load(t.Context(), f.config(), f.con, []string{path}, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	names := strings.Join(f.names(), " ")
	if names != "origin.example/kolla/nova-api:2026-11-22 origin.example/kolla/nova-compute:2026-11-22" {
		t.Errorf("loaded %s", names)
	}
	s, err := workspace.OpenStoreForReading(f.config())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, d := range digests {
		if err := s.Verify(t.Context(), d); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLoadAndPush renames the images to a real registry and publishes them under two
// tags.
func TestLoadAndPush(t *testing.T) {
	path, digests := saved(t)
	host := registrytest.Embedded(t, server.Options{}).Host()
	f := site(t)
	if err := Load(t.Context(), f.config("--push", "--registry", host, "--namespace", "site", "--also-tag", "nightly"),
		f.con, []string{path}, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, d := range digests {
		for _, tag := range []string{"2026-11-22", "nightly"} {
			registrytest.MustPull(t, host, "HOST/site/"+name+":"+tag, d)
		}
	}
	if got := len(f.names()); got != 4 {
		t.Errorf("the store has %d names, want two for each image", got)
	}
}

// Each tag is looked up once before the content is read. After it, only the tags that are
// updated are looked up again, in the commit.
func TestLoadLooksUpTagsOnce(t *testing.T) {
	path, digests := saved(t)
	proxy := registrytest.StartProxy(t, registrytest.Embedded(t, server.Options{}).Host(), nil)
	load := func() {
		t.Helper()
		f := site(t)
		if err := Load(t.Context(), f.config("--push", "--registry", proxy.Host), f.con, []string{path},
			LoadOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	load()
	proxy.Set(nil)
	load() // nothing changes
	for name := range digests {
		if n := proxy.Count("HEAD", "/"+name+"/manifests/2026-11-22"); n != 1 {
			t.Errorf("the tag of %s was looked up %d times", name, n)
		}
	}
}

// load --push changes no tag of a registry that names another image without --replace, also if
// the store is new. Tags of --also-tag float.
func TestLoadReplacesNoTags(t *testing.T) {
	path, digests := saved(t)
	other, others := saved(t)
	reg := registrytest.Embedded(t, server.Options{})
	host := reg.Host()
	load := func(f *fixture, file string, o LoadOptions, args ...string) error {
		f.t.Helper()
		return Load(t.Context(), f.config(append([]string{"--push", "--registry", host}, args...)...),
			f.con, []string{file}, o)
	}
	if err := load(site(t), path, LoadOptions{}, "--also-tag", "current"); err != nil {
		t.Fatal(err)
	}
	if err := load(site(t), path, LoadOptions{}); err != nil {
		t.Errorf("the same images in a new store: %v", err)
	}
	// One of the two names is taken: none is changed, and nothing is read.
	f := site(t)
	err := load(f, other, LoadOptions{})
	var taken *push.TagsTakenError
	if !errors.As(err, &taken) || len(taken.Refs) != 2 || !strings.Contains(usererr.Hint(err), "--replace") {
		t.Errorf("other images: %v", err)
	}
	if blobs, _ := filepath.Glob(filepath.Join(workspace.StoreDir(f.config()), "blobs", "sha256",
		"*")); len(blobs) != 0 || len(f.names()) != 0 {
		t.Errorf("%d blobs were read before", len(blobs))
	}
	if err := load(f, other, LoadOptions{DryRun: true}); err != nil ||
		strings.Count(f.stdout.String(), "add --replace\n") != 2 || !strings.Contains(f.stdout.String(), "REGISTRY") {
		t.Errorf("dry run: %s, %v", f.stdout.String(), err)
	}
	for name, d := range digests {
		registrytest.MustPull(t, host, "HOST/kolla/"+name+":2026-11-22", d)
	}
	// The digests of other tools' files are known when they were read.
	docker := filepath.Join(t.TempDir(), "dir")
	registrytest.Run(t, "skopeo", "copy", "oci-archive:"+other+":origin.example/kolla/nova-api:2026-11-22",
		"oci:"+docker+":kolla/nova-api:2026-11-22")
	f = site(t)
	if err := load(f, docker, LoadOptions{}); !errors.As(err, &taken) || len(f.names()) != 0 {
		t.Errorf("a directory of skopeo: %v, %v", err, f.names())
	}
	// New names are free, and --also-tag is a request to change that tag.
	if err := load(site(t), other, LoadOptions{Tags: []string{"june"}}, "--also-tag", "current"); err != nil {
		t.Fatal(err)
	}
	if err := load(site(t), other, LoadOptions{Replace: true}); err != nil {
		t.Fatal(err)
	}
	for name, d := range others {
		for _, tag := range []string{"june", "current", "2026-11-22"} {
			registrytest.MustPull(t, host, "HOST/kolla/"+name+":"+tag, d)
		}
	}
}

// TestLoadChecksOptionsFirst checks that a mistake in an option is found before
// anything is loaded.
func TestLoadChecksOptionsFirst(t *testing.T) {
	path, _ := saved(t)
	for name, args := range map[string][]string{
		"retention":      {"--retain", "bogus"},
		"no set is kept": {"--retain", "0"},
		"further tag":    {"--also-tag", "not/a/tag"},
		"registry":       {"--registry", "user:password@registry.example"},
		"no registry":    {"--push"},
	} {
		f := site(t)
		err := Load(t.Context(), f.config(args...), f.con, []string{path}, LoadOptions{})
		if err == nil || usererr.Text(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		if blobs, _ := filepath.Glob(filepath.Join(workspace.StoreDir(f.config()), "blobs", "sha256", "*")); len(blobs) != 0 {
			t.Errorf("%s: %d blobs were loaded before: %v", name, len(blobs), err)
		}
	}
}

// TestLoadRegistryDown checks that no image has a name if the set cannot be published, and
// that a second attempt publishes it.
func TestLoadRegistryDown(t *testing.T) {
	path, digests := saved(t)
	f := site(t)
	host := registrytest.FreeAddr(t)
	err := Load(t.Context(), f.config("--push", "--registry", host), f.con, []string{path}, LoadOptions{})
	if err == nil || !strings.Contains(err.Error(), host) || usererr.Hint(err) == "" {
		t.Errorf("a registry that does not run: %v", err)
	}
	if got := f.names(); len(got) != 0 {
		t.Errorf("named although the registry did not take them: %v", got)
	}
	registrytest.Embedded(t, server.Options{Addr: host})
	if err := Load(t.Context(), f.config("--push", "--registry", host), f.con, []string{path}, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, d := range digests {
		registrytest.MustPull(t, host, "HOST/kolla/"+name+":2026-11-22", d)
	}
}

// TestLoadDamagedBundle cuts the bundle at several places: the error names it, and no
// image has a name.
func TestLoadDamagedBundle(t *testing.T) {
	path, _ := saved(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, 600, len(whole) / 2, len(whole) - 2000} {
		cut := filepath.Join(t.TempDir(), "cut.tar")
		if err := os.WriteFile(cut, whole[:size], 0o644); err != nil {
			t.Fatal(err)
		}
		f := site(t)
		if err := Load(t.Context(), f.config(), f.con, []string{cut}, LoadOptions{}); err == nil ||
			!strings.Contains(err.Error(), "cut.tar") {
			t.Errorf("cut to %d bytes: %v", size, err)
		}
		if got := f.names(); len(got) != 0 {
			t.Errorf("cut to %d bytes: loaded %v", size, got)
		}
	}
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2] ^= 1
	if err := os.WriteFile(path, damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	f := site(t)
	if err := Load(t.Context(), f.config(), f.con, []string{path}, LoadOptions{}); err == nil {
		t.Error("a changed byte is not found")
	}
}

// TestRenamesThatChangeNothing checks that a rename which no image matches is reported, also by a dry run.
func TestRenamesThatChangeNothing(t *testing.T) {
	path, _ := saved(t)
	for _, dryRun := range []bool{true, false} {
		f := site(t)
		opts := LoadOptions{Renames: []string{"s|^kolla/|x/|", "s|^none/|x/|"}, DryRun: dryRun}
		if err := Load(t.Context(), f.config(), f.con, []string{path}, opts); err != nil {
			t.Fatal(err)
		}
		out := f.stderr.String()
		if strings.Count(out, "changes no name") != 1 || !strings.Contains(out, "s|^none/|x/|") {
			t.Errorf("dry run %v: %s", dryRun, out)
		}
	}
	// Also if the names that were not changed belong to other images.
	f, opts := site(t), LoadOptions{Renames: []string{"s|^none/|x/|"}}
	if err := Load(t.Context(), f.config(), f.con, []string{path}, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	other, _ := saved(t)
	f.stderr.Reset()
	var taken *store.NamesTakenError
	if err := Load(t.Context(), f.config(), f.con, []string{other}, opts); !errors.As(err, &taken) ||
		!strings.Contains(f.stderr.String(), "changes no name") {
		t.Errorf("%v: %s", err, f.stderr.String())
	}
}

// TestLoadTags loads a bundle under other tags, prints the names, and previews both
// without storing anything.
func TestLoadTags(t *testing.T) {
	path, digests := saved(t)
	const old = "origin.example/kolla/nova-api:2026-11-22"
	for _, c := range []struct {
		args []string
		tags []string
		want string // the name of nova-api
	}{
		{nil, nil, old},
		{nil, []string{"new"}, "origin.example/kolla/nova-api:new"},
		{nil, []string{"2026-11-22=new", "other=x"}, "origin.example/kolla/nova-api:new"},
		{nil, []string{"other=x"}, old},
		{nil, []string{"other=x", "new"}, "origin.example/kolla/nova-api:new"},
		{[]string{"-n", "site"}, []string{"new"}, "origin.example/site/nova-api:new"},
		{[]string{"--registry", "localhost:4000", "--image-name-prefix", "x-"}, nil,
			"localhost:4000/kolla/x-nova-api:2026-11-22"},
	} {
		f := site(t)
		if err := Load(t.Context(), f.config(c.args...), f.con, []string{path},
			LoadOptions{Tags: c.tags, List: true}); err != nil {
			t.Fatal(err)
		}
		listed := f.stdout.String()
		f.stdout.Reset()
		if err := Load(t.Context(), f.config(c.args...), f.con, []string{path},
			LoadOptions{Tags: c.tags, DryRun: true}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(f.stdout.String(), c.want+" ") || !strings.Contains(f.stdout.String(), "new\n") {
			t.Errorf("%q %q: dry run %s", c.args, c.tags, f.stdout.String())
		}
		if _, err := os.Stat(f.dir); !os.IsNotExist(err) {
			t.Errorf("a preview made the data directory: %v", err)
		}
		f.stdout.Reset()
		if err := Load(t.Context(), f.config(c.args...), f.con, []string{path}, LoadOptions{Tags: c.tags}); err != nil {
			t.Fatal(err)
		}
		if warned := strings.Contains(f.stderr.String(),
			"no image has the tag other"); warned != slices.Contains(c.tags, "other=x") ||
			strings.Contains(f.stderr.String(), "tag 2026-11-22") {
			t.Errorf("%q: warnings %s", c.tags, f.stderr.String())
		}
		if got := f.stdout.String(); got != listed || !strings.HasPrefix(got, c.want+"\n") || strings.Count(got, "\n") != 2 {
			t.Errorf("%q %q: printed %q, listed %q, want %s first", c.args, c.tags, got, listed, c.want)
		}
		s, err := workspace.OpenStoreForReading(f.config())
		if err != nil {
			t.Fatal(err)
		}
		if e, ok, err := s.Lookup(c.want); err != nil || !ok || e.Digest != digests["nova-api"] {
			t.Errorf("%s: %+v, %v, %v", c.want, e, ok, err)
		}
		s.Close()
		f.stdout.Reset()
		if err := Load(t.Context(), f.config(c.args...), f.con, []string{path},
			LoadOptions{Tags: c.tags, DryRun: true}); err != nil ||
			strings.Count(f.stdout.String(), "unchanged") != 2 {
			t.Errorf("a dry run after loading: %s, %v", f.stdout.String(), err)
		}
	}
	for _, tags := range [][]string{{"a b"}, {"x="}, {"one", "two"}, {"a=b", "a=c"}} {
		f := site(t)
		if err := Load(t.Context(), f.config(), f.con, []string{path}, LoadOptions{Tags: tags}); !usererr.IsUsage(err) {
			t.Errorf("--tag %q: %v", tags, err)
		}
	}
}

// TestLoadShowsProgress checks that both stages of load --push end at their total.
func TestLoadShowsProgress(t *testing.T) {
	path, _ := saved(t)
	host := registrytest.Embedded(t, server.Options{}).Host()
	f := site(t)
	cfg := f.config("--push", "--registry", host)
	cfg.Progress = "json"
	if err := Load(t.Context(), cfg, f.con, []string{path}, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	ends := map[string][2]int64{}
	for _, line := range strings.Split(f.stderr.String(), "\n") {
		var e struct {
			Event, Action string
			Bytes         int64
			Total         int64 `json:"total_bytes"`
		}
		if json.Unmarshal([]byte(line), &e) == nil && e.Event == "transfer" {
			ends[e.Action] = [2]int64{e.Bytes, e.Total}
		}
	}
	for _, action := range []string{"loading", "pushing"} {
		if end := ends[action]; end[0] == 0 || end[0] != end[1] {
			t.Errorf("%s ended at %d of %d", action, end[0], end[1])
		}
	}
}

// What a file says of platforms cannot control the terminal.
func TestReportIsPrintable(t *testing.T) {
	f := site(t)
	evil := "linux/\x1b[2J"
	report(f.con, []load.Input{{Path: "set.tar"}},
		load.Summary{Partial: []load.Partial{{Name: evil, Loaded: []string{evil}, Missing: []string{evil}}}})
	if out := f.stderr.String(); strings.Contains(out, "\x1b") || strings.Count(out, `linux/\x1b[2J`) != 3 {
		t.Errorf("%q", out)
	}
}
