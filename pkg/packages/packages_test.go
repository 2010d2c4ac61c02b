package packages

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/standin"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/inspect"
)

// versions are known difficult cases, and versions from real archives.
var versions = []string{"1", "1.0", "1.0-1", "1.0-1~bpo12+1", "1.0~rc1-1", "1:0.9-1", "2:1.0", "0", "00", "1.01", "1.1",
	"1.10", "1.9", "1.0+dfsg-1",
	"1.0+dfsg.1-1", "1.0a-1", "1.0.a-1", "1.0~~a", "1.0~", "1.0-1+b1", "1.0-1ubuntu2", "20230311", "3:26.1.0-1",
	"3:26.1.0-1+deb12u1", "1-1-1", "5.1.0b1", "1.a", "1.0-"}

func TestDebVersionsAsDpkg(t *testing.T) {
	dpkg := testenv.Program(t, "dpkg", "dpkg")
	random := rand.New(rand.NewPCG(1, 2))
	list := slices.Clone(versions)
	for range 30 {
		v := strconv.Itoa(random.IntN(3))
		for range random.IntN(6) {
			v += string("019a.+~-z"[random.IntN(9)])
		}
		list = append(list, v)
	}
	var script strings.Builder
	type pair struct{ a, b string }
	var pairs []pair
	count := 600
	if testing.Short() {
		count = 50 // each starts dpkg twice
	}
	for range count {
		a, b := list[random.IntN(len(list))], list[random.IntN(len(list))]
		if strings.HasSuffix(a, "-") || strings.HasSuffix(b, "-") {
			continue // dpkg takes no empty revision
		}
		pairs = append(pairs, pair{a, b})
		script.WriteString("if " + dpkg + " --compare-versions '" + a + "' lt '" + b + "'; then echo -1; elif " + dpkg +
			" --compare-versions '" + a + "' eq '" + b + "'; then echo 0; else echo 1; fi\n")
	}
	out, err := exec.Command("sh", "-c", script.String()).Output()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range strings.Fields(string(out)) {
		if got := strconv.Itoa(CompareVersions(Deb, pairs[i].a, pairs[i].b)); got != want {
			t.Errorf("%s against %s: %s, dpkg says %s", pairs[i].a, pairs[i].b, got, want)
		}
	}
}

