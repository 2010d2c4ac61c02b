package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/inifile"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// load runs Load in a new directory with a kolla-build.conf of that text, if any,
// and no other file.
func load(t *testing.T, text string, env []string, words ...string) (*config.Config, error) {
	t.Helper()
	dir := t.TempDir()
	if text != "" {
		if err := os.WriteFile(filepath.Join(dir, "kolla-build.conf"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return cli.Load(cli.Input{Args: words, Env: append([]string{"HOME=/home/someone"}, env...), Dir: dir,
		SystemFile: filepath.Join(dir, "no-system.conf"), HostArch: "x86_64", Profiles: someProfiles})
}

func mustLoad(t *testing.T, text string, env []string, words ...string) *config.Config {
	t.Helper()
	c, err := load(t, text, env, words...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTableAndConfigAgree(t *testing.T) {
	types := map[config.Kind]reflect.Type{config.String: reflect.TypeFor[string](), config.Bool: reflect.TypeFor[bool](),
		config.Int:  reflect.TypeFor[int](),
		config.List: reflect.TypeFor[[]string](), config.Dict: reflect.TypeFor[map[string]string](),
		config.Multi: reflect.TypeFor[[]string](), config.Size: reflect.TypeFor[int64]()}
	names, shorts := map[string]bool{}, map[string]bool{}
	fields := reflect.TypeFor[config.Config]()
	for _, o := range config.Options() {
		for _, name := range append([]string{o.Name}, o.Aliases...) {
			if names[config.CanonicalName(name)] {
				t.Errorf("--%s is there twice", name)
			}
			names[config.CanonicalName(name)] = true
		}
		if o.Short != "" && shorts[o.Short] {
			t.Errorf("-%s is there twice", o.Short)
		}
		shorts[o.Short] = true
		if !strings.HasSuffix(o.Help, ".") || o.Group == "" || !slices.Contains(config.Groups(), o.Group) {
			t.Errorf("--%s: help %q, group %q", o.Name, o.Help, o.Group)
		}
		if o.Kind != config.Bool && o.Arg == "" {
			t.Errorf("--%s takes a value that help has no name for", o.Name)
		}
		if field := o.Field(); field != "" {
			f, ok := fields.FieldByName(field)
			if !ok || f.Type != types[o.Kind] {
				t.Errorf("--%s: there is no field %s of type %v", o.Name, field, types[o.Kind])
			}
		}
	}
}

func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("system.conf", "[DEFAULT]\ntag = system\nnamespace = system\nregistry = system\nmaintainer = system\nlogs_dir = system\n")
	write("kolla-build.conf", "[DEFAULT]\ntag = local\nnamespace = local\nregistry = local\nmaintainer = local\n")
	if err := os.Mkdir(filepath.Join(dir, "more"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("more/more.conf", "[DEFAULT]\ntag = more\nnamespace = more\nregistry = more\n")
	c, err := cli.Load(cli.Input{
		Args: []string{"--tag", "flag", "--config-dir", "more"}, Dir: dir, SystemFile: filepath.Join(dir, "system.conf"),
		Env: []string{"KOLLA_BUILD_TAG=env", "KOLLA_BUILD_NAMESPACE=env", "OS_DEFAULT__NAMESPACE=oslo", "HOME=/h"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ option, got, want, origin string }{
		{"tag", c.Tag, "flag", "--tag flag"},
		{"namespace", c.Namespace, "env", "KOLLA_BUILD_NAMESPACE=env"},
		{"registry", c.Registry, "more", "more/more.conf:4"},
		{"maintainer", c.Maintainer, "local", "kolla-build.conf:5"},
		{"logs_dir", c.LogsDir, "system", filepath.Join(dir, "system.conf") + ":6"},
		{"base", c.Base, "rocky", "default"},
	} {
		if tc.got != tc.want || c.Origin(tc.option).String() != tc.origin {
			t.Errorf("%s = %q from %v, want %q from %s", tc.option, tc.got, c.Origin(tc.option), tc.want, tc.origin)
		}
	}
	if want := []string{filepath.Join(dir, "system.conf"), "kolla-build.conf",
		"more/more.conf"}; !slices.Equal(c.Files, want) {
		t.Errorf("Files = %q, want %q", c.Files, want)
	}
}

// TestNamedFilesReplaceDefaultFiles checks which files are read by default, and that the
// default files are not read if the command line names one, as in oslo.config.
func TestNamedFilesReplaceDefaultFiles(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	for _, path := range []string{"kolla-build.conf", "more.conf", "more.d/a.conf", "more.d/.hidden.conf", "more.d/b.conf",
		home + "/kolla-build.conf", home + "/.kolla/kolla-build.conf", home + "/.kolla/kolla-build.conf.d/x.conf"} {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("[DEFAULT]\nmaintainer = x\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	system, directory := home+"/.kolla/kolla-build.conf", home+"/.kolla/kolla-build.conf.d/x.conf"
	for args, want := range map[string][]string{
		"":                                {system, "kolla-build.conf", directory},
		"--config-file more.conf":         {directory, "more.conf"},
		"--config-file=more.conf --tag x": {directory, "more.conf"},
		"--config-dir more.d":             {system, "kolla-build.conf", "more.d/a.conf", "more.d/b.conf"},
		"--config-dir more.d --config-f more.conf":               {"more.d/a.conf", "more.d/b.conf", "more.conf"},
		"--config-file more.conf --config-file kolla-build.conf": {directory, "more.conf", "kolla-build.conf"},
	} {
		c, err := cli.Load(cli.Input{Args: strings.Fields(args), Dir: dir, Env: []string{"HOME=" + home}})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(c.Files, want) {
			t.Errorf("%s: read %q, want %q", args, c.Files, want)
		}
	}
}

// A file that two names lead to must not give repeatable options their values
// twice.
func TestFileReadOnce(t *testing.T) {
	c := mustLoad(t, "[DEFAULT]\nprofile = infra\n", nil, "--config-file", "kolla-build.conf",
		"--config-file", "./kolla-build.conf")
	if !slices.Equal(c.Profile, []string{"infra"}) || !slices.Equal(c.Files, []string{"./kolla-build.conf"}) {
		t.Errorf("profiles %q from %q", c.Profile, c.Files)
	}
}

func TestEnvironment(t *testing.T) {
	for _, tc := range []struct {
		env  []string
		args []string
		want string
	}{
		{nil, nil, ""},
		{[]string{"BUILDKIT_HOST=tcp://a:1"}, nil, "tcp://a:1"},
		{[]string{"BUILDKIT_HOST="}, nil, ""},
		{[]string{"BUILDKIT_HOST=tcp://a:1", "KOLLA_BUILD_BUILDKIT_ADDR=tcp://b:1"}, nil, "tcp://b:1"},
		{[]string{"BUILDKIT_HOST=tcp://a:1"}, []string{"--buildkit-addr", "unix:///x"}, "unix:///x"},
		{nil, []string{"--buildkit-builder", "mine"}, "docker-container://buildx_buildkit_mine0"},
	} {
		if c := mustLoad(t, "", tc.env, tc.args...); c.BuildkitAddr != tc.want {
			t.Errorf("%q %q: %q, want %q", tc.env, tc.args, c.BuildkitAddr, tc.want)
		}
	}
	c := mustLoad(t, "[DEFAULT]\nprofile = infra\n",
		[]string{"KOLLA_BUILD_PROFILE=main,default", "KOLLA_BUILD_REGEX=a,b"}, "-p", "infra")
	if !slices.Equal(c.Profile, []string{"main", "default", "infra"}) || !slices.Equal(c.Regex, []string{"a", "b"}) {
		t.Errorf("profiles %q, regular expressions %q", c.Profile, c.Regex)
	}
}

func TestDerived(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want []string // base-image, base-tag, tag, package type, package manager, debian-arch
	}{
		{[]string{"-b", "debian"}, []string{"debian", "trixie", "master-debian-trixie", "deb", "apt", "amd64"}},
		{[]string{"-b", "debian", "--base-tag", "latest"},
			[]string{"debian", "trixie", "master-debian-trixie", "deb", "apt", "amd64"}},
		{[]string{"-b", "debian", "--base-tag", "latest", "--base-image", "i"},
			[]string{"i", "latest", "master-debian-latest", "deb", "apt", "amd64"}},
		{[]string{"-b", "oraclelinux", "--base-arch", "aarch64"},
			[]string{"oraclelinux", "10", "master-oraclelinux-10", "rpm", "dnf", "arm64"}},
		{[]string{"-b", "ubuntu", "--openstack-release", "2026.1", "--base-tag", "22.04"},
			[]string{"ubuntu", "22.04", "2026.1-ubuntu-22.04", "deb", "apt", "amd64"}},
	} {
		c := mustLoad(t, "", nil, tc.args...)
		if got := []string{c.BaseImage, c.BaseTag, c.Tag, c.BasePackageType, c.DistroPackageManager,
			c.DebianArch}; !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, want %q", tc.args, got, tc.want)
		}
	}
}

func TestSampleConfigSaysTheDefaults(t *testing.T) {
	var uncommented []string
	for line := range strings.SplitSeq(config.SampleConfig(), "\n") {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line = line[1:]
		}
		// An empty item of a repeatable option is an item.
		if o := config.Lookup(strings.TrimSuffix(line, " =")); o == nil || o.Kind != config.Multi {
			uncommented = append(uncommented, line)
		}
	}
	plain := mustLoad(t, "", nil)
	for _, text := range []string{config.SampleConfig(), strings.Join(uncommented, "\n")} {
		c, err := load(t, text, nil, "--nostrict")
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range config.Options() {
			name := o.Field()
			if name == "" || name == "Strict" {
				continue
			}
			a, b := reflect.ValueOf(*c).FieldByName(name).Interface(), reflect.ValueOf(*plain).FieldByName(name).Interface()
			if config.Format(a) != config.Format(b) {
				t.Errorf("%s = %v, default %v", o.Name, a, b)
			}
		}
		for name, source := range plain.Sources {
			got := c.Sources[name]
			got.Origin = source.Origin
			if !reflect.DeepEqual(got, source) {
				t.Errorf("[%s] = %+v, default %+v", name, got, source)
			}
		}
		for _, w := range c.Warnings {
			if o := config.Lookup(w.Option); o == nil || o.Note == "" {
				t.Errorf("%v", w)
			}
		}
	}
}

func TestReleaseSources(t *testing.T) {
	location := func(section string, args ...string) string {
		c := mustLoad(t, "", nil, args...)
		s, err := c.ExpandSource(section, nil)
		if err != nil {
			t.Error(err)
		}
		return s.Location
	}
	for _, c := range []struct{ release, section, want string }{
		{"master", "nova-base", "/nova/nova-master.tar.gz"},
		{"2025.1", "nova-base", "/nova/nova-stable-2025.1.tar.gz"},
		{"2024.1", "nova-base", "/nova/nova-unmaintained-2024.1.tar.gz"}, // current name of its branch
		{"2024.1", "etcd", "/v3.4.27/etcd-v3.4.27-linux-amd64.tar.gz"},
		{"2026.1", "etcd", "/v3.6.5/etcd-v3.6.5-linux-amd64.tar.gz"},
		{"2023.1", "sahara-base", "/sahara/sahara-stable-2023.1.tar.gz"},
		{"2025.1", "sahara-base", "/sahara/sahara-19.0.0.tar.gz"}, // the last release, for the built-in templates
		{"2025.1", "horizon-plugin-sahara-dashboard", ""},         // removed in this release
		{"yoga", "neutron-base-plugin-tap-as-a-service", ""},
		{"2099.1", "nova-base", "/nova/nova-stable-2099.1.tar.gz"},
	} {
		if got := location(c.section, "--openstack-release", c.release); !strings.HasSuffix(got, c.want) ||
			c.want == "" && got != "" {
			t.Errorf("%s: [%s] is at %q, want %q", c.release, c.section, got, c.want)
		}
	}
	// The user's values take precedence over those of every release.
	c := mustLoad(t, "[DEFAULT]\nopenstack_release = 2024.1\n[etcd]\nversion = 9\n[horizon-plugin-blazar-dashboard]\nenabled = no\n", nil)
	if s, err := c.ExpandSource("etcd", nil); err != nil || !strings.Contains(s.Location, "etcd-v9-linux") {
		t.Errorf("%+v, %v", s, err)
	}
	if s := c.Sources["horizon-plugin-blazar-dashboard"]; s.Enabled || s.Type != "url" {
		t.Errorf("%+v", s)
	}
	c = mustLoad(t, "", nil, "--openstack-release", "2025.l")
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Hint, "2025.1") {
		t.Errorf("%v", c.Warnings)
	}
}

// The output about a file with thousands of mistakes stays readable.
func TestManyMistakesAreSummedUp(t *testing.T) {
	var users, unknown strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&users, "[u%d-user]\nuid = #\n", i)
		fmt.Fprintf(&unknown, "unknown%d = 1\n", i)
	}
	_, err := load(t, users.String(), nil)
	if err == nil || len(err.Error()) > 20_000 || !strings.Contains(err.Error(), "2950 more errors") {
		t.Errorf("3,000 errors: %.300v", err)
	}
	_, err = load(t, "[DEFAULT]\n"+unknown.String(), nil, "--strict")
	if err == nil || len(err.Error()) > 20_000 || !strings.Contains(err.Error(), "2950 more errors") {
		t.Errorf("3,000 unknown options with --strict: %.300v", err)
	}
	if w := mustLoad(t, "[DEFAULT]\n"+unknown.String(), nil).Warnings; len(w) != 51 ||
		!strings.Contains(w[50].Message, "2950 more") {
		t.Errorf("3,000 unknown options: %d warnings", len(w))
	}
}

func TestUsersAndSources(t *testing.T) {
	c := mustLoad(t, "[nova-user]\nuid = 1\n[mine-user]\nuid = 7\n[keystone-base]\ntype = git\nlocation = "+
		"https://x/${reference}-$debian_arch\nreference = $openstack_branch_slashed\n[mien]\ntype = "+
		"local\nlocation = /x\n", nil, "--openstack-release", "2026.1")
	for name, want := range map[string]config.User{"nova": {UID: 1, GID: 42436, Group: "nova"},
		"mine":      {UID: 7, GID: 7, Group: "mine"},
		"hacluster": {UID: 42486, GID: 42486, Group: "haclient"}, "zun": {UID: 42463, GID: 42463, Group: "zun"}} {
		got := c.Users[name]
		got.Origin = config.Origin{}
		if got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"keystone-base":         "https://x/stable/2026.1-amd64",
		"zun-base":              "https://tarballs.opendev.org/openstack/zun/zun-stable-2026.1.tar.gz",
		"prometheus-server":     "https://github.com/prometheus/prometheus/releases/download/v3.5.4/prometheus-3.5.4.linux-amd64.tar.gz",
		"horizon-plugin-zun-ui": "https://tarballs.opendev.org/openstack/zun-ui/zun-ui-stable-2026.1.tar.gz",
	} {
		if s, err := c.ExpandSource(name, nil); err != nil || s.Location != want {
			t.Errorf("%s: %q (%v), want %q", name, s.Location, err, want)
		}
	}
	if s, err := c.ExpandSource("prometheus-server", map[string]string{"debian_arch": "arm64"}); err != nil ||
		!strings.HasSuffix(s.Location, "linux-arm64.tar.gz") || len(s.SHA256["arm64"]) != 64 {
		t.Errorf("for arm64: %+v, %v", s, err)
	}
	if c.Sources["horizon-plugin-zun-ui"].Enabled || !c.Sources["zun-base"].Enabled {
		t.Error("zun-ui is to be off and zun on")
	}
	if s, err := c.ExpandSource("nosuch", nil); err != nil || s.Enabled || s.Location != "" {
		t.Errorf("a section that is not there: %+v, %v", s, err)
	}
	w := c.CheckSources([]string{"keystone-base", "mine", "zun-base"})
	if len(w) != 1 || w[0].Hint != `did you mean [mine]?` || w[0].Line != 9 {
		t.Errorf("%v", w)
	}
}

// A host of no_proxy with a port looks like an argument, and an argument with a number like such a host.
func TestPortsInNoProxy(t *testing.T) {
	for args, want := range map[string]int{
		"no_proxy:localhost,registry:5000": 1, "NO_PROXY:a.site,b.site:443,x:y": 1,
		"no_proxy:localhost,JOBS:16": 0, "no_proxy:localhost,make_jobs:16": 0, "registry:5000": 0,
		"no_proxy:registry:5000": 0,
	} {
		if w := mustLoad(t, "", nil, "--build-args", args).Warnings; len(w) != want {
			t.Errorf("%s: %v", args, w)
		}
	}
}

func TestSharedIDs(t *testing.T) {
	for text, want := range map[string]string{
		"uid = 42436\n":                                "uid of another user: nova and site have 42436",
		"uid = 7\ngid = 42436\n":                       "gid of another user: nova and site have 42436",
		"uid = 42436\ngid = 7\n":                       "uid of another user: nova and site have 42436",
		"uid = 7\ngroup = nova\n":                      "group of another user: nova and site have nova",
		"uid = 42486\n":                                "uid of another user: hacluster and site have 42486",
		"uid = 7\ngroup = haclient\n":                  "group of another user: hacluster and site have haclient",
		"uid = 42496\n":                                "uid of another user: consul and site have 42496",
		"uid = 7\n[other-user]\nuid = 8\ngid = 7\n":    "gid of another user: other and site have 7",
		"uid = 7\n[other-user]\nuid = 8\n":             "",
		"uid = 7\n[consul-user]\nuid = 42499\n":        "",
		"uid = 7\n[nova-user]\nuid = 42436\ngid = 9\n": "",
	} {
		var shared []string
		for _, w := range mustLoad(t, "[site-user]\n"+text, nil).Warnings {
			if _, problem, ok := strings.Cut(w.Message, "] has the "); ok && w.Line > 0 && w.Hint != "" {
				shared = append(shared, problem)
			}
		}
		if got := strings.Join(shared, "; "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	// Another tree creates only the users that its base has.
	if w := mustLoad(t, "[site-user]\nuid = 42496\n", nil, "--images-dir", t.TempDir()).Warnings; len(w) != 0 {
		t.Errorf("in another tree: %v", w)
	}
}

// A *Config is handed to many goroutines.
func TestExpandSourceConcurrently(t *testing.T) {
	c := mustLoad(t, "", nil)
	done := make(chan error)
	for i := range 8 {
		go func() {
			vars := map[string]string{"debian_arch": "arm64"}
			if i%2 == 0 {
				vars = nil
			}
			_, err := c.ExpandSource("etcd", vars)
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Values that refer to others cannot be of any size, or take any time: a kilobyte of them would do.
func TestValuesAreBounded(t *testing.T) {
	var doubled strings.Builder
	for i := range 40 {
		fmt.Fprintf(&doubled, "k%d = ${a.k%d}${a.k%d}\n", i, i+1, i+1)
	}
	long := strings.Repeat("x", 600_000)
	// Names that are unknown are not all compared with the known ones, which would take minutes.
	for what, c := range map[string]struct {
		near, far, hint string // an entry whose name is near a known one, %d is a number
		check           bool   // of sources
	}{
		"keys":     {"name_spac%d = x\n", "unknown_key_of_this_test_%d = x\n", "namespace", false},
		"sections": {"[profile%d]\nk = x\n", "[unknown section %d]\nk = x\n", "profiles", false},
		"sources":  {"[mine%d]\nlocation = x\ntype = url\n", "[unknown-image-%d]\nlocation = x\ntype = url\n", "mine", true},
	} {
		const others = 200
		text := "[DEFAULT]\n" + fmt.Sprintf(c.near, 1)
		for i := range others {
			text += fmt.Sprintf(c.far, i)
		}
		text += strings.ReplaceAll(fmt.Sprintf(c.near, 2), "[mine", "[zmine") // sources are sorted
		loaded := mustLoad(t, text, nil)
		warnings := loaded.Warnings
		if c.check {
			warnings = loaded.CheckSources([]string{"mine", "zmine"})
		}
		const reported = 50
		if n := len(warnings); n != reported+1 {
			t.Errorf("%s: %d warnings", what, n)
			continue
		}
		if hint, rest := warnings[0].Hint, warnings[reported].Message; !strings.Contains(hint, c.hint) ||
			!strings.Contains(rest, fmt.Sprintf("%d more", others+2-reported)) {
			t.Errorf("%s: the first hint is %q, the last warning %q", what, hint, rest)
		}
	}
	var unknown strings.Builder
	unknown.WriteString("[DEFAULT]\n")
	for i := range inifile.MaxLines / 2 {
		fmt.Fprintf(&unknown, "unknown_key_of_this_test_%d = x\n", i)
	}
	if w := mustLoad(t, unknown.String(), nil).Warnings; !strings.Contains(w[len(w)-1].Message,
		fmt.Sprintf("%d more", inifile.MaxLines/2-50)) {
		t.Errorf("%d warnings, the last is %v", len(w), w[len(w)-1])
	}
	for text, want := range map[string]string{
		"[DEFAULT]\nnamespace = ${a.k0}\n[a]\n" + doubled.String() + "k40 =\n":   "refer to others more than",
		"[DEFAULT]\ntag = " + long + "\nnamespace = $tag$tag\n":                  "larger than 1.0 MiB",
		"[DEFAULT]\ntag = " + long + "\n#" + long + "\n":                         "more than 1.0 MiB",
		"[DEFAULT]\n" + strings.Repeat("build_args = A:1\n", inifile.MaxLines+1): "20000 lines",
	} {
		if _, err := load(t, text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %.200v, want %q", text, err, want)
		}
	}
}

func TestProfilesFromProfiles(t *testing.T) {
	c := mustLoad(t, "[profiles]\nall = $infra,${main},zun\ninfra = x\n", nil)
	if got := c.Profiles["all"]; !slices.Equal(got, []string{"x", "keystone", "nova-", "zun"}) {
		t.Errorf("all = %q", got)
	}
	if !slices.Equal(c.ProfileNames(), []string{"all", "aux", "default", "infra", "main"}) {
		t.Errorf("%q", c.ProfileNames())
	}
}

func TestErrorsHaveTheirPlace(t *testing.T) {
	_, err := load(t, "[DEFAULT]\nbase =   ubunto\n", nil)
	var e *config.Error
	if !errors.As(err, &e) || e.File != "kolla-build.conf" || e.Line != 2 || e.Column != 10 ||
		e.SourceLine != "base =   ubunto" || e.Option != "base" || e.Hint != `did you mean "ubuntu"?` {
		t.Errorf("%#v", e)
	}
	// Several mistakes are reported together.
	_, err = load(t, "[DEFAULT]\nbase = x\nthreads = 0\n[nova-user]\nuid = y\n", nil, "--push-threads", "z")
	for _, part := range []string{":2:", ":3:", ":5:", "--push-threads z"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "512M": 512e6, "20G": 20e9, "20 GB": 20e9, "1.5GiB": 3 << 29,
		"7k": 7000, "1Ki": 1024, "12345": 12345, "2t": 2e12} {
		if got, err := config.ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "G", "-1G", "10%", "1e9", "5ib", "99999999999T", "1 G B"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}
