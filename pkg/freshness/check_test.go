package freshness

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/standin"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/packages"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// site is a data directory with a base image that has dpkg and a repository, and
// a tree of base, app, which installs alpha and downloads a file, and leaf.
type site struct {
	t       *testing.T
	dir     string
	server  *standin.Server
	store   *store.Store
	cfg     *config.Config
	base    v1.Image
	defined *define.Defined
	stderr  bytes.Buffer
}

var (
	baseID = image.ID{Name: "base"}
	appID  = image.ID{Name: "app"}
	leafID = image.ID{Name: "leaf"}
)

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	var err error
	if s.server, err = standin.Start(standin.Content{Suite: "standin",
		Files: map[string][]byte{"thing": []byte("one")}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.server.Close() })
	s.server.AddDebs(standin.Deb{Name: "alpha", Version: "1"}, standin.Deb{Name: "zlib", Version: "1"})
	for name, text := range map[string]string{
		"base": "FROM local/base:1\nENV A=1\n",
		"app":  "FROM kolla/base:t\nRUN apt-get install alpha\nADD " + s.server.URL() + "/files/thing /thing\n",
		"leaf": "FROM kolla/app:t\nENV B=1\n",
	} {
		path := filepath.Join(s.dir, "tree", name, "Dockerfile.j2")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if s.store, err = store.Open(filepath.Join(s.dir, "store")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	s.base = s.layer(empty.Image, map[string]string{
		"etc/apt/sources.list.d/standin.sources": s.server.AptSource(),
		"etc/os-release":                         "ID=debian\nVERSION_CODENAME=trixie\n",
		"var/lib/dpkg/status":                    installed("zlib 1"),
	})
	if err := s.store.Put(store.Entry{Name: "local/base:1", Digest: s.write(s.base), Kind: store.KindBase}); err != nil {
		t.Fatal(err)
	}
	if s.cfg, err = cli.Load(cli.Input{Dir: s.dir, SystemFile: filepath.Join(s.dir, "none"),
		Args: []string{"--base", "debian", "--tag", "t", "--images-dir", filepath.Join(s.dir, "tree"),
			"--data-dir", s.dir}}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) console() *console.Console {
	return &console.Console{Stdout: io.Discard, Stderr: &s.stderr}
}

// installed is a dpkg status file of "NAME VERSION" packages.
func installed(list ...string) string {
	var b strings.Builder
	for _, p := range list {
		name, version, _ := strings.Cut(p, " ")
		fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\nArchitecture: amd64\nVersion: %s\nMaintainer: "+
			"nobody\nDescription: x\n\n", name, version)
	}
	return b.String()
}

// layer adds a layer with files to an image.
func (s *site) layer(img v1.Image, files map[string]string) v1.Image {
	s.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)),
			Typeflag: tar.TypeReg}); err != nil {
			s.t.Fatal(err)
		}
		_, _ = io.WriteString(w, content)
	}
	if err := w.Close(); err != nil {
		s.t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser,
		error) {
		return io.NopCloser(bytes.NewReader(b.Bytes())), nil
	})
	if err == nil {
		img, err = mutate.AppendLayers(img, l)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return img
}

