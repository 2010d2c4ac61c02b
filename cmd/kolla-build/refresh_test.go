package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/standin"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

// refreshWorld is a small tree on a real Debian whose packages come from a repository
// that the test changes.
type refreshWorld struct {
	t       *testing.T
	dir     string
	server  *standin.Server
	options []string

	buildkitd string
}

func newRefreshWorld(t *testing.T) *refreshWorld {
	t.Helper()
	w := &refreshWorld{t: t, dir: t.TempDir()}
	w.buildkitd = testenv.Buildkitd(t)
	testenv.Program(t, "mmdebstrap", "mmdebstrap")
	var err error
	if w.server, err = standin.Start(standin.Content{Suite: "standin",
		Files: map[string][]byte{"thing": []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.server.Close() })
	w.server.AddDebs(deb("alpha", "1"), deb("beta", "1"), deb("gamma", "1"))
	// The removed files contain the time and the machine of the installation.
	install := func(p string) string {
		return "RUN apt-get update && apt-get install -y " + p + " && rm -rf /var/log/apt /var/log/dpkg.log /var/log/alternatives.log " +
			"/var/lib/apt/lists/* /var/cache/apt/* /var/lib/dpkg/*-old /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache\n"
	}
	tree := filepath.Join(w.dir, "tree")
	put(t, filepath.Join(tree, "base/standin.sources"), []byte(w.server.AptSource()))
	for image, text := range map[string]string{
		"base": "FROM {{ base_image }}:{{ base_distro_tag }}\nRUN rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*\n" +
			"COPY standin.sources /etc/apt/sources.list.d/\n" + install("alpha"),
		"app":   "FROM {{ namespace }}/base:{{ tag }}\n" + install("beta"),
		"leaf":  "FROM {{ namespace }}/app:{{ tag }}\nRUN echo leaf > /leaf\n",
		"other": "FROM {{ namespace }}/base:{{ tag }}\nADD " + w.server.URL() + "/files/thing /thing\n",
	} {
		put(t, filepath.Join(tree, image, "Dockerfile.j2"), []byte(text))
	}
	// Bootstrapping takes longest, so its result can be kept while working on this test.
	base := os.Getenv("KOLLA_TEST_STANDIN_DATA")
	if base == "" {
		base = filepath.Join(w.dir, "bootstrapped")
		runBuild(t, []string{"bootstrap", "debian:trixie", "--data-dir", base}, exitOK)
	}
	w.options = []string{"-b", "debian", "--base-tag", "trixie", "--base-image",
		"oci:" + base + "/store:debian:trixie", "--images-dir", tree,
		"-n", "t", "--tag", "t", "--buildkitd", w.buildkitd, "--progress", "plain"}
	w.use("data")
	return w
}

// use selects the data directory of the following commands.
func (w *refreshWorld) use(data string) {
	w.options = append(w.options, "--data-dir", filepath.Join(w.dir, data))
}

func deb(name, version string) standin.Deb {
	return standin.Deb{Name: name, Version: version, Files: map[string]string{"usr/share/" + name + "/version": version}}
}

// build runs a build and returns the images that were built, and why.
func (w *refreshWorld) build(extra ...string) string {
	w.t.Helper()
	file := filepath.Join(w.dir, "summary.json")
	runBuild(w.t, append(append([]string{"--summary-json-file", file}, w.options...), extra...), exitOK)
	data, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	var s struct {
		Built []struct {
			Name, Digest string
			Unchanged    bool
		}
	}
	if err := json.Unmarshal(data, &s); err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, im := range s.Built {
		if !im.Unchanged {
			out = append(out, im.Name)
		}
	}
	return strings.Join(out, " ")
}

type plannedItem struct {
	Image, Action, Reason, Digest string
	Changes                       []struct{ Input, Package, From, To string }
}

func (w *refreshWorld) plan(extra ...string) map[string]plannedItem {
	w.t.Helper()
	var out, errs bytes.Buffer
	args := append(append([]string{"plan", "--json"}, w.options...), extra...)
	if code := run(args, os.Environ(), &out, &errs); code != exitOK {
		w.t.Fatalf("plan ended with %d:\n%s", code, errs.String())
	}
	var p struct{ Items []plannedItem }
	if err := json.Unmarshal(out.Bytes(), &p); err != nil {
		w.t.Fatal(err)
	}
	items := map[string]plannedItem{"stderr": {Reason: errs.String()}}
	for _, it := range p.Items {
		items[it.Image] = it
	}
	return items
}

func (w *refreshWorld) want(got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("built %q, want %q", got, want)
	}
}

