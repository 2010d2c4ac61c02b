package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// nights is a job that runs nightly with a registry and a package repository of the
// test.
type nights struct {
	*refreshWorld
	registry string
	dir      string
	log      *bytes.Buffer // the registry's, a line for each request

	// What the nights of TestNights leave for the following ones.
	today        string
	dated        string            // the tag of the third night
	first, third map[string]string // the tags of leaf after these nights
}

// night is the result of one nightly run.
type night struct {
	code   int
	stderr string
	built  map[string]string // image to reason
	kept   []string
	failed []string
	json   string
	page   string
	junit  struct{ tests, failures, errors int }
	metric map[string]float64
}

// run runs one nightly run with the script of the examples, as a CI job does.
func (n *nights) run(args ...string) night {
	n.t.Helper()
	script := filepath.Join(testenv.RepoRoot(n.t), "examples/ci/nightly.sh")
	data := filepath.Join(n.dir, "data")
	cmd := exec.Command("sh", slices.Concat([]string{script, "--data-dir", data}, n.options, args)...)
	exe, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	reports := filepath.Join(n.dir, "reports")
	cmd.Env = append(os.Environ(), "KOLLA_BUILD="+filepath.Join(n.dir, "kolla-build"), "REPORTS="+reports, "NO_COLOR=1")
	// The test binary is the program under its name, see TestMain.
	if err := os.Symlink(exe, filepath.Join(n.dir, "kolla-build")); err != nil && !os.IsExist(err) {
		n.t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		n.t.Fatal(err)
	}
	r := night{code: cmd.ProcessState.ExitCode(), stderr: string(out), built: map[string]string{}}
	n.t.Logf("the night ended with %d:\n%s", r.code, out)
	if r.code == exitOK && !strings.Contains(r.stderr, "\n"+filepath.Join(data, "store")+" ") {
		n.t.Error("the script did not free space in the data directory of the night")
	}
	latest := filepath.Join(reports, "latest")
	read := func(file string) string {
		n.t.Helper()
		data, err := os.ReadFile(filepath.Join(latest, file))
		if err != nil {
			n.t.Fatal(err)
		}
		return string(data)
	}
	r.json, r.page = read("summary.json"), read("index.html")
	n.readSummary(&r)
	n.readJUnit(&r, read("junit.xml"))
	n.readMetrics(&r)
	return r
}

// readSummary fills in what the summary says about images.
func (n *nights) readSummary(r *night) {
	n.t.Helper()
	var s struct {
		Built []struct {
			Name, Reason string
			Unchanged    bool
		}
		Failed []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(r.json), &s); err != nil {
		n.t.Fatal(err)
	}
	for _, im := range s.Built {
		if im.Unchanged {
			r.kept = append(r.kept, im.Name)
		} else {
			r.built[im.Name] = im.Reason
		}
	}
	for _, im := range s.Failed {
		r.failed = append(r.failed, im.Name)
	}
}