func TestRPMVersionsAsRPM(t *testing.T) {
	rpm := testenv.Program(t, "rpm", "rpm")
	random := rand.New(rand.NewPCG(3, 4))
	list := []string{"1.0", "1.0^", "1.0^git1", "1.0~rc1", "1.0~rc1^git1", "1.0^git1~pre", "1",
		"1.0.1", "1.0a", "a1", "1a",
		"1..0", "1_0", "2.50", "2.5", "010", "10", "FC5", "fc4", "1.el9_2", "1.el10"}
	for range 40 {
		v := "1" // rpm takes no empty version
		for range random.IntN(7) {
			v += string("019a.^~_zB"[random.IntN(10)])
		}
		list = append(list, v)
	}
	var lua strings.Builder
	var pairs [][2]string
	for range 600 {
		a, b := list[random.IntN(len(list))], list[random.IntN(len(list))]
		pairs = append(pairs, [2]string{a, b})
		lua.WriteString("print(rpm.vercmp('" + a + "','" + b + "')..' ')")
	}
	out, err := exec.Command(rpm, "--eval", "%{lua:"+lua.String()+"}").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(out))
	if len(lines) != len(pairs) {
		t.Fatalf("rpm compared %d of %d: %s", len(lines), len(pairs), out)
	}
	for i, want := range lines {
		if got := strconv.Itoa(CompareVersions(RPM, pairs[i][0], pairs[i][1])); got != want {
			t.Errorf("%q against %q: %s, rpm says %s", pairs[i][0], pairs[i][1], got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"1:1.0-1", "2.0-1", 1}, {"1.0-1", "1.0-2", -1}, {"1.0", "1.0-2", 0}, {"0:1-1", "1-1", 0}} {
		if got := CompareVersions(RPM, c.a, c.b); got != c.want {
			t.Errorf("%s against %s: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// layer packs files by path.
func layer(t testing.TB, files map[string]string) v1.Layer {
	t.Helper()
	var members []archivetest.Member
	for name, text := range files {
		members = append(members, archivetest.Member{Name: name, Data: []byte(text)})
	}
	return archivetest.Layer(t, archivetest.Tar(t, members...))
}

func image(t testing.TB, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

const status = `Package: nova-api
Status: install ok installed
Architecture: all
Version: 3:26.0-1
Description: a
 Package: not-this
 .
 more

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: libc6
Status: hold ok installed
Architecture: amd64
Version: 2.36-9
`

func TestInstalledFromDpkgAndPython(t *testing.T) {
	const site = "var/lib/kolla/venv/lib/python3.11/site-packages/"
	base := layer(t, map[string]string{"var/lib/dpkg/status": status,
		"usr/lib/python3/dist-packages/yaml.dist-info/METADATA": "Name: dpkgs-own\nVersion: 1\n",
		"etc/apt/sources.list":          "deb http://localhost/debian trixie main\n",
		site + "old.dist-info/METADATA": "Metadata-Version: 2.1\nName: old\nVersion: 1\n",
		site + "nova-1.dist-info/METADATA": "Name: Nova_Thing.x\nVersion: 1.0\n\nVersion: 9\n" + strings.Repeat("x",
			100_000)})
	top := layer(t, map[string]string{"var/lib/dpkg/status.d/base": "Package: base-files\nVersion: 12\nArchitecture: amd64\n",
		site + ".wh.old.dist-info": ""})
	r := &Reader{CacheDir: t.TempDir()}
	for _, from := range []string{"layers", "cache"} {
		c, err := r.Read(t.Context(), image(t, base, top))
		if err != nil {
			t.Fatal(err)
		}
		want := []Package{{Deb, "base-files", "12", "amd64"}, {Deb, "libc6", "2.36-9", "amd64"},
			{Deb, "nova-api", "3:26.0-1", "all"}, {Python, "nova-thing-x", "1.0", ""}}
		if !slices.Equal(c.Packages, want) {
			t.Errorf("from %s: got %v", from, c.Packages)
		}
		if c.Files["etc/apt/sources.list"] == "" {
			t.Errorf("from %s: no sources.list", from)
		}
	}
	if n, _ := os.ReadDir(r.CacheDir); len(n) != 2 {
		t.Errorf("%d files in the cache", len(n))
	}
}

// installed returns the packages of an image, and the first problem as an error.
func installed(ctx context.Context, img v1.Image) ([]Package, error) {
	c, err := (&Reader{}).Read(ctx, img)
	if err != nil {
		return nil, err
	}
	if len(c.Problems) > 0 {
		return nil, errors.New(c.Problems[0])
	}
	return c.Packages, nil
}

// TestInstalledFromRPM reads an image whose database rpm wrote; internal/rpmdb tests
// every format.
func TestInstalledFromRPM(t *testing.T) {
	rpm := testenv.Program(t, "rpm", "rpm")
	testenv.Program(t, "rpmbuild", "rpm")
	testenv.Program(t, "createrepo_c", "createrepo-c")
	dir := t.TempDir()
	if err := standin.WriteRPMs(filepath.Join(dir, "repo"), standin.RPM{Name: "pack"}); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "repo", "*", "*.rpm"))
	db := filepath.Join(dir, "db")
	args := append([]string{"--dbpath", db, "-i", "--justdb", "--nodeps", "--nosignature"}, files...)
	if out, err := exec.Command(rpm, args...).CombinedOutput(); err != nil {
		t.Fatalf("rpm: %v\n%s", err, out)
	}
	// An older database beside the current one is no longer used by rpm.
	content := map[string]string{"var/lib/rpm/Packages": "not a database"}
	for _, name := range []string{"rpmdb.sqlite", "rpmdb.sqlite-wal"} {
		if data, err := os.ReadFile(filepath.Join(db, name)); err == nil {
			content["var/lib/rpm/"+name] = string(data)
		}
	}
	got, err := installed(t.Context(), image(t, layer(t, content)))
	if want := (Package{RPM, "pack", standin.RPMVersion, "noarch"}); err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	damaged := image(t, layer(t, map[string]string{"var/lib/rpm/Packages": "not a database"}))
	if _, err := installed(t.Context(), damaged); err == nil || !strings.Contains(err.Error(), "var/lib/rpm/Packages") {
		t.Errorf("damaged database: %v", err)
	}
}

func TestChanges(t *testing.T) {
	a := []Package{{Deb, "gone", "1", "all"}, {Deb, "nova-api", "3:26.0-1", "all"}, {Deb, "same", "1", "all"},
		{RPM, "kernel", "5-1", "x86_64"}, {RPM, "kernel", "5-2", "x86_64"}}
	b := []Package{{Deb, "new", "2", "all"}, {Deb, "nova-api", "3:26.1-1", "all"}, {Deb, "same", "1", "all"},
		{RPM, "kernel", "5-2", "x86_64"}, {RPM, "kernel", "5-10", "x86_64"}}
	var got []string
	for _, c := range Changes(a, b) {
		got = append(got, c.Kind()+" "+c.String())
	}
	want := []string{"removed gone 1 (removed)", "added new 2 (added)", "changed nova-api 3:26.0-1 → 3:26.1-1",
		"changed kernel 5-1 → 5-10"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if c := Changes(a, a); len(c) != 0 {
		t.Errorf("of the same: %v", c)
	}
}

// What could not be read again is not cached.
func TestCacheOfLargeFacts(t *testing.T) {
	testenv.Slow(t)
	file := filepath.Join(t.TempDir(), "facts.json")
	for size, cached := range map[int]bool{10: true, inputfile.MaxState: false} {
		writeCached(file, inspect.Part[fileFacts]{Files: map[string]fileFacts{"f": {Text: strings.Repeat("x", size)}}})
		if _, err := os.Stat(file); (err == nil) != cached {
			t.Errorf("%d bytes are cached: %t", size, err == nil)
		}
		os.Remove(file)
	}
}

// TestFactsAreBounded reads layers whose files list more packages than any image has, and images with
// many such layers.
func TestFactsAreBounded(t *testing.T) {
	testenv.Slow(t)
	list := func(count int) string { return strings.Repeat("Package:a\nVersion:1\n\n", count) }
	if _, err := parseDpkg([]byte(list(maxInstalled + 1))); err == nil {
		t.Error("more packages than the limit were read")
	}
	const half = 100_000 // packages take 6 MiB, more than a third of the limit
	if c, err := new(Reader).Read(t.Context(), image(t,
		layer(t, map[string]string{"var/lib/dpkg/status": list(half)}))); err != nil ||
		len(c.Packages) == 0 || len(c.Problems) > 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	many := map[string]string{"var/lib/dpkg/status": list(10)}
	for i := range 100 {
		many[fmt.Sprintf("var/lib/dpkg/status.d/p%02d", i)] = list(half * 3 / 100)
	}
	c, err := new(Reader).Read(t.Context(), image(t, layer(t, many)))
	if err != nil || len(c.Problems) == 0 {
		t.Errorf("many files in a layer: %v", err)
	}
	rest := map[string]string{}
	for i := range 60 {
		rest[fmt.Sprintf("var/lib/dpkg/status.d/p%02d", i)] = list(half * 3 / 100)
	}
	status := func(i int) v1.Layer {
		text := fmt.Sprintf("Package:l%d\nVersion:1\n\n", i) + list(half)
		return layer(t, map[string]string{"var/lib/dpkg/status": text})
	}
	if _, err := new(Reader).Read(t.Context(), image(t, layer(t, rest), status(0))); err == nil {
		t.Error("many files in two layers were read")
	}
	// What upper layers replace does not count, and a Reader does not keep all that it has read.
	var r Reader
	for i := range 2 {
		c, err := r.Read(t.Context(), image(t, status(3*i), status(3*i+1), status(3*i+2)))
		if err != nil || len(c.Problems) > 0 || c.Packages[len(c.Packages)-1].Name != fmt.Sprintf("l%d", 3*i+2) {
			t.Fatalf("layers that replace each other's list: %v", err)
		}
	}
	kept := 0
	for _, l := range r.layers {
		kept += partSize(l.part)
	}
	if kept == 0 || kept > maxKept {
		t.Errorf("the results of %d layers take %d bytes", len(r.layers), kept)
	}
}
