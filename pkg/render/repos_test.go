package render

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

const someRepos = `---
deb:
  grafana: {url: "https://g", suite: stable, component: main, gpg_key: g.asc}
debian:
  debian:
    distro: True
  own: {url: "https://o/{base_release}", suite: "{base_release}-{openstack_release_codename}", component: "", gpg_key: /k.gpg, trusted: yes, arch: amd64}
debian-aarch64:
  grafana: {suite: arm}
rpm:
  grafana:
    name: grafana
    baseurl: |
      https://a
      https://b
    gpgkey: |
      https://k1
      https://k2
    gpgcheck: 1
    repo_gpgcheck: true
rocky:
  crb: {distro: true, name: crb, file_group: rocky}
  extras: {distro: true, name: extras, file_group: rocky}
  epel: {name: epel, metalink: "https://m", gpgkey: "https://k"}
  list: {name: list, mirrorlist: "https://l", gpgkey: "", gpgcheck: 0}
  any: {distro: true, name: "ol*_addons"}
  nowhere: {name: nowhere, gpgkey: "https://k"}
  nokey: {name: nokey, baseurl: "https://k"}
rocky-aarch64:
  crb: {baseurl: "https://arm", gpgkey: "https://k"}
rocky-x86_64:
  rdo: {name: rdo, metalink: "https://m/{openstack_release_codename}/{base_release}", gpgkey: "https://k"}
`

const (
	debSources = "/etc/apt/sources.list.d/"
	yumRepos   = "/etc/yum.repos.d/"
)

