package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/inifile"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/facts"
)

var update = flag.Bool("update", false, "write docs/images.md")

// TestSupportMatrix checks that docs/images.md corresponds to the templates, the marks
// and the results.
func TestSupportMatrix(t *testing.T) {
	testenv.Slow(t) // it renders all templates for each distribution and kind of installation
	docs := filepath.Join(testenv.RepoRoot(t), "docs")
	want, err := Matrix(context.Background(), filepath.Join(docs, "images.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(docs, "images.md")
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/images.md is not up to date: go test ./internal/catalogue -run TestSupportMatrix -update")
	}
}

// Shards have every image once, and the images for CI exist.
func TestShards(t *testing.T) {
	ctx := context.Background()
	to := Target{"debian", "trixie", "x86_64", "binary"}
	all, err := choose(ctx, to, "1/1")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 200 {
		t.Errorf("%d images", len(all))
	}
	var together []string
	for _, shard := range []string{"1/3", "2/3", "3/3"} {
		part, err := choose(ctx, to, shard)
		if err != nil {
			t.Fatal(err)
		}
		together = append(together, part...)
	}
	slices.Sort(together)
	if !slices.Equal(together, all) {
		t.Errorf("three shards have %d images, one has %d", len(together), len(all))
	}
	if ci, err := choose(ctx, to, "ci"); err != nil || len(ci) < 25 {
		t.Errorf("%d images for CI: %v", len(ci), err)
	}
	for _, shard := range []string{"0/3", "4/3", "x", "1/0"} {
		if _, err := choose(ctx, to, shard); err == nil {
			t.Errorf("shard %s is accepted", shard)
		}
	}
}

// Figures of an earlier build are kept, those of a new one replace them.
func TestRecord(t *testing.T) {
	dir := t.TempDir()
	results := filepath.Join(dir, "images.tsv")
	to := Target{"debian", "trixie", "x86_64", "binary"}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first := write("1.json", `{"built":[{"name":"base","status":"built","size":100,"duration":9},{"name":"cron","status":"built","parent":"base","size":130,"duration":5}],
		"failed":[{"name":"etcd","status":"error","parent":"base","failure":{"error":"no\ttab\nsecond line"}},{"name":"x","status":"parent_error"}]}`)
	contract := write("c.json", `[{"image":"cron","held":7,"failed":1}]`)
	if err := record(results, to, "c1", first, contract); err != nil {
		t.Fatal(err)
	}
	second := write("2.json",
		`{"built":[{"name":"cron","status":"built","parent":"base","size":130,"duration":0,"unchanged":true},{"name":"etcd","status":"built","parent":"base","size":120,"duration":3}]}`)
	if err := record(results, to, "c2", second, ""); err != nil {
		t.Fatal(err)
	}
	// The parent of an image is recorded for each architecture.
	third := write("3.json", `{"built":[{"name":"cron","status":"built","parent":"base","size":140,"duration":6}]}`)
	if err := record(results, Target{"debian", "trixie", "aarch64", "binary"}, "c3", third, ""); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	want := header + "base\ttrixie\tbinary\tx86_64\tbuilt\t100\t100\t9\t\tc1\t\n" +
		"cron\ttrixie\tbinary\taarch64\tbuilt\t140\t140\t6\t\tc3\t\n" +
		"cron\ttrixie\tbinary\tx86_64\tbuilt\t130\t30\t5\t7/1\tc1\t\n" +
		"etcd\ttrixie\tbinary\tx86_64\tbuilt\t120\t20\t3\t\tc2\t\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTarballs(t *testing.T) {
	index := `Package: keystone
Directory: pool/main/k/keystone
Checksums-Sha256:
 aa 10 keystone_2.dsc
 bb 20 keystone_2.orig.tar.xz
 cc 20 keystone_2.orig.tar.xz.asc
 dd 30 keystone_2.debian.tar.xz

Package: glance
Directory: pool/main/g/glance
`
	got, err := tarballs(strings.NewReader(index))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got["keystone"] != (tarball{"pool/main/k/keystone/keystone_2.orig.tar.xz", "bb"}) {
		t.Errorf("%v", got)
	}
}

// Images that are built from source exist, have a section in the sources, and need only
// the tarballs, because plugins are disabled.
func TestSourceImages(t *testing.T) {
	images, err := Images(context.Background(), Target{"debian", "trixie", "x86_64", "source"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := only(images, sourceImages()); err != nil {
		t.Error(err)
	}
	master, _ := facts.LookupRelease(facts.Master)
	for name, project := range sourceProjects {
		if !slices.ContainsFunc(master.Sources(), func(e *inifile.Entry) bool { return e.Section == project.image }) {
			t.Errorf("%s: %s has no section of sources", name, project.image)
		}
	}
	if got := pluginSections("nova-base"); !slices.Equal(got, []string{"nova-base-plugin-blazar"}) {
		t.Errorf("plugins of nova-base: %v", got)
	}
}

// Kolla's templates are copied without what needs other hosts than the distribution's mirror.
func TestPrepareKolla(t *testing.T) {
	checkout, out := t.TempDir(), t.TempDir()
	base := filepath.Join("kolla", "docker", "base", "Dockerfile.j2")
	if err := prepareKolla(checkout, out); err == nil {
		t.Error("a directory without templates is accepted")
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Join(checkout, base)), 0o755); err != nil {
		t.Fatal(err)
	}
	template := "FROM x\nRUN a \\\n && b\n{% if y %}\n\nRUN apt update \\\n  && extrepo enable z \\\n  && apt clean\n\n{% endif %}\nRUN c\n"
	if err := os.WriteFile(filepath.Join(checkout, base), []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := prepareKolla(checkout, out); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(out, base))
	if err != nil {
		t.Fatal(err)
	}
	if want := "FROM x\nRUN a \\\n && b\n{% if y %}\n\n\n{% endif %}\nRUN c\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := os.Stat(filepath.Join(out, "override.j2")); err != nil {
		t.Error(err)
	}
}