// readJUnit fills in the counts of the JUnit report.
func (n *nights) readJUnit(r *night, text string) {
	n.t.Helper()
	var j struct {
		Suites []struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Errors   int `xml:"errors,attr"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(text), &j); err != nil || len(j.Suites) != 1 {
		n.t.Fatalf("junit.xml: %v", err)
	}
	r.junit.tests, r.junit.failures, r.junit.errors = j.Suites[0].Tests, j.Suites[0].Failures, j.Suites[0].Errors
}

// readMetrics fills in the values of the metrics file, by name and status or image.
func (n *nights) readMetrics(r *night) {
	n.t.Helper()
	metrics, err := os.ReadFile(filepath.Join(n.dir, "kolla.prom"))
	if err != nil {
		n.t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(metrics))
	if err != nil {
		n.t.Fatal(err)
	}
	r.metric = map[string]float64{}
	labels := map[string]string{"base": "debian", "type": "source", "set": n.registry + "/t:t"}
	for name, f := range families {
		for _, m := range f.Metric {
			key, set := name, map[string]string{}
			for _, l := range m.Label {
				if l.GetName() == "status" || l.GetName() == "image" {
					key += " " + l.GetValue()
				} else {
					set[l.GetName()] = l.GetValue()
				}
			}
			if !maps.Equal(set, labels) {
				n.t.Errorf("%s has the labels %v, want %v", name, set, labels)
			}
			r.metric[key] = m.GetGauge().GetValue()
		}
	}
}

// tags returns the tags of an image with their digests.
func (n *nights) tags(image string) map[string]string {
	n.t.Helper()
	repo, err := name.NewRepository(n.registry+"/t/"+image, name.Insecure)
	if err != nil {
		n.t.Fatal(err)
	}
	list, err := remote.List(repo)
	if err != nil {
		n.t.Fatal(err)
	}
	out := map[string]string{}
	for _, t := range list {
		d, err := remote.Head(repo.Tag(t))
		if err != nil {
			n.t.Fatal(err)
		}
		out[t] = d.Digest.String()
	}
	return out
}

func (n *nights) sameTags(image string, want ...string) map[string]string {
	n.t.Helper()
	tags := n.tags(image)
	var got []string
	for t := range tags {
		got = append(got, t)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		n.t.Errorf("%s has the tags %q, want %q", image, got, want)
	}
	return tags
}

// TestNights runs the first nights of a job: everything is built; nothing has changed; a
// package has changed; a build fails; it is repaired, and the oldest set is removed.
func TestNights(t *testing.T) {
	testenv.Inputs(t, "examples/ci/nightly.sh")
	w := newRefreshWorld(t)
	n := &nights{refreshWorld: w, dir: w.dir, log: &bytes.Buffer{}}
	s, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: filepath.Join(w.dir, "registry"),
		Log: n.log, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	n.registry = s.Addr().String()
	n.options = append(n.options, "--registry", n.registry, "--metrics-file", filepath.Join(w.dir, "kolla.prom"))
	n.today = time.Now().Format(time.DateOnly)
	n.buildAll()
	n.changeNothing()
	n.options = append(n.options, "--retain", "2")
	n.changePackage()
	repair := n.breakImage()
	repair()
	n.publishRepaired()
}

// publishAs returns the options that publish a set as that of another day.
func publishAs(day string) []string { return []string{"--tag", "t-" + day, "--also-tag", "t"} }

// buildAll is the first night.
func (n *nights) buildAll() {
	n.t.Helper()
	night := n.run()
	if night.code != exitOK || len(night.built) != 4 || len(night.kept) != 0 {
		n.t.Fatalf("first night: ended with %d, built %v, kept %v", night.code, night.built, night.kept)
	}
	n.first = n.sameTags("leaf", "t", "t-"+n.today)
	if n.first["t"] != n.first["t-"+n.today] || n.first["t"] == "" {
		n.t.Errorf("tags: %v", n.first)
	}
	if night.junit.tests != 5 || night.junit.failures+night.junit.errors != 0 ||
		night.metric["kolla_build_images built"] != 4 || night.metric["kolla_build_success"] != 1 {
		n.t.Errorf("first night: %+v %v", night.junit, night.metric)
	}
	if !strings.Contains(night.stderr, "nightly: 4 of 4 images built; published as t-"+n.today+" and t; report ") {
		n.t.Error("the last line does not name what was published")
	}
}

// changeNothing is the second night. It has nothing to do: no builder, no push.
func (n *nights) changeNothing() {
	n.t.Helper()
	n.log.Reset()
	started := filepath.Join(n.dir, "started")
	put(n.t, filepath.Join(n.dir, "buildkitd"), []byte("#!/bin/sh\ntouch "+started+"\nexit 1\n"))
	if err := os.Chmod(filepath.Join(n.dir, "buildkitd"), 0o755); err != nil {
		n.t.Fatal(err)
	}
	night := n.run("--buildkitd", filepath.Join(n.dir, "buildkitd"))
	if _, err := os.Stat(started); err == nil {
		n.t.Error("a night in which nothing changed started a builder")
	}
	if night.code != exitOK || len(night.built) != 0 || len(night.kept) != 4 {
		n.t.Errorf("second night: ended with %d, built %v, kept %v", night.code, night.built, night.kept)
	}
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		if strings.Contains(n.log.String(), method+" ") {
			n.t.Errorf("a night in which nothing changed wrote to the registry:\n%s", n.log.String())
		}
	}
	if !strings.Contains(n.log.String(), "HEAD ") {
		n.t.Errorf("the log of the registry shows no requests, so the test proves nothing\n%s", n.log.String())
	}
	if night.metric["kolla_build_images unchanged"] != 4 || night.junit.tests != 5 ||
		!strings.Contains(night.page, "Nothing to do") || !strings.Contains(night.stderr, "nothing changed, 4 images") {
		n.t.Errorf("second night: %v", night.metric)
	}
}

// changePackage is the third night, before which a package has changed: the images that
// install it and their descendants are built, and reported with the versions. It is the second
// set of this day, which must not overwrite the first one.
func (n *nights) changePackage() {
	n.t.Helper()
	n.server.AddDebs(deb("beta", "2"))
	night := n.run()
	n.dated = "t-" + n.today + "-2"
	if night.code != exitOK || len(night.built) != 2 || night.built["app"] != "package beta 1 → 2" ||
		night.built["leaf"] != "parent app is built" {
		n.t.Errorf("third night: ended with %d, built %v", night.code, night.built)
	}
	if !strings.Contains(strings.Join(strings.Fields(night.json), ""),
		`"packages":[{"name":"beta","from":"1","to":"2"}]`) {
		n.t.Errorf("the summary does not name the package:\n%s", night.json)
	}
	if !strings.Contains(night.page,
		`<tr><th scope="row">beta</th><td><code>1</code></td><td><code>2</code></td><td>app, leaf</td></tr>`) {
		n.t.Error("the page does not name the package")
	}
	if night.metric["kolla_build_package_changes"] != 2 || night.metric["kolla_build_image_package_changes leaf"] != 1 ||
		!strings.Contains(night.stderr, "packages: beta 1 → 2; published as "+n.dated+" and t;") {
		n.t.Errorf("third night: %v", night.metric)
	}
	n.third = n.sameTags("leaf", "t", "t-"+n.today, n.dated)
	if n.third["t"] == n.first["t"] || n.third["t"] != n.third[n.dated] || n.third["t-"+n.today] != n.first["t"] {
		n.t.Errorf("tags: %v, before %v", n.third, n.first)
	}
	if other := n.sameTags("other", "t", "t-"+n.today, n.dated); other["t"] != other["t-"+n.today] {
		n.t.Errorf("an unchanged image has another digest: %v", other)
	}
}

// breakImage is the fourth night, which fails: no tag changes, and the reports show why. The
// result repairs the image.
func (n *nights) breakImage() (repair func()) {
	n.t.Helper()
	broken := filepath.Join(n.dir, "tree/leaf/Dockerfile.j2")
	text, err := os.ReadFile(broken)
	if err != nil {
		n.t.Fatal(err)
	}
	n.server.AddDebs(deb("beta", "3"))
	put(n.t, broken, append(text, "RUN echo no luck tonight; exit 7\n"...))
	night := n.run(publishAs("2999-01-04")...)
	if night.code != exitFailed || night.built["app"] == "" || !slices.Equal(night.failed, []string{"leaf"}) {
		n.t.Errorf("fourth night: ended with %d, built %v, failed %v", night.code, night.built, night.failed)
	}
	for _, image := range []string{"app", "leaf", "other"} {
		n.sameTags(image, "t", "t-"+n.today, n.dated)
	}
	if current := n.tags("leaf"); current["t"] != n.third["t"] {
		n.t.Errorf("the floating tag has changed: %v", current)
	}
	if night.junit.failures != 2 || night.metric["kolla_build_success"] != 0 ||
		night.metric["kolla_build_image_failed leaf"] != 1 || !strings.Contains(night.page, "no luck tonight") ||
		!strings.Contains(night.stderr, "nightly: 1 of 4 images failed (leaf); no tag was changed;") {
		n.t.Errorf("fourth night: %+v %v", night.junit, night.metric)
	}
	return func() { put(n.t, broken, text) }
}

// publishRepaired is the fifth night, after the repair: the new set is complete, and the oldest
// one is removed.
func (n *nights) publishRepaired() {
	n.t.Helper()
	night := n.run(publishAs("2999-01-05")...)
	if night.code != exitOK || night.built["leaf"] == "" || night.built["app"] != "" {
		n.t.Errorf("fifth night: ended with %d, built %v", night.code, night.built)
	}
	fifth := n.sameTags("leaf", "t", n.dated, "t-2999-01-05")
	if app := n.tags("app"); fifth["t"] == n.third["t"] || app["t"] != app["t-2999-01-05"] || app["t"] == app[n.dated] {
		n.t.Errorf("tags: %v, app %v", fifth, app)
	}
	if entries, err := os.ReadDir(filepath.Join(n.dir, "reports")); err != nil || len(entries) != 6 {
		n.t.Errorf("%d reports and links, %v", len(entries), err)
	}
	if st, err := os.Stat(filepath.Join(n.dir, "kolla.prom")); err != nil || st.Size() == 0 {
		n.t.Errorf("metrics beside the reports: %v", err)
	}
}