func TestRepoCommand(t *testing.T) {
	def, err := parseRepos("default.yaml", []byte(someRepos))
	if err != nil {
		t.Fatal(err)
	}
	deb := platform{packageType: "deb", distro: "debian", arch: "x86_64", codename: "Gazpacho", release: "trixie"}
	rpm := platform{packageType: "rpm", distro: "rocky", arch: "x86_64", codename: "Gazpacho", release: "el10"}
	arm := func(p platform) platform { p.arch = "aarch64"; return p }
	whole := func(p platform) platform { p.replacesWhole = true; return p }
	for _, c := range []struct {
		name  string
		p     platform
		repos string
		off   bool
		user  string
		want  string
	}{
		{"none", deb, "", false, "", ""},
		{"deb of the package type", deb, "grafana", false, "",
			"RUN echo 'Uris: https://g' >D/grafana.sources && echo 'Components: main' >>D/grafana.sources && echo 'Types: deb' >>D/grafana.sources && echo 'Suites: stable' >>D/grafana.sources && echo 'Signed-By: /etc/kolla/apt-keys/g.asc' >>D/grafana.sources"},
		{"deb merged with the architecture's", arm(deb), "grafana", false, "",
			"RUN echo 'Uris: https://g' >D/grafana.sources && echo 'Components: main' >>D/grafana.sources && echo 'Types: deb' >>D/grafana.sources && echo 'Suites: arm' >>D/grafana.sources && echo 'Signed-By: /etc/kolla/apt-keys/g.asc' >>D/grafana.sources"},
		{"all fields, one of the distribution's at the end", deb, "own debian", false, "",
			"RUN echo 'Uris: https://o/trixie' >D/own.sources && echo 'Components: ' >>D/own.sources && echo 'Types: deb' >>D/own.sources && echo 'Suites: trixie-gazpacho' >>D/own.sources && echo 'Signed-By: /k.gpg' >>D/own.sources && echo 'Trusted: yes' >>D/own.sources && echo 'Architectures: amd64' >>D/own.sources"},
		{"deb is not disabled", deb, "grafana", true, "", ""},
		{"unknown", deb, "grafanna", false, "", `error: there is no repository "grafanna" for debian on x86_64 (did you mean "grafana"?)`},
		{"unknown when disabling", deb, "zzz", true, "",
			`error: there is no repository "zzz" for debian on x86_64: it is in none of the sections deb, debian, debian-x86_64 of repos.yaml`},
		{"rpm", rpm, "grafana", false, "",
			"RUN grep -rlF '[grafana]' /etc/yum.repos.d/ 2>/dev/null | xargs -r rm -f && echo '[grafana]' >Y/grafana.repo && echo 'name=grafana' >>Y/grafana.repo && echo 'enabled=1' >>Y/grafana.repo && echo 'gpgcheck=1' >>Y/grafana.repo && echo 'repo_gpgcheck=True' >>Y/grafana.repo && echo 'gpgkey=https://k1' >>Y/grafana.repo && echo '       https://k2' >>Y/grafana.repo && echo 'baseurl=https://a' >>Y/grafana.repo && echo 'baseurl=https://b' >>Y/grafana.repo"},
		{"rpm of the distribution's", rpm, "crb epel", false, "",
			"RUN dnf config-manager --enable crb || true && grep -rlF '[epel]' /etc/yum.repos.d/ 2>/dev/null | xargs -r rm -f && echo '[epel]' >Y/epel.repo && echo 'name=epel' >>Y/epel.repo && echo 'enabled=1' >>Y/epel.repo && echo 'gpgkey=https://k' >>Y/epel.repo && echo 'metalink=https://m' >>Y/epel.repo"},
		{"rpm mirrorlist and empty key", rpm, "list", false, "",
			"RUN grep -rlF '[list]' /etc/yum.repos.d/ 2>/dev/null | xargs -r rm -f && echo '[list]' >Y/list.repo && echo 'name=list' >>Y/list.repo && echo 'enabled=1' >>Y/list.repo && echo 'mirrorlist=https://l' >>Y/list.repo"},
		{"rpm with names in the address", rpm, "rdo", false, "",
			"RUN grep -rlF '[rdo]' /etc/yum.repos.d/ 2>/dev/null | xargs -r rm -f && echo '[rdo]' >Y/rdo.repo && echo 'name=rdo' >>Y/rdo.repo && echo 'enabled=1' >>Y/rdo.repo && echo 'gpgkey=https://k' >>Y/rdo.repo && echo 'metalink=https://m/gazpacho/el10' >>Y/rdo.repo"},
		{"rpm disabled", rpm, "crb grafana", true, "", "RUN dnf config-manager --disable crb || true"},
		{"rpm, a pattern for dnf", rpm, "any", false, "", "RUN dnf config-manager --enable 'ol*_addons' || true"},
		{"rpm, a pattern disabled", rpm, "any", true, "", "RUN dnf config-manager --disable 'ol*_addons' || true"},
		{"the architecture gives a place for the distribution's", arm(rpm), "crb", false, "",
			"RUN grep -rlF '[crb]' /etc/yum.repos.d/ 2>/dev/null | xargs -r rm -f && echo '[crb]' >Y/crb.repo && echo 'name=crb' >>Y/crb.repo && echo 'enabled=1' >>Y/crb.repo && echo 'gpgkey=https://k' >>Y/crb.repo && echo 'baseurl=https://arm' >>Y/crb.repo"},
		{"no place", rpm, "nowhere", false, "", `error: default.yaml:27: repository "nowhere" has no baseurl, metalink or mirrorlist`},
		{"no key", rpm, "nokey", false, "", `error: default.yaml:28: repository "nokey" has no gpgkey`},
		{"user's replaces as a whole", deb, "grafana", false, "deb:\n  grafana: {url: u}\n",
			`error: user.yaml:2: repository "grafana" has no gpg_key`},
		{"user's new section", deb, "mine", false, "debian-x86_64:\n  mine: {url: u, suite: s, component: c, gpg_key: k}\n",
			"RUN echo 'Uris: u' >D/mine.sources && echo 'Components: c' >>D/mine.sources && echo 'Types: deb' >>D/mine.sources && echo 'Suites: s' >>D/mine.sources && echo 'Signed-By: /etc/kolla/apt-keys/k' >>D/mine.sources"},
		{"user's number where a text must be", deb, "mine", false,
			"debian:\n  mine: {url: u, suite: 24.04, component: c, gpg_key: k}\n",
			`error: user.yaml:2: suite of repository "mine" is 24.04, not a string (put it in quotes)`},
		{"half of a group", rpm, "epel", false, "rocky:\n  crb: {name: crb, baseurl: u, gpgkey: k}\n",
			"error: user.yaml:2: the location of crb is set, and that of extras is not: they are in one .repo file of the " +
				"distribution, which is removed when the former is enabled (add a location for extras as well)"},
		{"a whole group", rpm, "crb", true, "rocky:\n  crb: {name: crb, baseurl: u, gpgkey: k}\n  extras: {name: e, baseurl: u, gpgkey: k}\n", ""},
		{"2026.1: an architecture's repository replaces as a whole", whole(arm(deb)), "grafana", false, "",
			`error: default.yaml:9: repository "grafana" has no gpg_key`},
		{"2026.1: no file is removed", whole(rpm), "epel", false, "",
			"RUN echo '[epel]' >Y/epel.repo && echo 'name=epel' >>Y/epel.repo && echo 'enabled=1' >>Y/epel.repo && echo 'gpgkey=https://k' >>Y/epel.repo && echo 'metalink=https://m' >>Y/epel.repo"},
		{"2026.1: the user's file replaces the default one", whole(deb), "grafana", false,
			"debian:\n  mine: {url: u, suite: s, component: c, gpg_key: k}\n",
			`error: there is no repository "grafana" for debian on x86_64: it is in none of the sections deb, debian, debian-x86_64 of repos.yaml`},
		{"an empty section changes nothing", rpm, "crb", true, "rocky:\n", "RUN dnf config-manager --disable crb || true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var user *repoFile
			if c.user != "" {
				if user, err = parseRepos("user.yaml", []byte(c.user)); err != nil {
					t.Fatal(err)
				}
			}
			set, err := repositories(def, user, c.p)
			got := ""
			if err == nil {
				got, err = repoCommand(set, strings.Fields(c.repos), !c.off, c.p)
			}
			if err != nil {
				got = "error: " + err.Error()
			}
			want := strings.NewReplacer(">D/", ">"+debSources, ">Y/", ">"+yumRepos).Replace(c.want)
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestLegacyRepoCommand(t *testing.T) {
	f, err := parseRepos("repos.yaml", []byte(`
centos: {ceph: centos-ceph, crb: crb}
centos-aarch64: {ceph: arm-ceph}
debian:
  grafana: {url: u, suite: s, component: c, gpg_key: k, arch: amd64}
ubuntu: {old: "deb http://x y"}
`))
	if err != nil || !f.legacy() {
		t.Fatal(err, f)
	}
	for _, c := range []struct {
		p    platform
		on   bool
		want string
	}{
		{platform{packageType: "rpm", distro: "centos", arch: "x86_64"}, true,
			"RUN dnf config-manager  --enable centos-ceph --enable crb || true"},
		{platform{packageType: "rpm", distro: "centos", arch: "aarch64"}, false,
			"RUN dnf config-manager  --disable arm-ceph || true"},
		{platform{packageType: "deb", distro: "ubuntu", arch: "x86_64"}, true,
			`RUN echo "deb http://x y" >/etc/apt/sources.list.d/old.list`},
		{platform{packageType: "deb", distro: "debian", arch: "x86_64"}, true,
			strings.ReplaceAll("RUN echo 'Uris: u' >G && echo 'Components: c' >>G && echo 'Types: deb' >>G && echo 'Suites: s' >>G && echo 'Signed-By: /etc/kolla/apt-keys/k' >>G && echo 'Architectures: amd64' >>G", "G", debSources+"grafana.sources")},
		{platform{packageType: "deb", distro: "debian", arch: "x86_64"}, false, ""},
		{platform{packageType: "rpm", distro: "rocky", arch: "x86_64"}, true,
			"error: repos.yaml: there is no section for rocky"},
	} {
		got, err := legacyRepoCommand(f, []string{"ceph", "crb", "nope", "grafana", "old"}, c.on, c.p)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("%v:\ngot  %s\nwant %s", c.p, got, c.want)
		}
	}
}

func TestParseReposErrors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"debian:\n  - x\n", `r.yaml:2: section "debian" must be a mapping of repositories`},
		{"- x\n", `r.yaml:1: the file must be a mapping of sections, such as "debian:"`},
		{"a: [\n", "r.yaml:1: not valid YAML: "},
		{"debian:\n  x:\n    - y\n", `r.yaml:3: repository "x" must be a mapping of fields such as url and suite`},
		{"debian:\n  x:\n    url: [a, b]\n", `r.yaml:3: field "url" of repository "x" must be a single value (several keys or URLs go into one text, each on its own line: use "url: |")`},
		{"debian:\n  x:\n    siute: a\n", `r.yaml:3: repository "x" has an unknown field "siute" (did you mean "suite"?)`},
		{"debian:\n  x:\n", `r.yaml:2: repository "x" must be a mapping`},
		{"", ""}, {"---\n", ""}, {"# nothing\n", ""}, {"debian:\n", ""},
		{"a: &a\n  x: {url: u}\nb:\n  <<: *a\n  y: {suite: s}\n", ""},
	} {
		_, err := parseRepos("r.yaml", []byte(c.in))
		switch {
		case err == nil && c.want != "":
			t.Errorf("%q: no error, want %s", c.in, c.want)
		case err != nil && (c.want == "" || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%q:\ngot  %v\nwant %s", c.in, err, c.want)
		}
	}
}

