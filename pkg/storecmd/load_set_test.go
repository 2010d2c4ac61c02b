package storecmd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// archive writes an image in a format of docker save.
func archive(t *testing.T, f archivetest.Format, names ...string) string {
	t.Helper()
	img := registrytest.Image(t, registrytest.Base(t, 500), 500, 1)
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, archivetest.Archive(t, f, archivetest.Image{Image: img, Names: names}),
		0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadSeveralFiles(t *testing.T) {
	ours, _ := saved(t)
	docker := archive(t, archivetest.Docker10, "site.example/kolla/keystone:1", "site.example/kolla/keystone:2")
	old := archive(t, archivetest.Docker1, "glance:3")
	f := site(t)
	if err := Load(t.Context(), f.config(), f.con, []string{ours, docker, old}, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := f.names(); len(got) != 5 || !slices.Contains(got, "glance:3") {
		t.Errorf("loaded %v", got)
	}

	// Nothing of the set has a name if one of the files is damaged.
	b, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.tar")
	if err := os.WriteFile(cut, b[:len(b)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	f = site(t)
	err = Load(t.Context(), f.config(), f.con, []string{ours, docker, cut}, LoadOptions{})
	if err == nil || !strings.Contains(err.Error(), cut) || len(f.names()) > 0 {
		t.Errorf("a damaged file: %v, names %v", err, f.names())
	}

	// Two files with different images of one name: the error names both.
	other := archive(t, archivetest.Skopeo, "site.example/kolla/keystone:2")
	f = site(t)
	err = Load(t.Context(), f.config(), f.con, []string{docker, other}, LoadOptions{})
	if err == nil || !strings.Contains(err.Error(), docker) ||
		!strings.Contains(err.Error(), other) || len(f.names()) > 0 {
		t.Errorf("a name twice: %v, names %v", err, f.names())
	}
	// The same file twice is accepted.
	if err := Load(t.Context(), f.config(), f.con, []string{docker, docker}, LoadOptions{}); err != nil {
		t.Error(err)
	}
	if err := Load(t.Context(), f.config(), f.con, []string{"-", docker, "-"}, LoadOptions{}); err == nil {
		t.Error("standard input was accepted twice")
	}
}

// TestLoadDeltaWithBase loads a delta and its base in one call, the delta first.
func TestLoadDeltaWithBase(t *testing.T) {
	f := site(t)
	s, err := workspace.OpenStore(f.config())
	if err != nil {
		t.Fatal(err)
	}
	base := registrytest.Base(t, 1000)
	put := func(name string) {
		t.Helper()
		d, err := s.WriteImage(t.Context(), registrytest.Image(t, base, 500, 1))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(store.Entry{Name: "origin.example/kolla/" + name, Digest: d, Kind: store.KindBuilt}); err != nil {
			t.Fatal(err)
		}
	}
	put("nova:1")
	first, delta := filepath.Join(t.TempDir(), "may.tar"), filepath.Join(t.TempDir(), "june.tar")
	if err := Save(t.Context(), f.config(), f.con, first, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	put("glance:1")
	s.Close()
	if err := Save(t.Context(), f.config(), f.con, delta, SaveOptions{Since: first}); err != nil {
		t.Fatal(err)
	}
	to := site(t)
	if err := Load(t.Context(), to.config(), to.con, []string{delta}, LoadOptions{}); err == nil {
		t.Fatal("a delta was loaded without its base")
	}
	if err := Load(t.Context(), to.config(), to.con, []string{delta, first}, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(to.names(), " "); got != "origin.example/kolla/glance:1 origin.example/kolla/nova:1" {
		t.Errorf("loaded %s", got)
	}
}

func TestLoadRename(t *testing.T) {
	path, digests := saved(t)
	load := func(o LoadOptions, args ...string) ([]string, error) {
		f := site(t)
		err := Load(t.Context(), f.config(args...), f.con, []string{path}, o)
		return f.names(), err
	}
	for _, c := range []struct {
		renames []string
		tags    []string
		args    []string
		want    string
	}{
		{[]string{"s/^kolla/site/"}, nil, nil, "origin.example/site/nova-api:2026-11-22 origin.example/site/nova-compute:2026-11-22"},
		{[]string{"s/^kolla/lokolla/", "s/nova-/compute-/"}, []string{"t"}, []string{"--registry", "site.example:4000"},
			"site.example:4000/lokolla/compute-api:t site.example:4000/lokolla/compute-compute:t"},
		{[]string{"s/nova-/n-/"}, nil, []string{"--namespace", "x", "--image-name-prefix", "p-"},
			"origin.example/x/p-n-api:2026-11-22 origin.example/x/p-n-compute:2026-11-22"},
	} {
		names, err := load(LoadOptions{Renames: c.renames, Tags: c.tags}, c.args...)
		if got := strings.Join(names, " "); err != nil || got != c.want {
			t.Errorf("%v: %s, %v", c.renames, got, err)
		}
		f := site(t)
		err = Load(t.Context(), f.config(c.args...), f.con, []string{path},
			LoadOptions{Renames: c.renames, Tags: c.tags, List: true})
		if got := strings.Join(strings.Fields(f.stdout.String()), " "); err != nil || got != c.want {
			t.Errorf("%v, names only: %s, %v", c.renames, got, err)
		}
	}
	for _, renames := range [][]string{{"s/nova-.*:/nova:/"}, {"s/nova/NOVA/"}} {
		if names, err := load(LoadOptions{Renames: renames}); err == nil || len(names) > 0 {
			t.Errorf("%v: %v, %v", renames, names, err)
		}
	}
	// A mistake in a substitution is found before the file is opened.
	f := site(t)
	if err := Load(t.Context(), f.config(), f.con, []string{"/nothing.tar"},
		LoadOptions{Renames: []string{"s/a/"}}); err == nil ||
		!strings.Contains(err.Error(), "--rename") || usererr.Text(err) == "" {
		t.Errorf("a bad substitution: %v", err)
	}

	host := registrytest.Embedded(t, server.Options{}).Host()
	if _, err := load(LoadOptions{Renames: []string{"s/kolla/site/"}}, "--push", "--registry", host); err != nil {
		t.Fatal(err)
	}
	for name, d := range digests {
		registrytest.MustPull(t, host, "HOST/site/"+name+":2026-11-22", d)
	}
}

// TestLoadPreviewOfDocker checks that names of docker save's archives are shown before
// anything is stored.
func TestLoadPreviewOfDocker(t *testing.T) {
	path := archive(t, archivetest.Docker10, "kolla/nova:1")
	f := site(t)
	if err := Load(t.Context(), f.config("--registry", "site.example"), f.con, []string{path},
		LoadOptions{DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if out := f.stdout.String(); !strings.Contains(out, "site.example/kolla/nova:1") || !strings.Contains(out, "new") {
		t.Errorf("preview %q", out)
	}
	if _, err := os.Stat(f.dir); err == nil {
		t.Error("the preview made a data directory")
	}
}
