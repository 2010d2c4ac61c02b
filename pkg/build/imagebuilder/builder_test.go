package imagebuilder

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/freshness"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/runstate"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// site is a data directory with a tree of base, child and two that cannot be built.
type site struct {
	t     *testing.T
	dir   string
	store *store.Store
	keys  *runstate.KeyHistory
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.write("tree/base/Dockerfile.j2", "FROM scratch\nCOPY file /file\nCOPY file /again\n")
	s.write("tree/base/file", "base\n")
	s.write("tree/child/Dockerfile.j2", "FROM {{ namespace }}/base:{{ tag }}\nCOPY one /one\nCOPY two /two\n")
	s.write("tree/child/one", "1\n")
	s.write("tree/child/two", "2\n")
	s.write("tree/broken/Dockerfile.j2", "FROM {{ namespace }}/base:{{ tag }}\nNOSUCH\n")
	var err error
	if s.store, err = store.Open(filepath.Join(s.dir, "store")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	return s
}

func (s *site) write(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// run defines, plans and builds the tree, and returns the results by name.
func (s *site) run(args ...string) (map[string]build.Result, *Builder) {
	s.t.Helper()
	cfg, err := cli.Load(cli.Input{Dir: s.dir, SystemFile: filepath.Join(s.dir, "none"),
		Args: append([]string{"--base", "debian", "--tag", "t",
			"--images-dir", filepath.Join(s.dir, "tree"), "--data-dir", s.dir}, args...)})
	if err != nil {
		s.t.Fatal(err)
	}
	con := &console.Console{Stdout: io.Discard, Stderr: io.Discard}
	baseImage := cfg.BaseImage
	cfg.BaseImage = define.BaseImageName(cfg.BaseImage, cfg.Base)
	rendered, err := imageset.Render(s.t.Context(), imageset.Options{Config: cfg, Console: con})
	if err != nil {
		s.t.Fatal(err)
	}
	defer rendered.Close()
	defined, err := define.Images(s.t.Context(), rendered,
		define.Options{Console: con, Store: s.store, Compression: compress.Default,
			BaseImage: baseImage})
	if err != nil {
		s.t.Fatal(err)
	}
	inputs, err := freshness.Check(s.t.Context(), defined, freshness.Options{Console: con, Store: s.store, DataDir: s.dir})
	if err != nil {
		s.t.Fatal(err)
	}
	var in []plan.Input
	for _, im := range defined.Images {
		in = append(in, plan.Input{Image: im.ID, Reference: im.Reference, Parent: im.Parent, Needs: im.Needs,
			Key: inputs.Key(im.ID), Parts: im.Parts})
	}
	s.keys = runstate.OpenKeyHistory(s.dir, "scope")
	p := plan.New(in, plan.History{
		Stored: func(key digest.Digest) (plan.StoredImage, bool) {
			e, ok, err := s.store.ByKey(key.String())
			return plan.StoredImage{Digest: e.Digest, Size: e.Size}, key != "" && ok && err == nil
		},
		Parts:    s.keys.Parts,
		Duration: func(image.ID) (time.Duration, bool) { return 0, false },
	}, false)
	b := New(p, Options{Store: s.store, Defined: defined, Inputs: inputs,
		Warmer: inputs.NewWarmer(s.t.Context()), Keys: s.keys,
		Busy: func() func() { return func() {} }, Squash: cfg.Squash, Compression: compress.Default, ClampTimes: true,
		Getenv: func(string) string { return "" },
		Buildkit: buildkit.Options{DaemonPath: testenv.Buildkitd(s.t), StateDir: filepath.Join(s.dir, "buildkit"),
			Store: s.store.Content(), Notice: func(string) {}}})
	if p.ToBuild() > 0 {
		if err := b.Ready(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
	out := map[string]build.Result{}
	for _, res := range build.Run(s.t.Context(), p,
		build.Options{Builder: b, Finisher: b, Threads: 2, Emit: func(build.Event) {}}) {
		out[res.Image.Name] = res
	}
	if err := b.Close(); err != nil {
		s.t.Fatal(err)
	}
	return out, b
}

func (s *site) layers(d digest.Digest) []v1.Hash {
	s.t.Helper()
	img, err := s.store.Image(d)
	if err != nil {
		s.t.Fatal(err)
	}
	conf, err := img.ConfigFile()
	if err != nil {
		s.t.Fatal(err)
	}
	return conf.RootFS.DiffIDs
}

// Steps for a platform that the builder emulates have the settings of the emulator.
func TestEmulatedSteps(t *testing.T) {
	s := newSite(t)
	_, b := s.run("--base-arch", "aarch64")
	im := *b.opts.Defined.Image(image.ID{Name: "base"})
	im.Dockerfile = buildkit.Dockerfile{Name: "base", Reference: im.Reference,
		Content: []byte("FROM scratch\nRUN [\"/a\"]\n")}
	for native, want := range map[string]bool{"amd64": true, "arm64": false} {
		b.native = native
		def, err := b.definition(t.Context(), &im, &dependencies{})
		if err != nil {
			t.Fatal(err)
		}
		got := slices.ContainsFunc(def.LLB.Def, func(op []byte) bool { return strings.Contains(string(op), "QEMU_CPU=") })
		if got != want {
			t.Errorf("on %s, steps for arm64 have QEMU_CPU: %v", native, got)
		}
	}
}

// An image is in the store under its name and its key as soon as it is built, on
// its parent as the store has it.
func TestBuildIntoTheStore(t *testing.T) {
	s := newSite(t)
	first, b := s.run()
	base, child := first["base"], first["child"]
	if base.Status != build.StatusBuilt || child.Status != build.StatusBuilt {
		t.Fatalf("base %s, child %s: %v", base.Status, child.Status, child.Failure)
	}
	if broken := first["broken"]; broken.Status != build.StatusError ||
		!strings.Contains(broken.Reason, "broken/Dockerfile.j2:2") {
		t.Errorf("broken: %s, %q", broken.Status, broken.Reason)
	}
	for _, res := range []build.Result{base, child} {
		e, ok, err := s.store.Lookup(res.Reference)
		if err != nil || !ok || e.Digest != res.Digest || e.Size != res.Size || e.Kind != store.KindBuilt {
			t.Errorf("%s is stored as %+v, %v, %v", res.Image, e, ok, err)
		}
		if got := b.Digest("", res.Reference); got != res.Digest {
			t.Errorf("%s has digest %s, want %s", res.Image, got, res.Digest)
		}
		if _, ok := s.keys.Parts(res.Image); ok {
			t.Errorf("%s: the parts of this run count as those of an earlier one", res.Image)
		}
	}
	baseLayers := s.layers(base.Digest)
	if childLayers := s.layers(child.Digest); len(childLayers) != len(baseLayers)+2 ||
		!slices.Equal(childLayers[:len(baseLayers)], baseLayers) {
		t.Errorf("base has layers %v, child %v", baseLayers, childLayers)
	}

	// Stored images are kept, and are the parents of built ones.
	s.write("tree/child/one", "changed\n")
	second, _ := s.run()
	if second["base"].Status != build.StatusUnchanged || second["base"].Digest != base.Digest {
		t.Errorf("base: %s, %s", second["base"].Status, second["base"].Digest)
	}
	if res := second["child"]; res.Status != build.StatusBuilt || res.Digest == child.Digest ||
		res.Reason != "context changed" {
		t.Errorf("child: %s, %q", res.Status, res.Reason)
	}
	if childLayers := s.layers(second["child"].Digest); !slices.Equal(childLayers[:len(baseLayers)], baseLayers) {
		t.Errorf("base has layers %v, the new child %v", baseLayers, childLayers)
	}
}

// A child is the same image whether its parent is built in the same run, kept and
// used as the builder has it, or kept and unpacked by a builder that has lost it.
func TestChildOfKeptParent(t *testing.T) {
	newTree := func() *site {
		s := newSite(t)
		s.write("tree/base/Dockerfile.j2", "FROM scratch\nCOPY file /made/by/copy/file\n")
		s.write("tree/child/Dockerfile.j2", "FROM {{ namespace }}/base:{{ tag }}\nCOPY one /made/by/copy/one\nCOPY two /other/two\n")
		return s
	}
	s := newTree()
	first, _ := s.run()
	parent := first["base"].Digest
	rebuild := func(content string) (got, want digest.Digest, requested bool) {
		t.Helper()
		s.write("tree/child/one", content)
		results, b := s.run()
		if results["base"].Status != build.StatusUnchanged || results["child"].Status != build.StatusBuilt {
			t.Fatalf("base %s, child %s: %v", results["base"].Status, results["child"].Status, results["child"].Failure)
		}
		fresh := newTree()
		fresh.write("tree/child/one", content)
		all, _ := fresh.run()
		return results["child"].Digest, all["child"].Digest, b.staging.Requested(parent)
	}
	if got, want, requested := rebuild("2\n"); got != want || requested {
		t.Errorf("child %s, want %s; asked for layers of base: %v", got, want, requested)
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "buildkit")); err != nil {
		t.Fatal(err)
	}
	if got, want, requested := rebuild("3\n"); got != want || !requested {
		t.Errorf("with a new builder: child %s, want %s; asked for layers of base: %v", got, want, requested)
	}
}

func TestSquash(t *testing.T) {
	s := newSite(t)
	results, _ := s.run("--squash")
	base, child := s.layers(results["base"].Digest), s.layers(results["child"].Digest)
	if len(base) != 1 || len(child) != 2 || child[0] != base[0] {
		t.Errorf("base has layers %v, child %v: want one of its own each", base, child)
	}
}

func TestProxyArgs(t *testing.T) {
	args := ProxyArgs(func(name string) string { return map[string]string{"https_proxy": "http://p", "OTHER": "x"}[name] })
	if len(args) != 1 || args["https_proxy"] != "http://p" {
		t.Errorf("%v", args)
	}
}