// Values of repos.yaml are read like with Python's YAML library.
func TestScalarsAsPyYAML(t *testing.T) {
	scalars := []string{
		"yes", "Yes", "y", "on", "OFF", "true", "TRUE", "tRue", "null", "~", "", "Null", "1", "01",
		"08", "0x1F", "0b11", "0o7",
		"1_000", "-3", "+4", "1.", "1.0", ".5", "-.5", "1e3", "1.0e3", "1.0e+3", "1.5E-7", ".inf",
		"-.INF", ".nan", "24.04", "3.x",
		"stable", "./", "'1'", `"yes"`, "100000000000000000.0", "0.00001", "1.2.3",
		"noble-updates/{openstack_release_codename}", "10_0.5", "0", "-0", "0.0",
		"!!str 12", "190", "__", "1__0", "+", ".", "0x", "e1.0",
	}
	const script = `import sys, json, yaml
print(json.dumps([str(v) + "|" + str(bool(v)) for v in (yaml.safe_load(s) for s in json.load(sys.stdin))]))`
	in, err := json.Marshal(scalars)
	if err != nil {
		t.Fatal(err)
	}
	const python = "/usr/bin/python3" // the one that Debian's modules are for
	if out, err := exec.Command(python, "-c", "import yaml").CombinedOutput(); err != nil {
		testenv.Missing(t, fmt.Sprintf("Debian's python3-yaml is not installed: %v: %s", err, out))
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Stdin = strings.NewReader(string(in))
	outJSON, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	if err := json.Unmarshal(outJSON, &want); err != nil {
		t.Fatal(err)
	}
	for i, s := range scalars {
		var n yaml.Node
		if err := yaml.Unmarshal([]byte("v: "+s), &n); err != nil {
			t.Fatal(s, err)
		}
		v := pyScalar(n.Content[0].Content[1])
		if got := pyStr(v) + "|" + map[bool]string{true: "True", false: "False"}[pyTrue(v)]; got != want[i] {
			t.Errorf("%q: got %s, want %s", s, got, want[i])
		}
	}
}

// FuzzParseRepos checks that any file is read and can be used, or is rejected with a
// location.
func FuzzParseRepos(f *testing.F) {
	f.Add(someRepos)
	f.Add("a: &a {b: *a}")
	f.Add("<<: {a: b}")
	f.Add("a:\n  <<: [1, {x: y}]\n")
	f.Add("rocky: {crb: text}")
	f.Fuzz(func(t *testing.T, s string) {
		file, err := parseRepos("f", []byte(s))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f") {
				t.Errorf("no place: %v", err)
			}
			return
		}
		for _, p := range []platform{{packageType: "rpm", distro: "rocky", arch: "x86_64"},
			{packageType: "deb", distro: "debian", arch: "aarch64", codename: "G", release: "r"}} {
			set, err := repositories(file, file, p)
			if err != nil {
				continue
			}
			for name := range set {
				cmd, err := repoCommand(set, []string{name}, true, p)
				if err == nil && cmd != "" && !strings.HasPrefix(cmd, "RUN ") {
					t.Errorf("%s: %s", name, cmd)
				}
			}
			_, _ = legacyRepoCommand(file, []string{"crb"}, true, p)
			_ = fmt.Sprint(err)
		}
	})
}
