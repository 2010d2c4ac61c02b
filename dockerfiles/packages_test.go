package dockerfiles_test

import (
	"cmp"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// stage is a build stage: what it begins with, and the packages that it installs from
// the repositories that it and its ancestors enable.
type stage struct {
	from     string
	packages []string
	repos    []string
}

var (
	fromLine    = regexp.MustCompile(`^FROM (\S+)(?: AS (\S+))?`)
	installLine = regexp.MustCompile(`kolla_(?:apt|dnf)_install ([^&;|\\]*)`)
	// A repository of the distribution, a .repo file, an apt source.
	enableLine = regexp.MustCompile(`dnf config-manager --enable '?([^\s']+)'?|echo '\[([^]']+)\]' >/etc/yum|>/etc/apt/sources\.list\.d/(\S+)\.sources`)
)

// stagesOf returns the build stages of a Dockerfile by name. The image itself is "".
func stagesOf(f render.Dockerfile) map[string]*stage {
	out := map[string]*stage{}
	var current *stage
	last := ""
	for line := range strings.Lines(string(f.Content)) {
		if m := fromLine.FindStringSubmatch(line); m != nil {
			current, last = &stage{from: m[1]}, m[2]
			out[last] = current
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		for _, m := range installLine.FindAllStringSubmatch(line, -1) {
			for _, word := range strings.Fields(m[1]) {
				if !strings.HasPrefix(word, "-") {
					current.packages = append(current.packages, strings.Trim(word, `"'`))
				}
			}
		}
		for _, m := range enableLine.FindAllStringSubmatch(line, -1) {
			current.repos = append(current.repos, m[1]+m[2]+m[3])
		}
	}
	out[""] = out[last]
	return out
}

// packageTargets returns the distributions that do not use Debian's packages, for each
// release and type. The architectures alternate.
func packageTargets(t *testing.T) []target {
	releases := []string{"2024.1", "2024.2", "2025.1", "2025.2", "2026.1", facts.Master}
	if testing.Short() {
		releases = []string{"2025.1", facts.Master}
	}
	var out []target
	for i, name := range releases {
		release, ok := facts.LookupRelease(name)
		if !ok {
			t.Fatalf("no data of release %s", name)
		}
		for j, base := range []string{"centos", "oraclelinux", "rocky", "ubuntu"} {
			for k, installType := range []string{"binary", "source"} {
				arch := []string{"x86_64", "aarch64"}[(i+j+k)%2]
				out = append(out, target{base: base, tag: release.BaseTag(base), arch: arch,
					installType: installType, release: name})
			}
		}
	}
	return out
}

// repositoryOf has the repositories of packages that the distribution does not have, by the
// beginning of their names. repositoryName has the names in other releases and distributions.
var repositoryOf = map[string]map[*regexp.Regexp]string{
	"rpm": {
		regexp.MustCompile(`^MariaDB-`):                                          "mariadb",
		regexp.MustCompile(`^ceph|^python3-(cephfs|rados|rbd)$|^nfs-ganesha`):    "centos-ceph-squid",
		regexp.MustCompile(`^collectd`):                                          "centos-opstools",
		regexp.MustCompile(`^consul$`):                                           "hashicorp",
		regexp.MustCompile(`^corosync|^pacemaker|^pcs$`):                         "highavailability",
		regexp.MustCompile(`^docker-ce`):                                         "docker-ce",
		regexp.MustCompile(`^dumb-init$`):                                        "epel",
		regexp.MustCompile(`^erlang`):                                            "rabbitmq_rabbitmq-erlang",
		regexp.MustCompile(`^fluent-package$`):                                   "fluent-package-lts",
		regexp.MustCompile(`^grafana$`):                                          "grafana",
		regexp.MustCompile(`^influxdb$|^telegraf$`):                              "InfluxData",
		regexp.MustCompile(`^opensearch$`):                                       "opensearch-3.x",
		regexp.MustCompile(`^opensearch-dashboards$`):                            "opensearch-dashboards-3.x",
		regexp.MustCompile(`^openvswitch|^ovn[0-9$]|^python3-openvswitch`):       "centos-nfv-openvswitch",
		regexp.MustCompile(`^proxysql`):                                          "proxysql",
		regexp.MustCompile(`^qemu-kvm-ui-spice$|^spice-server$`):                 "ligenix-qemu-spice",
		regexp.MustCompile(`^rabbitmq-server`):                                   "rabbitmq_rabbitmq-server",
		regexp.MustCompile(`^libyaml-devel$|^uwsgi|^python3-ethtool$`):           "crb",
		regexp.MustCompile(`^uwsgi|^mod_auth_mellon$|^iptables-legacy$|^valkey`): "epel",
	},
	"deb": {
		regexp.MustCompile(`^consul$`):                         "hashicorp",
		regexp.MustCompile(`^docker-ce`):                       "docker-ce",
		regexp.MustCompile(`^elasticsearch-oss$|^kibana-oss$`): "elasticsearch",
		regexp.MustCompile(`^fluent-package$`):                 "fluentd",
		regexp.MustCompile(`^grafana$`):                        "grafana",
		regexp.MustCompile(`^influxdb$|^telegraf$`):            "influxdb",
		regexp.MustCompile(`^mariadb-(backup|server)`):         "mariadb",
		regexp.MustCompile(`^opensearch$`):                     "opensearch",
		regexp.MustCompile(`^opensearch-dashboards$`):          "opensearch-dashboards",
		regexp.MustCompile(`^proxysql`):                        "proxysql",
		regexp.MustCompile(`^rabbitmq-server`):                 "rabbitmq",
		regexp.MustCompile(`^sensu$|^uchiwa$`):                 "sensu",
	},
}

// repositoryName returns the name of a repository for a target and an image.
func repositoryName(repo string, to target, image string) string {
	// These two images are steps of an upgrade, and have the next version.
	upTo2025 := to.release <= "2025.1" && image != "proxysql-3" && image != "rabbitmq-4-1"
	var names map[string]string
	switch {
	case upTo2025 && to.base == "ubuntu":
		names = map[string]string{"mariadb": "mariadb-10.11", "opensearch": "opensearch-2.x",
			"opensearch-dashboards": "opensearch-dashboards-2.x", "proxysql": "proxysql-2.7"}
	case upTo2025:
		names = map[string]string{"opensearch-3.x": "opensearch-2.x",
			"opensearch-dashboards-3.x": "opensearch-dashboards-2.x", "proxysql": "proxysql-2.7"}
	}
	name := cmp.Or(names[repo], repo)
	switch {
	case name == "proxysql-2.7" && to.release == "2024.1":
		return "proxysql-2.6"
	case repo == "centos-ceph-squid" && strings.HasSuffix(to.tag, "9"):
		return "centos-ceph-reef"
	case repo == "rabbitmq_rabbitmq-erlang" && to.arch == "aarch64" && upTo2025:
		return "copr-rabbitmq-erlang-26"
	case repo == "rabbitmq_rabbitmq-erlang" && to.arch == "aarch64":
		return "copr-rabbitmq-erlang"
	case repo == "crb" && to.base == "oraclelinux":
		return "ol*_codeready_builder"
	case repo == "highavailability" && to.base == "oraclelinux":
		return "ol*_addons"
	}
	return name
}

// otherName has names that only the other package type has: those of Debian for RPM, those
// of the RHEL family for Debian's.
var otherName = map[string]*regexp.Regexp{
	"rpm": regexp.MustCompile(`-dev$|^libapache2-|^python3-.*\.|^lib[a-z-]*[a-z][0-9]$|^python3-venv$|^(apache2|bind9|bind9-utils|cron|` +
		`default-jre-headless|dnsutils|iproute2|iputils-arping|iputils-ping|locales|multipath-tools|netbase|netcat-openbsd|nfs-common|` +
		`open-iscsi|openssh-client|ovmf|procps|qemu-utils|tgt|udev|uuid-runtime)$`),
	"deb": regexp.MustCompile(`-devel$|^openstack-[^d]|^mod_|^MariaDB-|^(bind|bind-utils|conntrack-tools|cronie|device-mapper-multipath|edk2-ovmf|` +
		`glibc-.*|httpd|iproute|iproute-tc|iputils|iscsi-initiator-utils|mailcap|nfs-utils|nmap-ncat|openssh-clients|procps-ng|qemu-img|` +
		`qemu-kvm-core|sqlite|systemd-udev|util-linux-user|uuid|which)$`),
}

// No image can be built for these distributions where this test runs. So it checks on the
// Dockerfiles what makes a build fail: packages whose repository is not enabled, and names
// that the distribution does not have.
func TestPackagesHaveRepositories(t *testing.T) {
	for _, to := range packageTargets(t) {
		t.Run(to.String(), func(t *testing.T) {
			t.Parallel()
			kind := "rpm"
			if to.base == "ubuntu" {
				kind = "deb"
			}
			_, files := renderTree(t, to)
			enabled := map[string][]string{} // by reference
			for _, f := range files {
				stages := stagesOf(f)
				reposOf := func(s *stage) []string {
					repos := slices.Clone(s.repos)
					for from := s.from; ; {
						parent, ok := stages[from]
						if !ok || from == "" {
							return append(repos, enabled[from]...)
						}
						repos, from = append(repos, parent.repos...), parent.from
					}
				}
				for name, s := range stages {
					repos := reposOf(s)
					for _, p := range s.packages {
						if otherName[kind].MatchString(p) {
							t.Errorf("%s: no package of the distribution has the name %s", f.Name, p)
						}
						for pattern, repo := range repositoryOf[kind] {
							want := repositoryName(repo, to, f.Name)
							if pattern.MatchString(p) && !slices.Contains(repos, want) {
								t.Errorf("%s: stage %q installs %s, but does not enable %s; it has %v", f.Name, name, p, want, repos)
							}
						}
					}
				}
				enabled[f.Reference] = reposOf(stages[""])
			}
		})
	}
}

// Packages that have the same name in both families of distributions are listed in
// testdata/common-packages.txt: a list for "any" distribution must not have others.
func TestPackagesOfAnyDistribution(t *testing.T) {
	testenv.Slow(t)
	names := map[string]map[string]string{"deb": {}, "rpm": {}}
	for _, to := range []target{
		{base: "debian", tag: "trixie"}, {base: "ubuntu", tag: "22.04", release: "2024.1"}, {base: "ubuntu", tag: "24.04"},
		{base: "rocky", tag: "9", release: "2025.1"}, {base: "rocky", tag: "10"},
	} {
		kind := "deb"
		if to.base == "rocky" {
			kind = "rpm"
		}
		for _, to.installType = range []string{"binary", "source"} {
			to.arch = "x86_64"
			_, files := renderTree(t, to)
			for _, f := range files {
				for _, s := range stagesOf(f) {
					for _, p := range s.packages {
						names[kind][p] = f.Name
					}
				}
			}
		}
	}
	text, err := os.ReadFile("testdata/common-packages.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields(string(text))
	for name, image := range names["deb"] {
		if other, ok := names["rpm"][name]; ok && !slices.Contains(known, name) {
			t.Errorf("%s of %s and %s: does the package have this name on all distributions? If so, add it to testdata/common-packages.txt",
				name, image, other)
		}
	}
	for _, name := range known {
		if names["deb"][name] == "" || names["rpm"][name] == "" {
			t.Errorf("testdata/common-packages.txt has %s, which is not installed on both families", name)
		}
	}
}