func (s *site) write(img v1.Image) digest.Digest {
	s.t.Helper()
	d, err := s.store.WriteImage(s.t.Context(), img)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// check defines the images and looks for changed inputs, as a run does.
func (s *site) check(refresh bool) *Inputs {
	s.t.Helper()
	rendered, err := imageset.Render(s.t.Context(), imageset.Options{Config: s.cfg, Console: s.console()})
	if err != nil {
		s.t.Fatal(err)
	}
	defer rendered.Close()
	if s.defined, err = define.Images(s.t.Context(), rendered,
		define.Options{Console: s.console(), Store: s.store}); err != nil {
		s.t.Fatal(err)
	}
	in, err := Check(s.t.Context(), s.defined, Options{Console: s.console(), Store: s.store,
		DataDir: s.dir, Refresh: refresh,
		Reader: &packages.Reader{CacheDir: filepath.Join(s.dir, "packages")}, Timeout: 10 * time.Second})
	if err != nil {
		s.t.Fatal(err)
	}
	return in
}

// build stores the images under their keys, with so much of alpha in app.
func (s *site) build(in *Inputs, alpha string) {
	s.t.Helper()
	app := s.layer(s.base, map[string]string{"var/lib/dpkg/status": installed("zlib 1", "alpha "+alpha)})
	for id, img := range map[image.ID]v1.Image{baseID: s.base, appID: app, leafID: app} {
		if err := s.store.Put(store.Entry{Digest: s.write(img), Key: in.Key(id).String(),
			Kind: store.KindBuilt}); err != nil {
			s.t.Fatal(err)
		}
		if err := in.Settle(id); err != nil {
			s.t.Fatal(err)
		}
	}
}

// A newer package in a repository gives the image that installed it, and its
// descendants, other keys, in this run and in later ones.
func TestNewerPackage(t *testing.T) {
	s := newSite(t)
	first := s.check(true)
	for _, id := range []image.ID{baseID, appID, leafID} {
		if first.Key(id) != s.defined.Image(id).Key || !first.Rebuild(id) {
			t.Errorf("%s before the first build: key %s, rebuild %v", id, first.Key(id), first.Rebuild(id))
		}
	}
	s.build(first, "1")
	if in := s.check(true); len(in.Changes(appID)) > 0 || in.Key(appID) != first.Key(appID) || in.Rebuild(appID) {
		t.Errorf("without a change: %v, key %s, rebuild %v", in.Changes(appID), in.Key(appID), in.Rebuild(appID))
	}

	s.server.AddDebs(standin.Deb{Name: "alpha", Version: "2"})
	if in := s.check(false); in.Key(appID) != first.Key(appID) {
		t.Error("a change counts although changes were not checked")
	}
	changed := s.check(true)
	if got := fmt.Sprint(changed.Changes(appID)); got != "[package alpha 1 → 2]" {
		t.Errorf("changes of app: %s", got)
	}
	if changed.Key(baseID) != first.Key(baseID) || changed.Key(appID) == first.Key(appID) ||
		changed.Key(leafID) == first.Key(leafID) {
		t.Errorf("keys %s, %s, %s: those of app and leaf must change", changed.Key(baseID),
			changed.Key(appID), changed.Key(leafID))
	}
	if !changed.Rebuild(appID) || changed.Rebuild(baseID) || changed.CacheNamespace(appID) == "" ||
		changed.CacheNamespace(leafID) != changed.CacheNamespace(appID) || changed.CacheNamespace(baseID) != "" {
		t.Errorf("rebuild %v, namespaces %q, %q, %q", changed.Rebuild(appID), changed.CacheNamespace(baseID),
			changed.CacheNamespace(appID), changed.CacheNamespace(leafID))
	}

	// A run that is killed before the image is stored leaves the old key.
	if in := s.check(false); in.Key(appID) != first.Key(appID) {
		t.Error("the new key counts before there is an image with it")
	}
	if rechecked := s.check(true); rechecked.Key(appID) != changed.Key(appID) {
		t.Errorf("a repeated run has key %s, want %s", rechecked.Key(appID), changed.Key(appID))
	}
	s.build(changed, "2")
	if in := s.check(false); in.Key(appID) != changed.Key(appID) || in.Key(leafID) != changed.Key(leafID) {
		t.Error("a later run without --refresh has other keys")
	}
	if in := s.check(true); len(in.Changes(appID)) > 0 || in.Key(appID) != changed.Key(appID) {
		t.Errorf("after the build: %v", in.Changes(appID))
	}
}

// A version that the build did not install is not a reason again.
func TestPinnedPackageIsTriedOnce(t *testing.T) {
	s := newSite(t)
	s.build(s.check(true), "1")
	s.server.AddDebs(standin.Deb{Name: "alpha", Version: "2"})
	s.build(s.check(true), "1")
	if in := s.check(true); len(in.Changes(appID)) > 0 {
		t.Errorf("tried again: %v", in.Changes(appID))
	}
}

func TestChangedDownload(t *testing.T) {
	s := newSite(t)
	first := s.check(true)
	s.build(first, "1")
	s.server.SetFile("thing", []byte("two"))
	in := s.check(true)
	if changes := in.Changes(appID); len(changes) != 1 || !strings.HasPrefix(changes[0].Input, "ADD ") ||
		in.Key(appID) == first.Key(appID) {
		t.Errorf("changes %v, key %s", changes, in.Key(appID))
	}
}

// A repository that cannot be read is no reason to build; the image has a note.
func TestUnreadableRepository(t *testing.T) {
	testenv.Slow(t)
	s := newSite(t)
	first := s.check(true)
	s.build(first, "1")
	if err := s.server.Close(); err != nil {
		t.Fatal(err)
	}
	in := s.check(true)
	if in.Key(appID) != first.Key(appID) || len(in.Changes(appID)) > 0 || in.Note(appID) == "" {
		t.Errorf("key %s, changes %v, note %q", in.Key(appID), in.Changes(appID), in.Note(appID))
	}
	if n := strings.Count(s.stderr.String(), "images that use it are kept"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, s.stderr.String())
	}
}

// The packages of a built image are read after its build, for the next run, without the
// time limit of the build.
func TestWarmerFillsTheCache(t *testing.T) {
	s := newSite(t)
	in := s.check(true)
	app := s.write(s.layer(s.base, map[string]string{"var/lib/dpkg/status": installed("zlib 1", "alpha 1")}))
	cached := func() int {
		entries, _ := os.ReadDir(filepath.Join(s.dir, "packages"))
		return len(entries)
	}
	if n := cached(); n != 0 {
		t.Fatalf("%d entries before the first image", n)
	}
	built, ended := context.WithTimeout(t.Context(), time.Hour) // of the image's build
	warmer := in.NewWarmer(t.Context())
	warmer.Add(app)
	ended()
	<-built.Done()
	warmer.Wait()
	if n := cached(); n < 2 { // an entry for each layer
		t.Errorf("%d entries", n)
	}
	if w := s.check(false).NewWarmer(t.Context()); w.read != nil {
		t.Error("without --refresh, images are read")
	}
}
