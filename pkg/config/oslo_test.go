package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/facts"
)

// These tests give the same command lines and files to Kolla's own code on oslo.config
// and to Load, and compare the results.

// oslosAnswer is the result of testdata/oslo_values.py for one case.
type oslosAnswer struct {
	Error    string
	Options  map[string]any
	Profiles map[string][]string
	Users    map[string]struct {
		UID, GID *int
		Group    string
	}
	Sources map[string]struct {
		Type, Location, Reference, Version *string
		Enabled                            bool
		SHA256                             map[string]string
	}
}

type osloCase struct {
	Args  []string          `json:"args"`
	Env   map[string]string `json:"env"`
	Files map[string]string `json:"files"`
	Dir   string            `json:"dir"`
}

func (c osloCase) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kolla-build %q", c.Args)
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		fmt.Fprintf(&b, "\nenvironment %s=%s", name, c.Env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		fmt.Fprintf(&b, "\n-- %s --\n%s", name, c.Files[name])
	}
	return b.String()
}

func args(words ...string) osloCase { return osloCase{Args: words} }
func file(text string, words ...string) osloCase {
	return osloCase{Args: words, Files: map[string]string{"kolla-build.conf": text}}
}
func defaults(text string, words ...string) osloCase { return file("[DEFAULT]\n"+text, words...) }

