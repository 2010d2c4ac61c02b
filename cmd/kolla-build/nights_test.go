package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
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

// nights is a job that runs nightly against a registry and a package repository
// of the test's own.
type nights struct {
	*refreshWorld
	registry string
	dir      string
	log      *bytes.Buffer // the registry's, a line for each request
}

// night is what one night has left behind.
type night struct {
	code   int
	said   string
	built  map[string]string // image to reason
	kept   []string
	failed []string
	json   string
	page   string
	junit  struct{ tests, failures, errors int }
	metric map[string]float64
}

// run runs one night: through the script of the examples, as a CI job does.
func (n *nights) run(args ...string) night {
	n.t.Helper()
	script := filepath.Join(testenv.RepoRoot(n.t), "examples/ci/nightly.sh")
	cmd := exec.Command("sh", append([]string{script}, append(slices.Clone(n.options), args...)...)...)
	exe, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	reports := filepath.Join(n.dir, "reports")
	cmd.Env = append(os.Environ(), "KOLLA_BUILD="+filepath.Join(n.dir, "kolla-build"), "REPORTS="+reports, "NO_COLOR=1",
		"KOLLA_BUILD_DATA_DIR="+filepath.Join(n.dir, "data"))
	// The test binary is the program: testscript.Main knows it by its name.
	if err := os.Symlink(exe, filepath.Join(n.dir, "kolla-build")); err != nil && !os.IsExist(err) {
		n.t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		n.t.Fatal(err)
	}
	r := night{code: cmd.ProcessState.ExitCode(), said: string(out), built: map[string]string{}}
	n.t.Logf("the night ended with %d:\n%s", r.code, out)
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
			key := name
			for _, l := range m.Label {
				key += " " + l.GetValue()
			}
			r.metric[key] = m.GetGauge().GetValue()
		}
	}
	return r
}

// tags returns the tags of an image with the digests that they name.
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