// When packages of a repository change, --refresh rebuilds only the images that install
// them and their descendants; without it nothing is rebuilt.
func TestRefresh(t *testing.T) {
	w := newRefreshWorld(t)
	w.want(w.build("--refresh"), "app base leaf other")
	w.want(w.build("--refresh"), "")

	// apt installs the same on another builder.
	first := w.plan()
	w.use("elsewhere")
	w.want(w.build(), "app base leaf other")
	for image, it := range w.plan() {
		if it.Digest != first[image].Digest {
			t.Errorf("%s: built as %s, and as %s elsewhere", image, first[image].Digest, it.Digest)
		}
	}
	w.use("data")

	w.server.AddDebs(deb("beta", "2"), deb("gamma", "2"))
	w.want(w.build(), "")
	p := w.plan("--refresh")
	if it := p["app"]; it.Action != "build" || it.Reason != "package beta 1 → 2" ||
		fmt.Sprint(it.Changes) != "[{package beta 1 2}]" {
		t.Errorf("plan of app: %+v", it)
	}
	if it := p["leaf"]; it.Action != "build" || it.Reason != "parent app is built" {
		t.Errorf("plan of leaf: %+v", it)
	}
	if p["base"].Action != "keep" || p["other"].Action != "keep" {
		t.Errorf("plan: %+v", p)
	}
	w.want(w.build("--refresh"), "app leaf")
	w.want(w.build(), "")
	w.want(w.build("--refresh"), "")

	// A download without a checksum is an input as well.
	w.server.SetFile("thing", []byte("2"))
	w.want(w.build(), "")
	if it, want := w.plan("--refresh")["other"], "ADD "+w.server.URL()+"/files/thing changed"; it.Reason != want {
		t.Errorf("plan of other: %+v, want %s", it, want)
	}
	w.want(w.build("--refresh"), "other")
	w.want(w.build("--refresh"), "")

	// A run ends after storing an image and before recording it. The next run finds the
	// old set complete, or with --refresh the new one, and does not build.
	states := filepath.Join(w.dir, "data/inputs.json")
	before, err := os.ReadFile(states)
	if err != nil {
		t.Fatal(err)
	}
	old := w.plan()
	w.server.AddDebs(deb("alpha", "2"))
	w.want(w.build("--refresh"), "app base leaf other")
	current := w.plan()
	put(t, states, before)
	for image, it := range w.plan() {
		if it.Digest != old[image].Digest {
			t.Errorf("%s: digest %s, before %s", image, it.Digest, old[image].Digest)
		}
	}
	w.want(w.build("--refresh"), "")
	for image, it := range w.plan() {
		if it.Digest != current[image].Digest || image != "stderr" && it.Digest == old[image].Digest {
			t.Errorf("%s: digest %s, want %s", image, it.Digest, current[image].Digest)
		}
	}

	// A repository that does not answer is reported and does not cause a build.
	w.server.Close()
	p = w.plan("--refresh", "--retries", "0")
	if it := p["app"]; it.Action != "keep" || !strings.Contains(it.Reason, "packages not compared") ||
		!strings.Contains(it.Reason, w.server.URL()) {
		t.Errorf("plan of app: %+v", it)
	}
	if s := runBuild(t, append([]string{"--refresh", "--retries", "0", "--format", "none"}, w.options...),
		exitOK); !strings.Contains(s, "3 images were kept, and their inputs may have changed") {
		t.Errorf("the summary does not name what was not compared")
	}
	if s := p["stderr"].Reason; strings.Count(s, "images that use it are kept") != 1 {
		t.Errorf("standard error: %s", s)
	}
}