var osloCases = []osloCase{
	args(),
	args("-b", "ubuntu"), args("-bubuntu"), args("--base=debian"), args("--base", "centos", "nova", "^keystone$"),
	args("--", "-x", "nova"),
	args("-b=debian"), args("-ldq"), args("-lbdebian"), args("-ld", "-n", "ns"), args("-T4"), args("-T", "4", "-r", "0"),
	args("--base", "debian", "--base-tag", "bookworm"), args("--base-image", "my/image", "--base-tag", "x"),
	args("--base-image", "my/image", "--base-tag", "latest"), args("--base-image="),
	args("--base-arch", "aarch64"), args("--base-arch", "aarch64", "--debian-arch",
		"amd64"), args("--base-arch", "x86_64"),
	args("--openstack-release", "2026.1"), args("--openstack-release", "2026.1", "-b", "ubuntu", "--tag", "t"),
	args("--openstack-release", "2025.2", "--openstack-branch", "b-c"), args("--openstack-release", "my-fork"),
	args("--openstack-branch-slashed", "stable/x"),
	args("--nocache", "--nopull", "--nosummary"), args("--cache", "--nocache"), args("--nocache", "--cache"),
	args("--nouse-dumb-init", "--nodocker-healthchecks", "--nobuildkit", "--nopush"), args("--noskip-parents"),
	args("-p", "default"), args("-pdefault"), args("-p", "infra", "--profile", "main",
		"--profile=aux"), args("-p", "nosuch"),
	args("-p", "infra", "nova"), args("-p", "infra,main"),
	args("--build-args", "a:1,b:2"), args("--build-args",
		"http_proxy:http://p:3128, no_proxy : localhost"), args("--build-args", "a"),
	args("--build-args", "a:1,a:2"), args("--build-args", ""), args("--build-args", ":v"), args("--build-args", "a,b:1"),
	args("--build-args", "a:1", "--build-args", "b:2"), args("--build-args", "a:1,b"),
	args("-D", "x", "-D", "y", "--docker-dir=z"), args("--template-override", "a", "--template-override", "b"),
	args("--registry", "localhost:4000", "--namespace", "n", "--image-name-prefix", "p-"),
	args("--registry"), args("--registry", "--push"), args("-n"), args("--threads", "0"), args("--threads",
		"x"), args("--threads=-1"),
	args("--retries", "-1"), args("--timeout", " 7 "), args("--timeout", "+7"), args("--timeout",
		"1_000"), args("--timeout", "1__0"),
	args("--push-threads", "3"), args("--push-threads", "3.5"), args("--base", "gentoo"), args("--base-arch", "sparc"),
	args("--engine", "podman"), args("--engine", "lxc"),
	args("--format", "none"), args("-f", "json"), args("-f", "xml"),
	args("--network_mode", "none"), args("--podman_base_url",
		"unix:///x"), args("--nosuch"), args("-Z"), args("--nosuch=1"),
	args("--templ"), args("--template-on"), args("--skip-p", "--summary-j",
		"f"), args("--list-"), args("--nodebug", "--pu"),
	args("--namesp", "x"), args("--noc"), args("--save", "x.dot"),
	args("--tag", "$base-$openstack_release"), args("--tag", "${base}x${base_tag}"), args("--tag", "$$base"),
	args("--tag", `\$base`), args("--tag", "$"), args("--tag", "a$-b"), args("--tag",
		"${base"), args("--tag", "${base-tag}"),
	args("--tag", "$nosuch"), args("--tag", "${no.such}"), args("--tag", "$base.x"), args("--tag", "${etcd.version}"),
	args("--tag", "$registry."), args("--tag", "$threads$push$cache"),
	args("--tag", "$tag"), args("--tag", "$namespace", "--namespace", "$registry", "--registry", "$tag"),
	args("--tag", "$namespace", "-n", "$registry", "--registry", "r"),
	args("--tag", "x=y"), args("--tag=x=y"), args("-n", "a b"),
	args("--logs-dir", "l", "--work-dir", "w", "--patches-path", "p", "--locals-base", "/l",
		"--tarballs-base", "https://m"),
	args("--repos-yaml", "r.yaml", "--platform", "linux/arm64", "--squash", "--keep", "--skip-existing",
		"--enable-unbuildable"),
	args("--buildkit-builder", "b", "--openstack-release-codename", "Epoxy", "--template-only", "--list-images"),
	args("^nova-.*$", "a|b"), args("-"), args("-d", "-"), args(""),

	defaults("base = ubuntu\n"), defaults("base=ubuntu\nbase = debian\n"), defaults("base: debian\n"),
	defaults("base = debian : x\n"), defaults("tag = a:b=c\n"), defaults("tag:a=b\n"),
	defaults("base = ubuntu\n", "-b", "debian"), defaults("  base = ubuntu\n"),
	defaults("base = ubuntu\n  # not a comment\n"),
	defaults("tag = x # y\n"), defaults("tag = x ; y\n"), defaults("; c\n# c\ntag = 50%\n"),
	defaults("tag = %(base)s\n"), defaults("tag = \"quoted\"\n"), defaults("tag = 'q'\n"), defaults("tag = \"a' \n"),
	defaults("namespace = \"\n"), defaults("namespace = \"\"\n"), defaults("tag = \"a\" \"b\"\n"),
	defaults("tag = `x`\n"), defaults("tag = \"\"\"x\"\"\"\n"), defaults("tag = x\\\nbase = debian\n"),
	defaults("\"tag\" = x\n"), defaults("- = x\n"), defaults("`tag` = x\n"),
	defaults("tag =\n  one\n  two\n"), defaults("tag = one\n\ttwo\n   three  \nbase = debian\n"),
	defaults("tag = one\n\n two\n"), defaults("allowed_to_fail = a,\n  b,\n  c\n"),
	defaults("allowed_to_fail = a,b, c ,\n"), defaults("allowed_to_fail =\n"), defaults("allowed_to_fail = ,,\n"),
	defaults("rpm_setup_config = a.rpm,b.repo\nrpm_setup_config = c.rpm\n"),
	defaults("profile = infra\nprofile = main\n"), defaults("profile = infra\n", "-p",
		"main"), defaults("regex = a\nregex = b\n"), defaults("regex = a\n", "b"), defaults("docker_dir = a\n", "-D", "b"),
	defaults("push = yes\ncache = off\npull = 0\nkeep = " +
		"On\nsummary = FALSE\n"), defaults("push = maybe\n"), defaults("push =\n"), defaults("push = true\n", "--nopush"),
	defaults("threads = 3\nretries = 2\n"), defaults("threads = three\n"), defaults("threads = 0\n"),
	defaults("timeout =  9\n"),
	defaults("build_args = a:1, b : 2\n"), defaults("build_args = a\n"), defaults("build_args = http_proxy:http://x:1\n",
		"--build-args", "z:1"),
	defaults("base_tag = bookworm\nbase = debian\n"), defaults("base_image = x\n"), defaults("base_image =\n"),
	defaults("base_arch = aarch64\n"),
	defaults("distro_package_manager = yum\nbase_package_type = rpm\n"), defaults("base_package_type =\n"),
	defaults("maintainer = Me <me@example.org>\n"),
	defaults("apt_sources_list = s\napt_preferences = p\nsquash_cleanup = no\nsquash_tmp_dir = /t\nclean_package_cache = no\n"),
	defaults("network_mode = bridge\npodman_base_url = " +
		"u\nregistry = r:1\n"), defaults("tag = ${openstack_release}-x\nopenstack_release = 2026.1\n"),
	defaults("tag = $nosuch\n"),
	defaults("tag = \u00e9\u4e2d\n"), defaults("tag = \ta\t\n"), defaults("tag = a\u00a0\n"), defaults("tag\u00a0= a\n"),
	file("[default]\nbase = debian\n"), file("[Default]\nbase = debian\n[DEFAULT]\nbase = ubuntu\n"),
	file("base = debian\n"), file("[DEFAULT\nbase = x\n"), file("[DEFAULT] # c\nbase = debian\n"), file("[]\n"),
	file("[DEFAULT]\nnothing\n"), file("[DEFAULT]\n= x\n"), file("[DEFAULT]\n x\n"),
	file("[DEFAULT]\r\nbase = debian\r\ntag = x\r\n"), file("[DEFAULT]\rbase = debian\r"), file(""),
	file("\n\n"), file("# only\n"),
	file("[profiles]\ncontainers = zun,magnum,heat\n", "-p", "containers"), file("[profiles]\ninfra = a\nmain =\n", "-p",
		"infra"), file("[profiles]\nmain =\n", "-p", "main"), file("[Profiles]\nmine = a , b\n", "--profile", "mine"),
	file("[nova-user]\nuid = 1\n"), file("[nova-user]\nuid = 1\ngid = 2\ngroup = g\n[mine-user]\nuid = " +
		"5\ngid = 6\n"), file("[nova-user]\nuid = x\n"), file("[hacluster-user]\ngid = 7\n"),
	file("[keystone-base]\ntype = git\nlocation = https://example.org/keystone\nreference = " +
		"stable/2026.1\n"), file("[keystone-base]\ntype = local\nlocation = /src/$base\n"),
	file("[keystone-base]\ntype = svn\n"),
	file("[KEYSTONE-BASE]\nreference = x\n"), file("[horizon-plugin-mine]\ntype = url\nlocation = " +
		"${tarballs_base}/x-${version}.tar.gz\nversion = 1.2\nenabled = no\n"),
	file("[etcd]\nversion = 3.6.6\nsha256 = amd64:" +
		strings.Repeat("a", 64) + "\n"),
	file("[mine]\nlocation = http://x/$reference-$type\nreference = " +
		"r\ntype = git\n"), file("[mine]\nlocation = $nosuch\ntype = url\n"),
	file("[DEFAULT]\ntarballs_base = http://m\nopenstack_release = 2025.2\n"),
	file("[nova-base-additions-x]\ntype = local\nlocation = x\n"), file("[nova-base]\nlocation = $$x\n"),
	file("[nova-base]\nenabled = perhaps\n"),
	{Args: []string{}, Env: map[string]string{"OS_DEFAULT__BASE": "debian", "OS_DEFAULT__PUSH": "yes",
		"OS_DEFAULT__BASE_TAG": "bookworm"}},
	{Args: []string{"-b", "ubuntu"}, Env: map[string]string{"OS_DEFAULT__BASE": "debian", "OS_DEFAULT__THREADS": "2",
		"OS_DEFAULT__BUILD_ARGS": "a:b"}},
	{Args: []string{}, Env: map[string]string{"OS_DEFAULT__TAG": "$base", "OS_PROFILES__INFRA": "a,b",
		"OS_ETCD__VERSION": "9"}},
	{Args: []string{}, Env: map[string]string{"OS_DEFAULT__BASE": "debian"},
		Files: map[string]string{"kolla-build.conf": "[DEFAULT]\nbase = ubuntu\n"}},
	{Args: []string{}, Env: map[string]string{"OS_DEFAULT__THREADS": "many"}},
	{Args: []string{"--config-file", "a.conf", "--config-file", "b.conf"},
		Files: map[string]string{"a.conf": "[DEFAULT]\nbase = ubuntu\ntag = a\nprofile = infra\n[nova-user]\nuid=1\n",
			"b.conf": "[DEFAULT]\ntag = b\nprofile = main\n[nova-user]\ngid=2\n"}},
	{Args: []string{"--config-file=a.conf", "--config-dir", "d"},
		Files: map[string]string{"a.conf": "[DEFAULT]\nbase = ubuntu\ntag = a\n", "d/2.conf": "[DEFAULT]\ntag = 2\n",
			"d/1.conf": "[DEFAULT]\ntag = 1\nthreads = 3\n", "d/x.ini": "[DEFAULT]\ntag = x\n"}},
	{Args: []string{"--config-dir", "d", "--config-file", "a.conf"},
		Files: map[string]string{"a.conf": "[DEFAULT]\ntag = a\n", "d/1.conf": "[DEFAULT]\ntag = 1\nthreads = 3\n"}},
	{Args: []string{"--config-file", "missing.conf"}}, {Args: []string{"--config-dir",
		"missing"}}, {Args: []string{"--config-file"}},
	{Args: []string{"--config-file", "a.conf", "--tag", "t"}, Files: map[string]string{"a.conf": "[DEFAULT]\ntag = a\n"}},
}