// TestNights is a job's first nights: all is built; nothing moved; a package
// moved; a build fails half-way; it is mended, and the oldest set goes.
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

	// The first night builds all.
	one := n.run()
	if one.code != exitOK || len(one.built) != 4 || len(one.kept) != 0 {
		t.Fatalf("first night: ended with %d, built %v, kept %v", one.code, one.built, one.kept)
	}
	first := n.sameTags("leaf", "t", "t-"+today)
	if first["t"] != first["t-"+today] || first["t"] == "" {
		t.Errorf("tags: %v", first)
	}
	if one.junit.tests != 5 || one.junit.failures+one.junit.errors != 0 || one.metric["kolla_build_images built"] != 4 || one.metric["kolla_build_success"] != 1 {
		t.Errorf("first night: %+v %v", one.junit, one.metric)
	}
	if !strings.Contains(one.said, "nightly: 4 of 4 images built; published as t-"+today+" and t; report ") {
		t.Error("the last line does not say what was published")
	}

	// The second finds nothing to do: no builder, no push.
	n.log.Reset()
	started := filepath.Join(w.dir, "started")
	put(t, filepath.Join(w.dir, "buildkitd"), []byte("#!/bin/sh\ntouch "+started+"\nexit 1\n"))
	if err := os.Chmod(filepath.Join(w.dir, "buildkitd"), 0o755); err != nil {
		t.Fatal(err)
	}
	two := n.run("--buildkitd", filepath.Join(w.dir, "buildkitd"))
	if _, err := os.Stat(started); err == nil {
		t.Error("a night in which nothing changed started a builder")
	}
	if two.code != exitOK || len(two.built) != 0 || len(two.kept) != 4 {
		t.Errorf("second night: ended with %d, built %v, kept %v", two.code, two.built, two.kept)
	}
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		if strings.Contains(n.log.String(), method+" ") {
			t.Errorf("a night in which nothing changed wrote to the registry:\n%s", n.log.String())
		}
	}
	if !strings.Contains(n.log.String(), "HEAD ") {
		t.Errorf("the registry's log shows no requests: the test is blind\n%s", n.log.String())
	}
	if two.metric["kolla_build_images unchanged"] != 4 || two.junit.tests != 5 || !strings.Contains(two.page, "Nothing to do") || !strings.Contains(two.said, "nothing changed, 4 images") {
		t.Errorf("second night: %v", two.metric)
	}
	// A second set of the same day needs a name of its own in this test only: the
	// days that a test does not have.
	n.options = append(n.options, "--retain", "2")
	publish := func(day string) []string { return []string{"--tag", "t-" + day, "--also-tag", "t"} }

	// On the third a package has moved: what installed it is built, and what
	// stands on it, and they are named with the versions.
	w.server.AddDebs(deb("beta", "2"))
	three := n.run(publish("2999-01-03")...)
	if three.code != exitOK || len(three.built) != 2 || three.built["app"] != "package beta 1 → 2" || three.built["leaf"] != "parent app is built" {
		t.Errorf("third night: ended with %d, built %v", three.code, three.built)
	}
	if !strings.Contains(strings.Join(strings.Fields(three.json), ""), `"packages":[{"name":"beta","from":"1","to":"2"}]`) {
		t.Errorf("the summary does not name the package:\n%s", three.json)
	}
	if !strings.Contains(three.page, `<tr><th scope="row">beta</th><td><code>1</code></td><td><code>2</code></td><td>app, leaf</td></tr>`) {
		t.Error("the page does not name the package")
	}
	if three.metric["kolla_build_package_changes"] != 2 || three.metric["kolla_build_image_package_changes leaf"] != 1 || !strings.Contains(three.said, "packages: beta 1 → 2; published as t-2999-01-03 and t;") {
		t.Errorf("third night: %v", three.metric)
	}
	third := n.sameTags("leaf", "t", "t-"+today, "t-2999-01-03")
	if third["t"] == first["t"] || third["t"] != third["t-2999-01-03"] || third["t-"+today] != first["t"] {
		t.Errorf("tags: %v, before %v", third, first)
	}
	if other := n.sameTags("other", "t", "t-"+today, "t-2999-01-03"); other["t"] != other["t-"+today] {
		t.Errorf("an image that did not move has other digests: %v", other)
	}

	// The fourth fails half-way: every tag stays, and the reports say why.
	broken := filepath.Join(w.dir, "tree/leaf/Dockerfile.j2")
	text, err := os.ReadFile(broken)
	if err != nil {
		t.Fatal(err)
	}
	w.server.AddDebs(deb("beta", "3"))
	put(t, broken, append(text, "RUN echo no luck tonight; exit 7\n"...))
	four := n.run(publish("2999-01-04")...)
	if four.code != exitFailed || four.built["app"] == "" || !slices.Equal(four.failed, []string{"leaf"}) {
		t.Errorf("fourth night: ended with %d, built %v, failed %v", four.code, four.built, four.failed)
	}
	for _, image := range []string{"app", "leaf", "other"} {
		n.sameTags(image, "t", "t-"+today, "t-2999-01-03")
	}
	if now := n.tags("leaf"); now["t"] != third["t"] {
		t.Errorf("the moving tag has moved: %v", now)
	}
	if four.junit.failures != 1 || four.metric["kolla_build_success"] != 0 || four.metric["kolla_build_image_failed leaf"] != 1 || !strings.Contains(four.page, "no luck tonight") || !strings.Contains(four.said, "nightly: 1 of 4 images failed (leaf); no tag was changed;") {
		t.Errorf("fourth night: %+v %v", four.junit, four.metric)
	}

	// It is mended: the new set is whole, and the oldest goes.
	put(t, broken, text)
	five := n.run(publish("2999-01-05")...)
	if five.code != exitOK || five.built["leaf"] == "" || five.built["app"] != "" {
		t.Errorf("fifth night: ended with %d, built %v", five.code, five.built)
	}
	fifth := n.sameTags("leaf", "t", "t-2999-01-03", "t-2999-01-05")
	if app := n.tags("app"); fifth["t"] == third["t"] || app["t"] != app["t-2999-01-05"] || app["t"] == app["t-2999-01-03"] {
		t.Errorf("tags: %v, app %v", fifth, app)
	}
	if entries, err := os.ReadDir(filepath.Join(w.dir, "reports")); err != nil || len(entries) != 6 {
		t.Errorf("%d reports and links, %v", len(entries), err)
	}
	if st, err := os.Stat(filepath.Join(w.dir, "kolla.prom")); err != nil || st.Size() == 0 {
		t.Errorf("metrics beside the reports: %v", err)
	}
}