// Images with rpm packages: the database is written by rpm, the repository by
// createrepo_c. How they are built does not matter here.
func TestRefreshRPM(t *testing.T) {
	w := &refreshWorld{t: t, dir: t.TempDir(), buildkitd: testenv.Buildkitd(t)}
	rpm := testenv.Program(t, "rpm", "rpm")
	testenv.Program(t, "rpmbuild", "rpm")
	testenv.Program(t, "createrepo_c", "createrepo-c")
	repo := filepath.Join(w.dir, "repo")
	moves := time.Now().Add(-time.Hour)
	offer := func(alpha, beta string) {
		t.Helper()
		if err := os.RemoveAll(repo); err != nil {
			t.Fatal(err)
		}
		if err := standin.WriteRPMs(repo, standin.RPM{Name: "alpha", Version: alpha},
			standin.RPM{Name: "beta", Version: beta}); err != nil {
			t.Fatal(err)
		}
		// The server compares the file's time in seconds, so changes must be a second apart.
		moves = moves.Add(time.Minute)
		if err := os.Chtimes(filepath.Join(repo, "repodata/repomd.xml"), moves, moves); err != nil {
			t.Fatal(err)
		}
	}
	offer("1-1", "1-1")
	var err error
	if w.server, err = standin.Start(standin.Content{Suite: "none", RPMDir: repo}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.server.Close() })
	tree, db := filepath.Join(w.dir, "tree"), filepath.Join(w.dir, "db")
	install := func(image, name string) {
		t.Helper()
		if out, err := exec.Command(rpm, "--dbpath", db, "-i", "--justdb", "--nodeps", "--nosignature",
			filepath.Join(repo, "noarch", name+"-1-1.noarch.rpm")).CombinedOutput(); err != nil {
			t.Fatalf("rpm: %v\n%s", err, out)
		}
		files, err := filepath.Glob(filepath.Join(db, "rpmdb.sqlite*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("rpm made %q, %v", files, err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(tree, image, "rpm", filepath.Base(f)), data)
		}
	}
	install("base", "alpha")
	install("app", "beta")
	put(t, filepath.Join(tree, "base/standin.repo"), []byte(w.server.RPMRepo("standin")))
	put(t, filepath.Join(tree, "base/Dockerfile.j2"),
		[]byte("FROM {{ base_image }}:{{ base_distro_tag }}\nCOPY standin.repo /etc/yum.repos.d/\nCOPY rpm /var/lib/rpm\n"))
	put(t, filepath.Join(tree, "app/Dockerfile.j2"),
		[]byte("FROM {{ namespace }}/base:{{ tag }}\nCOPY rpm /var/lib/rpm\n"))
	put(t, filepath.Join(tree, "leaf/Dockerfile.j2"),
		[]byte("FROM {{ namespace }}/app:{{ tag }}\nRUN echo leaf > /leaf\n"))
	busybox := filepath.Join(w.dir, "busybox")
	writeBusybox(t, busybox)
	w.options = []string{"-b", "rocky", "--base-image", "oci:" + busybox, "--images-dir", tree, "-n", "t", "--tag", "t",
		"--buildkitd", w.buildkitd, "--progress", "plain"}
	w.use("data")

	w.want(w.build("--refresh"), "app base leaf")
	w.want(w.build("--refresh"), "")
	offer("1-1", "2-1")
	p := w.plan("--refresh")
	if got, want := [3]string{p["base"].Reason, p["app"].Reason, p["leaf"].Reason}, [3]string{"unchanged",
		"package beta 1-1 → 2-1", "parent app is built"}; got != want {
		t.Errorf("plan: %q, want %q", got, want)
	}
	offer("1-2", "1-1")
	p = w.plan("--refresh")
	if got, want := [3]string{p["base"].Reason, p["app"].Reason, p["leaf"].Reason}, [3]string{"package alpha 1-1 → 1-2",
		"parent base is built", "parent app is built"}; got != want {
		t.Errorf("plan: %q, want %q", got, want)
	}
}
