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
	var j struct {
		Suites []struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Errors   int `xml:"errors,attr"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(read("junit.xml")), &j); err != nil || len(j.Suites) != 1 {
		n.t.Fatalf("junit.xml: %v", err)
	}
	r.junit.tests, r.junit.failures, r.junit.errors = j.Suites[0].Tests, j.Suites[0].Failures, j.Suites[0].Errors
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
			if want := map[string]string{"base": "debian", "type": "source", "set": n.registry + "/t:t"}; !maps.Equal(set, want) {
				n.t.Errorf("%s has the labels %v, want %v", name, set, want)
			}
			r.metric[key] = m.GetGauge().GetValue()
		}
	}
	return r
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
	w := newRefreshWorld(t)
	n := &nights{refreshWorld: w, dir: w.dir, log: &bytes.Buffer{}}
	s, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: filepath.Join(w.dir, "registry"), Log: n.log, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	n.registry = s.Addr().String()
	n.options = append(n.options, "--registry", n.registry, "--metrics-file", filepath.Join(w.dir, "kolla.prom"))
	today := time.Now().Format(time.DateOnly)

	// The first run builds everything.
	firstNight := n.run()
	if firstNight.code != exitOK || len(firstNight.built) != 4 || len(firstNight.kept) != 0 {
		t.Fatalf("first night: ended with %d, built %v, kept %v", firstNight.code, firstNight.built, firstNight.kept)
	}
	first := n.sameTags("leaf", "t", "t-"+today)
	if first["t"] != first["t-"+today] || first["t"] == "" {
		t.Errorf("tags: %v", first)
	}
	if firstNight.junit.tests != 5 || firstNight.junit.failures+firstNight.junit.errors != 0 ||
		firstNight.metric["kolla_build_images built"] != 4 || firstNight.metric["kolla_build_success"] != 1 {
		t.Errorf("first night: %+v %v", firstNight.junit, firstNight.metric)
	}
	if !strings.Contains(firstNight.stderr, "nightly: 4 of 4 images built; published as t-"+today+" and t; report ") {
		t.Error("the last line does not name what was published")
	}

	// The second has nothing to do: no builder, no push.
	n.log.Reset()
	started := filepath.Join(w.dir, "started")
	put(t, filepath.Join(w.dir, "buildkitd"), []byte("#!/bin/sh\ntouch "+started+"\nexit 1\n"))
	if err := os.Chmod(filepath.Join(w.dir, "buildkitd"), 0o755); err != nil {
		t.Fatal(err)
	}
	secondNight := n.run("--buildkitd", filepath.Join(w.dir, "buildkitd"))
	if _, err := os.Stat(started); err == nil {
		t.Error("a night in which nothing changed started a builder")
	}
	if secondNight.code != exitOK || len(secondNight.built) != 0 || len(secondNight.kept) != 4 {
		t.Errorf("second night: ended with %d, built %v, kept %v", secondNight.code, secondNight.built, secondNight.kept)
	}
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		if strings.Contains(n.log.String(), method+" ") {
			t.Errorf("a night in which nothing changed wrote to the registry:\n%s", n.log.String())
		}
	}
	if !strings.Contains(n.log.String(), "HEAD ") {
		t.Errorf("the log of the registry shows no requests, so the test proves nothing\n%s", n.log.String())
	}
	if secondNight.metric["kolla_build_images unchanged"] != 4 || secondNight.junit.tests != 5 ||
		!strings.Contains(secondNight.page, "Nothing to do") || !strings.Contains(secondNight.stderr, "nothing changed, 4 images") {
		t.Errorf("second night: %v", secondNight.metric)
	}
	n.options = append(n.options, "--retain", "2")
	publish := func(day string) []string { return []string{"--tag", "t-" + day, "--also-tag", "t"} }

	// Before the third a package has changed: the images that install it and their
	// descendants are built, and reported with the versions. It is the second set of
	// this day, which must not overwrite the first one.
	w.server.AddDebs(deb("beta", "2"))
	thirdNight, dated := n.run(), "t-"+today+"-2"
	if thirdNight.code != exitOK || len(thirdNight.built) != 2 || thirdNight.built["app"] != "package beta 1 → 2" ||
		thirdNight.built["leaf"] != "parent app is built" {
		t.Errorf("third night: ended with %d, built %v", thirdNight.code, thirdNight.built)
	}
	if !strings.Contains(strings.Join(strings.Fields(thirdNight.json), ""), `"packages":[{"name":"beta","from":"1","to":"2"}]`) {
		t.Errorf("the summary does not name the package:\n%s", thirdNight.json)
	}
	if !strings.Contains(thirdNight.page,
		`<tr><th scope="row">beta</th><td><code>1</code></td><td><code>2</code></td><td>app, leaf</td></tr>`) {
		t.Error("the page does not name the package")
	}
	if thirdNight.metric["kolla_build_package_changes"] != 2 || thirdNight.metric["kolla_build_image_package_changes leaf"] != 1 ||
		!strings.Contains(thirdNight.stderr, "packages: beta 1 → 2; published as "+dated+" and t;") {
		t.Errorf("third night: %v", thirdNight.metric)
	}
	third := n.sameTags("leaf", "t", "t-"+today, dated)
	if third["t"] == first["t"] || third["t"] != third[dated] || third["t-"+today] != first["t"] {
		t.Errorf("tags: %v, before %v", third, first)
	}
	if other := n.sameTags("other", "t", "t-"+today, dated); other["t"] != other["t-"+today] {
		t.Errorf("an unchanged image has another digest: %v", other)
	}

	// The fourth fails: no tag changes, and the reports show why.
	broken := filepath.Join(w.dir, "tree/leaf/Dockerfile.j2")
	text, err := os.ReadFile(broken)
	if err != nil {
		t.Fatal(err)
	}
	w.server.AddDebs(deb("beta", "3"))
	put(t, broken, append(text, "RUN echo no luck tonight; exit 7\n"...))
	fourthNight := n.run(publish("2999-01-04")...)
	if fourthNight.code != exitFailed || fourthNight.built["app"] == "" || !slices.Equal(fourthNight.failed, []string{"leaf"}) {
		t.Errorf("fourth night: ended with %d, built %v, failed %v", fourthNight.code, fourthNight.built, fourthNight.failed)
	}
	for _, image := range []string{"app", "leaf", "other"} {
		n.sameTags(image, "t", "t-"+today, dated)
	}
	if current := n.tags("leaf"); current["t"] != third["t"] {
		t.Errorf("the floating tag has changed: %v", current)
	}
	if fourthNight.junit.failures != 2 || fourthNight.metric["kolla_build_success"] != 0 ||
		fourthNight.metric["kolla_build_image_failed leaf"] != 1 || !strings.Contains(fourthNight.page, "no luck tonight") ||
		!strings.Contains(fourthNight.stderr, "nightly: 1 of 4 images failed (leaf); no tag was changed;") {
		t.Errorf("fourth night: %+v %v", fourthNight.junit, fourthNight.metric)
	}

	// It is repaired: the new set is complete, and the oldest one is removed.
	put(t, broken, text)
	fifthNight := n.run(publish("2999-01-05")...)
	if fifthNight.code != exitOK || fifthNight.built["leaf"] == "" || fifthNight.built["app"] != "" {
		t.Errorf("fifth night: ended with %d, built %v", fifthNight.code, fifthNight.built)
	}
	fifth := n.sameTags("leaf", "t", dated, "t-2999-01-05")
	if app := n.tags("app"); fifth["t"] == third["t"] || app["t"] != app["t-2999-01-05"] || app["t"] == app[dated] {
		t.Errorf("tags: %v, app %v", fifth, app)
	}
	if entries, err := os.ReadDir(filepath.Join(w.dir, "reports")); err != nil || len(entries) != 6 {
		t.Errorf("%d reports and links, %v", len(entries), err)
	}
	if st, err := os.Stat(filepath.Join(w.dir, "kolla.prom")); err != nil || st.Size() == 0 {
		t.Errorf("metrics beside the reports: %v", err)
	}
}
