package dockerfiles_test

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/dockerfiles"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// Images of an OpenStack release have the versions of other software that it is tested with,
// and images that only older releases have are not built for newer ones.
func TestVersionsFollowTheRelease(t *testing.T) {
	type want struct{ image, contains, lacks string }
	for _, c := range []struct {
		target target
		want   []want
	}{
		{target{base: "ubuntu", tag: "24.04", arch: "x86_64", installType: "source", release: "2025.1"}, []want{
			{"base", "noble-updates/epoxy", "flamingo"},
			{"rabbitmq", "Pin: version 4.0.*", "4.3."},
			{"rabbitmq", "rabbitmq-erlang-26/ubuntu", "rabbitmq-erlang/ubuntu"},
			{"rabbitmq-4-1", "Pin: version 1:27.*", "26.2"},
			{"rabbitmq-4-1", "COPY --from=kolla/rabbitmq:", ""},
			{"kolla-toolbox", "Pin: version 1:26.2.*", ""},
			{"kolla-toolbox", "influxdb", ""},
			{"proxysql", "proxysql-2.7.x/noble/", "3.0.x"},
			{"proxysql-3", "proxysql-3.0.x/noble/", "2.7.x"},
			{"venus-api", "FROM kolla/venus-base:", ""},
			{"keystone-base", "libapache2-mod-auth-openidc", ""},
			{"keystone", "libapache2-mod-auth-gssapi", ""},
			{"neutron-base", "tap-as-a-service", ""},
			{"letsencrypt-webserver", "apache2", ""},
			{"prometheus-v2-server", "", ""},
			{"prometheus-msteams", "", ""},
		}},
		{target{base: "rocky", tag: "10", arch: "x86_64", installType: "binary", release: "2025.2"}, []want{
			{"base", "centos-release-openstack-flamingo", "epoxy"},
			{"base", "KOLLA_RPM_OVN_VERSION=25.03", ""},
			{"rabbitmq", "rabbitmq-server-4.1.*", ""},
			{"proxysql", "almalinux/$releasever", ""},
			{"keystone-base", "mod_auth_mellon mod_auth_openidc", ""},
			{"rabbitmq-4-1", "", ""},
			{"neutron-infoblox-ipam-agent", "", ""},
		}},
		{target{base: "rocky", tag: "10", arch: "x86_64", installType: "binary", release: "master"}, []want{
			// The plugin http is in uwsgi-plugin-common.
			{"openstack-base", "uwsgi-plugin-common uwsgi-plugin-python3", ""},
			{"openstack-base", "UWSGI_PLUGIN=http", ""},
			{"base", "centos-release-ceph-squid", "config-manager --disable"},
		}},
		{target{base: "rocky", tag: "10", arch: "x86_64", installType: "source", release: "2025.1"}, []want{
			{"neutron-base", "iptables", "iptables-legacy"},
			{"base", "KOLLA_RPM_OVS_VERSION=3.5", "centos-release-openstack"},
			{"base", "KOLLA_RPM_OVN_VERSION=25.03", ""},
			{"ovn-controller", "ovn${KOLLA_RPM_OVN_VERSION}-host", "openvswitch-ovn"},
			{"kolla-toolbox", " python3 -m venv", "python3.12"},
			{"base", "dnf config-manager --disable centos-ceph-squid", "centos-opstools"},
			{"opensearch", "policy=$(update-crypto-policies --show)", "--set DEFAULT"},
			{"opensearch", "update-crypto-policies --set \"$policy\"", ""},
			{"opensearch-dashboards", "update-crypto-policies --set \"$policy\"", "--set DEFAULT"},
			{"telegraf", "", ""},
		}},
		{target{base: "rocky", tag: "9", arch: "x86_64", installType: "source", release: "2024.1"}, []want{
			{"neutron-base", "iptables", "iptables-legacy"},
		}},
		// Kolla's branch has RDO's packages on Enterprise Linux 9, whose Python Ansible does not support.
		{target{base: "rocky", tag: "9", arch: "aarch64", installType: "source", release: "2025.1"}, []want{
			{"base", "centos-release-openstack-epoxy", "ceph-squid"},
			{"base", "--disable centos-ceph-reef && dnf config-manager --disable centos-nfv-openvswitch && " +
				"dnf config-manager --disable centos-opstools", ""},
			{"base", "KOLLA_RPM_OVS_VERSION= ", "3.5"},
			{"ovn-controller", "openvswitch-ovn-host", "25.03"},
			{"neutron-base", "iptables-legacy iptables-nft", ""},
			{"neutron-base", "update-alternatives --install /usr/sbin/iptables iptables /usr/sbin/iptables-nft 200", ""},
			{"cinder-base", "centos-ceph-reef", "centos-ceph-squid"},
			{"kolla-toolbox", " python3.12 -m venv", ""},
			{"kolla-toolbox", "requirements-2025.2.yml", ""},
			{"bifrost-base", "", ""},
			{"ironic-conductor", "genisoimage", "xorriso"},
			{"opensearch", "opensearch-2.x", "update-crypto-policies"},
			{"telegraf", "centos-opstools", ""},
		}},
		{target{base: "oraclelinux", tag: "9", arch: "x86_64", installType: "source", release: "2025.1"}, []want{
			{"base", "openstack-epoxy-$releasever-stream", "centos-release"},
			{"base", "--enable 'ol*_appstream'", "epel-release"},
			{"base", "kolla_dnf_install", "config-manager --disable"},
			{"bifrost-base", "ansible>=8,<9", ""},
			{"openvswitch-base", "openvswitch-2-$releasever-stream", "$stream"},
			{"cinder-base", "ceph-reef-$releasever-stream", ""},
			{"telegraf", "", ""},
		}},
		{target{base: "oraclelinux", tag: "10", arch: "aarch64", installType: "binary", release: "2026.1"}, []want{
			{"base", "openstack-gazpacho-$releasever-stream", "centos-release"},
			{"cinder-base", "ceph-squid-$releasever-stream", ""},
			{"rabbitmq", "rabbitmq-erlang-27/rhel-$releasever-aarch64", "yum1.rabbitmq.com/erlang"},
		}},
		{target{base: "ubuntu", tag: "22.04", arch: "x86_64", installType: "source", release: "2024.1"}, []want{
			{"neutron-l3-agent", "dibbler-client", ""},
			{"valkey-server", "", ""},
			{"ironic-base", "kolla_wheels build pypi /ironic\n", ""},
		}},
		{target{base: "ubuntu", tag: "24.04", arch: "x86_64", installType: "source", release: "2026.1"}, []want{
			{"base", "noble-updates/gazpacho", ""},
			{"rabbitmq", "Pin: version 4.2.*", ""},
			{"keystone-base", "FROM", "mod-auth"},
			{"keystone", "FROM", "mod-auth"},
			{"kolla-toolbox", "FROM", "influxdb"},
			{"neutron-base", "tap-as-a-service", ""},
			{"neutron-infoblox-ipam-agent", "FROM kolla/neutron-server:", ""},
			{"letsencrypt-webserver", "", ""},
			{"venus-api", "", ""},
		}},
	} {
		t.Run(c.target.String(), func(t *testing.T) {
			t.Parallel()
			_, files := renderTree(t, c.target)
			content := map[string]string{}
			for _, f := range files {
				content[f.Name] = string(f.Content)
			}
			for _, w := range c.want {
				text, ok := content[w.image]
				if ok != (w.contains != "") {
					t.Errorf("%s is built: %v", w.image, ok)
				}
				if !strings.Contains(text, w.contains) {
					t.Errorf("%s lacks %q:\n%s", w.image, w.contains, text)
				}
				if w.lacks != "" && strings.Contains(text, w.lacks) {
					t.Errorf("%s contains %q:\n%s", w.image, w.lacks, text)
				}
			}
		})
	}
}