// randomCases mixes pieces of command lines and lines of files, always in the same
// way.
func randomCases(n int) []osloCase {
	pieces := [][]string{{"-b", "debian"}, {"-bubuntu"}, {"--base=rocky"}, {"nova"}, {"^glance-"}, {"-p", "infra"},
		{"-pmain"}, {"--push"}, {"--nopush"}, {"-T", "2"}, {"-r5"},
		{"--registry", "r:4000"}, {"--tag", "$base-${base_tag}"}, {"--tag=x"}, {"-n",
			"$registry"}, {"-dl"}, {"-q"}, {"--nocache"}, {"--cache"}, {"--build-args", "a:$tag"},
		{"-D", "a"}, {"-D$base"}, {"--base-tag", "b"}, {"--base-arch=aarch64"}, {"--openstack-release",
			"2026.1"}, {"--template-o"}, {"--threads", "0"}, {"--debian-arch", "arm64"}, {"--", "-b"}}
	lines := []string{"base = ubuntu", "base=centos", "tag: $base", "tag = a", "  more", "", "# c", "threads = 4",
		"push = on", "push = off", "profile = aux", "docker_dir = d", "docker_dir = e",
		"build_args = x:y,z:${base}", "allowed_to_fail = a, b,", "[DEFAULT]", "[nova-base]",
		"location = $tarballs_base/$base", "type = url", "[profiles]", "infra = $$x", "[nova-user]", "uid = 7",
		"retries = 0", "namespace = 'q'", "work_dir = \"w\"", "base_tag = $openstack_release", "openstack_release = 2025.1"}
	r := rand.New(rand.NewSource(1))
	var cases []osloCase
	for range n {
		c := osloCase{Args: []string{}}
		for range r.Intn(5) {
			c.Args = append(c.Args, pieces[r.Intn(len(pieces))]...)
		}
		if r.Intn(3) > 0 {
			text := "[DEFAULT]\n"
			for range r.Intn(8) {
				text += lines[r.Intn(len(lines))] + "\n"
			}
			c.Files = map[string]string{"kolla-build.conf": text}
		}
		cases = append(cases, c)
	}
	return cases
}

