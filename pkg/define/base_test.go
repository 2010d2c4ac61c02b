package define

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/synthetic"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/kolla-build/kolla-build/pkg/store"
)

func TestMain(m *testing.M) { registrytest.Main(m) }

// site is a data directory, with a tree whose root image comes from base:1.
type site struct {
	t      *testing.T
	dir    string
	host   string // of the registry
	store  *store.Store
	client *registry.Client
	stderr bytes.Buffer
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), client: registrytest.Client(t, registry.Options{Timeout: 10 * time.Second})}
	s.write("tree/base/Dockerfile.j2", "FROM {{ base_image }}:{{ base_distro_tag }}\nENV A=1\n")
	s.write("tree/child/Dockerfile.j2", "FROM {{ namespace }}/base:{{ tag }}\nCOPY file /file\n")
	s.write("tree/child/file", "content\n")
	s.write("tree/broken/Dockerfile.j2", "FROM {{ namespace }}/base:{{ tag }}\nNOSUCH instruction\n")
	s.write("tree/leaf/Dockerfile.j2", "FROM {{ namespace }}/broken:{{ tag }}\n")
	var err error
	if s.store, err = store.Open(filepath.Join(s.dir, "store")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	return s
}

func (s *site) write(path, content string) {
	s.t.Helper()
	path = filepath.Join(s.dir, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

// tag makes base:1 in the registry name an image.
func (s *site) tag(img v1.Image) digest.Digest {
	s.t.Helper()
	if s.host == "" {
		s.host = registrytest.Debian(s.t)
	}
	p := push.New(s.client, push.Options{})
	if _, err := p.Push(s.t.Context(), s.host+"/base", img); err != nil {
		s.t.Fatal(err)
	}
	d := registrytest.Digest(s.t, img)
	if err := p.Commit(s.t.Context(), []push.Tag{{Ref: s.host + "/base:1", Digest: d}}); err != nil {
		s.t.Fatal(err)
	}
	return d
}

// define defines the tree as a run with these options does.
func (s *site) define(change func(*Options), args ...string) (*Defined, error) {
	s.t.Helper()
	args = append([]string{"--base", "debian", "--base-image", s.host + "/base", "--base-tag", "1", "--tag", "t",
		"--images-dir", filepath.Join(s.dir, "tree"), "--data-dir", s.dir}, args...)
	cfg, err := cli.Load(cli.Input{Args: args, Dir: s.dir, SystemFile: filepath.Join(s.dir, "none")})
	if err != nil {
		s.t.Fatal(err)
	}
	con := &console.Console{Stdout: io.Discard, Stderr: &s.stderr}
	opts := Options{Console: con, Store: s.store, Client: s.client, BaseImage: cfg.BaseImage}
	cfg.BaseImage = BaseImageName(cfg.BaseImage, cfg.Base)
	rendered, err := imageset.Render(s.t.Context(), imageset.Options{Config: cfg, Console: con})
	if err != nil {
		s.t.Fatal(err)
	}
	defer rendered.Close()
	if change != nil {
		change(&opts)
	}
	return Images(s.t.Context(), rendered, opts)
}

func (s *site) mustDefine(change func(*Options), args ...string) *Defined {
	s.t.Helper()
	d, err := s.define(change, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

var (
	base   = image.ID{Name: "base"}
	child  = image.ID{Name: "child"}
	broken = image.ID{Name: "broken"}
	leaf   = image.ID{Name: "leaf"}
)

func onlyBase(t *testing.T, d *Defined) digest.Digest {
	t.Helper()
	used := d.Bases(base)
	if len(used) != 1 {
		t.Fatalf("%d base images are used", len(used))
	}
	return used[0]
}

// A base image is pulled once. A tag that changed in the registry counts with
// --pull, and changes the keys of all images.
func TestFloatingTagOfBaseImage(t *testing.T) {
	s := newSite(t)
	first := s.tag(registrytest.Base(t, 2000))
	before := s.mustDefine(nil, "--pull")
	if got := onlyBase(t, before); got != first {
		t.Errorf("the base image is %s, want %s", got, first)
	}
	second := s.tag(registrytest.Base(t, 2000))
	if got := onlyBase(t, s.mustDefine(nil, "--nopull")); got != first {
		t.Errorf("without --pull the base image is %s, want the stored %s", got, first)
	}
	after := s.mustDefine(nil, "--pull")
	if got := onlyBase(t, after); got != second {
		t.Errorf("with --pull the base image is %s, want %s", got, second)
	}
	for _, id := range []image.ID{base, child} {
		if a, b := before.Image(id).Key, after.Image(id).Key; a == b || a == "" {
			t.Errorf("%s: key %s, then %s: the base image counts", id, a, b)
		}
	}
	if n := strings.Count(s.stderr.String(), "pulling base image"); n != 2 {
		t.Errorf("pulled %d times:\n%s", n, s.stderr.String())
	}
}

// A mistake in a Dockerfile affects the image and its descendants only.
func TestBrokenDockerfileAffectsDescendants(t *testing.T) {
	s := newSite(t)
	s.tag(registrytest.Base(t, 2000))
	d := s.mustDefine(nil)
	if im := d.Image(broken); im.Err == nil || im.Key != "" ||
		!strings.Contains(im.Err.Error(), "broken/Dockerfile.j2:2") {
		t.Errorf("broken: key %q, error %v", im.Key, im.Err)
	}
	if im := d.Image(leaf); im.Err != nil || im.Key != "" {
		t.Errorf("leaf: key %q, error %v", im.Key, im.Err)
	}
	if im := d.Image(child); im.Err != nil || im.Key == "" || im.Parent != base || im.Parts["context"] == "" {
		t.Errorf("child: %+v", im)
	}
}

// If the registry does not answer, the stored image is used; without one, that is
// an error.
func TestBaseImageOfUnreachableRegistry(t *testing.T) {
	s := newSite(t)
	proxy := registrytest.StartProxy(t, registrytest.Debian(t), nil)
	s.host = proxy.Host
	want := s.tag(registrytest.Base(t, 2000))
	s.mustDefine(nil, "--pull")
	proxy.Close()
	if got := onlyBase(t, s.mustDefine(nil, "--pull")); got != want {
		t.Errorf("the base image is %s, want the stored %s", got, want)
	}
	if !strings.Contains(s.stderr.String(), "in the store") {
		t.Errorf("the user is not told that a stored image is used:\n%s", s.stderr.String())
	}
	if _, err := s.define(nil, "--base-tag", "other"); err == nil || !strings.Contains(err.Error(), s.host+"/base:other") {
		t.Errorf("a base image that is nowhere: %v", err)
	}
	if _, err := s.define(func(o *Options) { o.Offline = true }, "--base-tag", "other"); err == nil ||
		!strings.Contains(err.Error(), "not in the store") {
		t.Errorf("offline: %v", err)
	}
}

// A damaged base image is pulled again for a build. A command that only shows the plan,
// or works offline, does not change it.
func TestDamagedBaseImage(t *testing.T) {
	s := newSite(t)
	want := s.tag(registrytest.Base(t, 2000))
	s.mustDefine(nil)
	blobs, err := s.store.Blobs(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	layer := blobs[len(blobs)-1].Digest
	path := filepath.Join(s.dir, "store", "blobs", layer.Algorithm().String(), layer.Encoded())
	if err := errors.Join(os.Chmod(path, 0o644), os.Truncate(path, 100)); err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	for name, change := range map[string]func(*Options){
		"preview": func(o *Options) { o.KeepDamaged = true },
		"offline": func(o *Options) { o.Offline = true },
	} {
		if got := onlyBase(t, s.mustDefine(change)); got != want || size() != 100 {
			t.Errorf("%s: base image %s, the damaged layer has %d bytes", name, got, size())
		}
	}
	if got := onlyBase(t, s.mustDefine(nil)); got != want || size() == 100 {
		t.Errorf("a build: base image %s, the damaged layer has %d bytes", got, size())
	}
}

// Bootstrapping takes minutes, so a build that could not start a builder afterwards fails
// before it.
func TestBeforeBootstrap(t *testing.T) {
	s := newSite(t)
	cfg, err := cli.Load(cli.Input{Args: []string{"--base", "debian"}, Dir: s.dir,
		SystemFile: filepath.Join(s.dir, "none")})
	if err != nil {
		t.Fatal(err)
	}
	cfg.BaseImage = BaseImageName(cfg.BaseImage, cfg.Base)
	refused := errors.New("starting a builder needs root")
	b := &bases{cfg: cfg, Options: Options{Console: &console.Console{Stdout: io.Discard, Stderr: &s.stderr},
		Store:           s.store,
		BeforeBootstrap: func() error { return refused }}}
	_, err = b.bootstrapInstead(t.Context(), render.BaseReference(cfg),
		&registry.UnreachableError{Host: "docker.io", Err: errors.New("no route")})
	if !errors.Is(err, refused) || strings.Contains(s.stderr.String(), "bootstrapping") {
		t.Errorf("the error is %v, after:\n%s", err, s.stderr.String())
	}
}

func TestBaseImageFromLayout(t *testing.T) {
	testenv.Program(t, "busybox", "busybox-static")
	s := newSite(t)
	dir := filepath.Join(s.dir, "layout")
	if _, err := synthetic.WriteBase(dir); err != nil {
		t.Fatal(err)
	}
	d := s.mustDefine(nil, "--base-image", "oci:"+dir)
	if e, ok, err := s.store.Lookup("kolla-build.local/debian:1"); err != nil || !ok || e.Digest != onlyBase(t, d) {
		t.Errorf("the imported image is %+v, %v, %v", e, ok, err)
	}
}

func TestLocalBaseSyntax(t *testing.T) {
	for text, want := range map[string][3]string{
		"oci:dir":                {"dir", "", "path"},
		"oci:/a:b/dir:name:tag":  {"/a:b/dir", "name:tag", "path"},
		"./file":                 {"./file", "", "path"},
		"base.tar.gz":            {"base.tar.gz", "", "path"},
		"debian":                 {"", "", ""},
		"registry.example/a/b.c": {"", "", ""},
	} {
		path, name, ok := localBase(text)
		if path != want[0] || name != want[1] || ok != (want[2] != "") {
			t.Errorf("%s: %q, %q, %v", text, path, name, ok)
		}
	}
}

func TestSourceDateEpoch(t *testing.T) {
	for text, want := range map[string]int64{"": 0, " 86400 ": 86400, "x": -1, "-5": -1, "1.5": -1} {
		got, err := SourceDateEpoch(&console.Console{Environ: []string{"SOURCE_DATE_EPOCH=" + text}})
		switch {
		case (err != nil) != (want < 0):
			t.Errorf("%q: %v", text, err)
		case want > 0 && got.Unix() != want, want == 0 && !got.IsZero():
			t.Errorf("%q is %v", text, got)
		}
	}
	s := newSite(t)
	s.tag(registrytest.Base(t, 2000))
	epoch := time.Unix(86400, 0)
	if got := s.mustDefine(func(o *Options) { o.Epoch = epoch }).Image(child).Created; !got.Equal(epoch) {
		t.Errorf("the created time is %v", got)
	}
}

// The key of an image with squashed layers differs.
func TestSquashIsPartOfTheKey(t *testing.T) {
	s := newSite(t)
	s.tag(registrytest.Base(t, 2000))
	plain, squashed := s.mustDefine(nil).Image(child), s.mustDefine(nil, "--squash").Image(child)
	if plain.Key == squashed.Key || squashed.Parts["squash"] == "" || plain.Parts["squash"] != "" {
		t.Errorf("keys %s and %s", plain.Key, squashed.Key)
	}
}