// Releases before 2023.1 have the oldest versions, unknown ones those of master.
func TestVersionsOfNamedAndUnknownReleases(t *testing.T) {
	oldest := []string{"MARIADB_VERSION=10.11", "ansible-core==2.16.*", "version 3.13.*", "version 1:26.2.*"}
	newest := []string{"MARIADB_VERSION=11.4", "ansible-core==2.21.*", "version 4.3.*", "version 1:27.*"}
	for release, want := range map[string][]string{
		"ussuri": oldest, "zed": oldest, "2023.1": oldest, "2024.1": oldest,
		"2025.1": {"MARIADB_VERSION=10.11", "ansible-core==2.18.*", "version 4.0.*", "version 1:26.2.*"},
		"master": newest, "gazpacho": newest, "stable-2026.1": newest, "Master": newest, "zzz": newest,
		"Zed": newest, "2027.1": newest,
	} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			to := target{base: "ubuntu", tag: "24.04", arch: "x86_64", installType: "source", release: release}
			_, files := renderLayer(t, to, render.Layer{Name: "the built-in templates", FS: dockerfiles.Tree()})
			content := map[string]string{}
			for _, f := range files {
				content[f.Name] = string(f.Content)
			}
			for i, image := range []string{"mariadb-server", "kolla-toolbox", "rabbitmq", "rabbitmq"} {
				if !strings.Contains(content[image], want[i]) {
					t.Errorf("%s lacks %q", image, want[i])
				}
			}
			if label := `LABEL fluentd_binary="fluentd" fluentd_user="fluentd"`; !strings.Contains(content["fluentd"], label) {
				t.Errorf("fluentd lacks %q", label)
			}
		})
	}
}

// up_to has a list of the releases that have a name, which no comparison orders.
func TestNamedReleasesAreAllOfTheFacts(t *testing.T) {
	macros, err := fs.ReadFile(dockerfiles.Tree(), "macros.j2")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`set named_releases = \[(.*)\]`).FindSubmatch(macros)
	if list == nil {
		t.Fatal("macros.j2 has no list")
	}
	listed := strings.Split(strings.ReplaceAll(string(list[1]), "'", ""), ", ")
	known := slices.DeleteFunc(slices.Clone(facts.Releases()), func(r string) bool { return r == facts.Master || r < "9" })
	if slices.Sort(known); !slices.Equal(listed, known) {
		t.Errorf("macros.j2 names %q, the known releases are %q", listed, known)
	}
}