func TestAgainstOslo(t *testing.T) {
	cases := slices.Concat(osloCases, moreOsloCases, randomCases(250))
	answers := askOslo(t, cases)
	profiles := answers[0].Profiles
	if answers[0].Error != "" {
		t.Fatalf("no options at all: %s", answers[0].Error)
	}
	for i, c := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			in := cli.Input{Args: c.Args, Dir: c.Dir, SystemFile: filepath.Join(c.Dir, "no-system.conf"), Profiles: profiles,
				Env: []string{"HOME=/home/someone"}, HostArch: config.HostArch(runtime.GOARCH)}
			for name, value := range c.Env {
				in.Env = append(in.Env, name+"="+value)
			}
			got, err := cli.Load(in)
			switch want := answers[i]; {
			case want.Error != "" && err == nil:
				t.Errorf("%v\nupstream refuses it: %s\nwe do not", c, want.Error)
			case want.Error == "" && err != nil:
				t.Errorf("%v\nupstream takes it, we do not: %v", c, err)
			case err == nil:
				compareToOslo(t, c, got, want)
			}
		})
	}
}

func compareToOslo(t *testing.T, c osloCase, got *config.Config, want oslosAnswer) {
	t.Helper()
	master, _ := facts.LookupRelease(facts.Master)
	masterTag := master.BaseTag(got.Base)
	for key, value := range want.Options {
		o := config.Lookup(key)
		if o == nil {
			t.Errorf("there is no option %s", key)
			continue
		}
		ours := reflect.ValueOf(got).Elem().FieldByName(o.Field()).Interface()
		if (value == nil || value == "") && (key == "distro_package_manager" || key == "base_package_type") {
			continue // upstream's worker fills them in later
		}
		if key == "push_threads" && !got.IsSet(key) && got.PushThreads == got.Threads {
			continue // a difference that docs/migrating.md describes
		}
		if got.OpenstackRelease != facts.Master && (key == "openstack_release_codename" ||
			strings.Contains(asJSON(value), masterTag)) {
			continue // master's tool has master's defaults, regardless of the release is
		}
		if a, b := asJSON(ours), asJSON(value); a != b {
			t.Errorf("%v\n%s = %s, upstream %s", c, key, a, b)
		}
	}
	if !reflect.DeepEqual(nonEmpty(got.Profiles), nonEmpty(want.Profiles)) {
		for name := range want.Profiles {
			if a, b := got.Profiles[name], want.Profiles[name]; !slices.Equal(a, b) {
				t.Errorf("%v\nprofile %s = %q, upstream %q", c, name, a, b)
			}
		}
	}
	for name, user := range want.Users {
		ours, ok := got.Users[strings.ToLower(name)]
		if !ok || user.UID == nil || ours.UID != *user.UID || user.GID != nil && ours.GID != *user.GID ||
			ours.Group != user.Group {
			t.Errorf("%v\nuser %s = %+v, upstream %+v", c, name, ours, user)
		}
	}
	if got.OpenstackRelease != facts.Master {
		return // master's tool has its own sources, too
	}
	for name, source := range want.Sources {
		ours, err := got.ExpandSource(name, nil)
		if err != nil {
			t.Errorf("%v\nsource %s: %v", c, name, err)
			continue
		}
		for what, pair := range map[string][2]string{
			"type": {ours.Type, text(source.Type)}, "location": {ours.Location, text(source.Location)},
			"reference": {ours.Reference, text(source.Reference)}, "version": {ours.Version, text(source.Version)},
			"enabled": {fmt.Sprint(ours.Enabled), fmt.Sprint(source.Enabled)}, "sha256": {config.FormatDict(ours.SHA256),
				config.FormatDict(source.SHA256)},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%v\n[%s] %s = %q, upstream %q", c, name, what, pair[0], pair[1])
			}
		}
	}
}

