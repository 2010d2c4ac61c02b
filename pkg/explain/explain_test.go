package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

// rendered renders the test tree with a configuration file and arguments.
func rendered(t *testing.T, conf string, args ...string) *imageset.Set {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kolla-build.conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-b", "debian", "--images-dir", filepath.Join(testenv.RepoRoot(t), "testdata", "tree"),
		"--config-file", path}, args...)
	cfg, err := cli.Load(cli.Input{Args: args, Env: []string{"HOME=" + t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := imageset.Render(t.Context(), imageset.Options{Config: cfg, Console: &console.Console{Stderr: t.Output()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r.First()
}

func explained(t *testing.T, in Input, name string) *Explanation {
	t.Helper()
	x, err := explainImage(t.Context(), in, name)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestNoCredentials checks that no output contains a password from any source of the
// configuration.
func TestNoCredentials(t *testing.T) {
	set := rendered(t, `[DEFAULT]
maintainer = Kolla https://writer:s3cret-a@example.org/
[svc-a]
type = git
location = https://user:s3cret-b@example.org/svc-a.git?token=s3cret-c
reference = master
`, "--build-args", "http_proxy:http://user:s3cret-d@proxy:3128,https_proxy:user:s3cret-e@proxy:3128,PIP_INDEX_URL:https://user:s3cret-f@pypi/simple",
		"--base-image", "registry.example/debian")
	x := explained(t, Input{Set: set, All: true, NoPlan: errors.New("no plan")}, "svc-a")
	var text, asJSON bytes.Buffer
	if err := x.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := (&console.Console{Stdout: &asJSON}).PrintJSON(x); err != nil {
		t.Fatal(err)
	}
	for form, out := range map[string]string{"text": text.String(), "JSON": asJSON.String()} {
		if i := strings.Index(out, "s3cret"); i >= 0 {
			t.Errorf("%s contains a password: …%s…", form, out[max(0, i-60):min(len(out), i+20)])
		}
		for _, part := range []string{"proxy:3128", "example.org/svc-a.git", "pypi/simple", "writer"} {
			if found := strings.Contains(out, part); found == (part == "writer") {
				t.Errorf("%s contains %q: %t", form, part, found)
			}
		}
	}
}

func TestImage(t *testing.T) {
	set := rendered(t, "[DEFAULT]\nnamespace = ns\ntag = t1\n[svc-a]\ntype = git\nlocation = https://example.org/${base}.git\nreference "+
		"= master\n[svc-a-plugin-x]\ntype = local\nlocation = /x\n[svc-b]\ntype = local\nlocation = /y\n")
	x := explained(t, Input{Set: set, NoPlan: errors.New("nothing was built\nhere")}, "svc-a")
	if x.Reference != "ns/svc-a:t1" || x.Status != "matched" || x.Key.Unknown != "nothing was built" {
		t.Errorf("explained %+v", x)
	}
	if !slices.Equal(x.Parents[:2], []string{"svc-base", "base"}) || len(x.Parents) != 3 {
		t.Errorf("parents %v", x.Parents)
	}
	var sections []string
	for _, s := range x.Sources {
		sections = append(sections, s.Section)
	}
	if !slices.Equal(sections, []string{"svc-a", "svc-a-plugin-x"}) ||
		x.Sources[0].Location != "https://example.org/debian.git" {
		t.Errorf("sources %+v", x.Sources)
	}
	settings := map[string]Setting{}
	for _, s := range x.Settings {
		settings[s.Option] = s
	}
	if s := settings["base"]; s.From != "flag" || s.Value != "debian" {
		t.Errorf("base %+v", s)
	}
	if s := settings["namespace"]; s.From != "file" || !strings.HasSuffix(s.Where, "kolla-build.conf:2") {
		t.Errorf("namespace %+v", s)
	}
	if _, ok := settings["push"]; ok {
		t.Error("an option that does not affect the image is shown")
	}
	// Templates have a variable config_dir; the option of this name does not set it.
	if o := optionOfVariable("config_dir"); o != nil {
		t.Errorf("config_dir is said to come from --%s", o.Name)
	}
	if o := optionOfVariable("base_distro"); o == nil || o.Name != "base" {
		t.Errorf("base_distro comes from %v", o)
	}
	if x := explained(t, Input{Set: set, All: true, NoPlan: errors.New("x")}, "base"); len(x.Children) == 0 ||
		len(x.Settings) <= len(settings) {
		t.Errorf("all: %d children, %d settings", len(x.Children), len(x.Settings))
	}
}

func TestKey(t *testing.T) {
	set := rendered(t, "")
	id := set.ID("svc-base")
	p := &plan.Plan{Items: []*plan.Item{{Image: id, Key: "sha256:k", Action: plan.Build, Reason: "context changed",
		Parts: map[string]string{"Dockerfile": "sha256:1", "context": "sha256:2", "network_mode": "sha256:3"}},
		{Image: set.ID("svc-a")}, {Image: set.ID("svc-b")}}}
	in := Input{Set: set, Plan: p, Parts: func(got image.ID) (map[string]string, bool) {
		return map[string]string{"Dockerfile": "sha256:1", "context": "sha256:0", "old": "sha256:9"}, got == id
	}, Failed: func(got image.ID) error {
		if got == set.ID("svc-a") {
			return errors.New("no such source")
		}
		return nil
	}}
	x := explained(t, in, "svc-base")
	changes := map[string]string{}
	for _, part := range x.Key.Parts {
		changes[part.Name] = part.Change
	}
	want := map[string]string{"Dockerfile": "unchanged", "context": "changed", "network_mode": "new", "old": "gone"}
	got, _ := json.Marshal(changes)
	expected, _ := json.Marshal(want)
	if !bytes.Equal(got, expected) || x.Key.Action != "build" {
		t.Errorf("key %+v", x.Key)
	}
	var text bytes.Buffer
	if err := x.WriteText(&text); err != nil || !strings.Contains(text.String(), "context changed") {
		t.Errorf("text %s, %v", text.String(), err)
	}
	// A kept image has its own key, regardless of the history of another build.
	p.Items[0].Action = plan.Keep
	for _, part := range explained(t, in, "svc-base").Key.Parts {
		if part.Change != "unchanged" {
			t.Errorf("an image that is kept: %+v", part)
		}
	}
	for name, reason := range map[string]string{"svc-a": "no such source", "svc-b": "has no key", "base": "not selected"} {
		if x := explained(t, in, name); !strings.Contains(x.Key.Unknown, reason) {
			t.Errorf("%s: %+v", name, x.Key)
		}
	}
}