// asJSON makes upstream's None and our empty values alike.
func asJSON(v any) string {
	switch v := v.(type) {
	case nil:
		return `""`
	case bool:
		if !v {
			return `""`
		}
	}
	if rv := reflect.ValueOf(v); (rv.Kind() == reflect.Slice || rv.Kind() == reflect.Map) && rv.Len() == 0 {
		return `""`
	}
	b, _ := json.Marshal(v)
	return string(b)
}

func nonEmpty(m map[string][]string) map[string][]string {
	out := map[string][]string{}
	for k, v := range m {
		if len(v) > 0 {
			out[k] = v
		}
	}
	return out
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// askOslo runs Kolla's code over the cases. It needs Kolla's work tree, named by
// KOLLA_CHECKOUT, and Debian's python3-oslo.config and the like.
func askOslo(t *testing.T, cases []osloCase) []oslosAnswer {
	t.Helper()
	checkout := os.Getenv("KOLLA_CHECKOUT")
	if checkout == "" {
		t.Skip("KOLLA_CHECKOUT does not name a work tree of OpenStack Kolla")
	}
	const python = "/usr/bin/python3" // the one that Debian's modules are for
	if out, err := exec.Command(python, "-c", "import oslo_config, jinja2, git, docker, pbr").CombinedOutput(); err != nil {
		t.Skipf("Python modules that Kolla needs are missing: %s", bytes.TrimSpace(out))
	}
	root := t.TempDir()
	for i := range cases {
		c := &cases[i]
		c.Dir = filepath.Join(root, fmt.Sprint(i))
		if err := os.MkdirAll(c.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range c.Files {
			path := filepath.Join(c.Dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	script, err := filepath.Abs("testdata/oslo_values.py")
	if err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, script)
	cmd.Stdin = bytes.NewReader(input)
	cmd.Env = append(os.Environ(), "KOLLA_CHECKOUT="+checkout, "PYTHONDONTWRITEBYTECODE=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, stderr.String())
	}
	var answers []oslosAnswer
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatalf("reading the answers: %v\n%s", err, stderr.String())
	}
	return answers
}
