package dockerfiles_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/dockerfiles"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// startVariables select what a start does. An image is started with each one that its
// scripts, or Kolla's, name.
var startVariables = []string{"KOLLA_BOOTSTRAP", "KOLLA_UPGRADE", "KOLLA_FINISH_UPGRADE",
	"KOLLA_OSM", "KOLLA_UPGRADE_CHECK"}

// startCases are further starts of single images. Images without one are started because
// their scripts call programs without variables, too.
var startCases = map[string][]string{
	"cinder-volume": nil, "fluentd": nil, "ironic-conductor": nil, "iscsid": nil, "keystone-ssh": nil,
	"openvswitch-db-server": nil, "proxysql": nil, "zun-compute": nil,
	"ceilometer-notification": {"KOLLA_BOOTSTRAP= CEILOMETER_DATABASE_TYPE=gnocchi CEILOMETER_UPGRADE_PARAMS=--skip-metering-database"},
	"cron":                    {"KOLLA_LOGROTATE_SCHEDULE=hourly", "KOLLA_LOGROTATE_SCHEDULE=yearly"},
	"dnsmasq":                 {"DNSMASQ_PIDFILE=/run/other/pid"},
	"glance-api": {"KOLLA_UPGRADE= GLANCE_DB_EXPAND=", "KOLLA_UPGRADE= GLANCE_DB_MIGRATE=",
		"KOLLA_UPGRADE= GLANCE_DB_CONTRACT=", "KOLLA_UPGRADE= GLANCE_DB_EXPAND= GLANCE_DB_MIGRATE= GLANCE_DB_CONTRACT="},
	"heat-api": {"KOLLA_BOOTSTRAP= TEST_DOMAINS=heat_user_domain"},
	"horizon": {"ENABLE_DESIGNATE=yes ENABLE_HEAT=yes", "ENABLE_OCTAVIA=yes FORCE_GENERATE=yes",
		"KOLLA_BOOTSTRAP= ENABLE_HEAT=yes"},
	"keystone":               {"KOLLA_BOOTSTRAP= EXTRA_KEYSTONE_MANAGE_ARGS=--debug", "KOLLA_UPGRADE= KOLLA_BOOTSTRAP="},
	"mariadb-server":         {"BOOTSTRAP_ARGS=--wsrep-new-cluster", "MARIADB_LOG_DIR=/var/log/kolla/other"},
	"neutron-dhcp-agent":     {"KOLLA_NEUTRON_WRAPPERS=true"},
	"neutron-l3-agent":       {"KOLLA_NEUTRON_WRAPPERS=true", "KOLLA_LEGACY_IPTABLES=true"},
	"neutron-metadata-agent": {"KOLLA_NEUTRON_WRAPPERS=true"},
	"neutron-server": {"KOLLA_BOOTSTRAP= NEUTRON_BOOTSTRAP_SERVICES=neutron-vpnaas", "KOLLA_UPGRADE= NEUTRON_DB_EXPAND=",
		"KOLLA_UPGRADE= NEUTRON_DB_CONTRACT=",
		"KOLLA_UPGRADE= NEUTRON_DB_EXPAND= NEUTRON_ROLLING_UPGRADE_SERVICES=neutron-vpnaas"},
	"nova-api":              {"KOLLA_UPGRADE_CHECK= TEST_STATUS=2"},
	"openvswitch-vswitchd":  {"TEST_STATUS=1"},
	"opensearch-dashboards": {"OPENSEARCH_DASHBOARDS_SECURITY_PLUGIN=False"},
	"rabbitmq":              {"RABBITMQ_LOG_DIR=/var/log/kolla/other"},
	"valkey-sentinel":       {"VALKEY_CONF=/etc/valkey.conf VALKEY_GEN_CONF=/var/lib/valkey/generated.conf"},
}

// startDifferences are the intended differences from Kolla's scripts, by image, or by image
// and variables.
var startDifferences = map[string]string{
	"aodh-api KOLLA_UPGRADE=":                  "kolla-ansible sets it, and Kolla's script ignores it",
	"bifrost-deploy":                           "the log directory exists before the first log",
	"ceilometer-notification KOLLA_BOOTSTRAP=": "Kolla's script fails if CEILOMETER_DATABASE_TYPE is not set",
	"cyborg-conductor":                         "it does not run as root",
	"designate-backend-bind9":                  "the log directory exists before the first log",
	"haproxy-ssh":                              "sshd needs /run/sshd, which a deployment may mount empty",
	"heat-api KOLLA_BOOTSTRAP=":                "the password may have spaces",
	"ironic-pxe":                               "sed in place of envsubst, and no list of the copied files",
	"keystone-ssh":                             "root needs no sudo",
	"letsencrypt-lego":                         "Kolla's script changes no owner, since it looks up a second user with the name 2",
	"mariadb-server KOLLA_BOOTSTRAP=":          "kolla_security_reset sets the passwords, none of which is an argument of a program",
	"mariadb-server KOLLA_UPGRADE=":            "the password is not an argument of a program",
	"neutron-server KOLLA_UPGRADE=":            "Kolla's script fails if neither NEUTRON_DB_EXPAND nor NEUTRON_DB_CONTRACT is set",
	"opensearch-dashboards":                    "the plugins are listed only if one may be removed",
	"openvswitch-db-server":                    "a new database is not converted",
	"openvswitch-vswitchd TEST_STATUS=1":       "a host without the module can use the userspace datapath",
	"ovsdpdk":                                  "Kolla's script fails without an image's own part",
	"ovsdpdk-db":                               "an old database is converted, as in openvswitch-db-server",
	"skyline-apiserver":                        "the home directory belongs to the group of the user",
	"skyline-console":                          "the home directory belongs to the group of the user",
	"valkey-sentinel":                          "Kolla's script fails if VALKEY_CONF is not set",
}

// standIns are replaced in all starts. Programs that this machine does not have are, too.
var standIns = []string{"sudo", "ssh-keygen", "modprobe", "update-alternatives", "iscsi-iname", "mkfs.msdos", "mmd",
	"mcopy", "mdir", "envsubst",
	"openstack", "alembic", "opensearch-dashboards-plugin", "kolla_security_reset", "kolla_proxysql_config_sync"}

// standInPaths are the places of stand-ins, and of files that the images have in /usr, which
// the test cannot write.
var standInPaths = strings.NewReplacer("/usr/bin/update-alternatives", "update-alternatives",
	"/sbin/iscsi-iname", "iscsi-iname",
	"/usr/share/opensearch-dashboards", "/opt/opensearch-dashboards",
	"/usr/lib/PXELINUX", "/opt/PXELINUX", "/usr/lib/syslinux", "/opt/syslinux", "/usr/lib/shim", "/opt/shim",
	"/usr/lib/grub", "/opt/grub", "/usr/lib/ipxe", "/opt/ipxe")

var userLine = regexp.MustCompile(`add (\S+) (\d+) (\S+) (\d+)`)

// A start is what a start of a container did.
type start struct {
	status  int
	record  string // the programs that it called, and what kolla_start would run
	files   []string
	message string
}

// calls returns the programs that the start called, in a line.
func (s start) calls() string {
	var calls []string
	for line := range strings.Lines(s.record) {
		if !strings.HasPrefix(line, "env ") {
			calls = append(calls, strings.TrimSpace(line))
		}
	}
	if s.status != 0 {
		calls = append(calls, fmt.Sprintf("exit %d", s.status))
	}
	return strings.Join(calls, "; ")
}

// startRoot is a container's root, before its first start.
func startRoot(t *testing.T, files startFiles, users string) *scratchRoot {
	r := newScratchRoot(t, "/bin/bash", "/usr/bin/setpriv")
	passwd, group := "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/:/bin/bash\n", "root:x:0:\nwww-data:x:33:\n"
	for _, m := range userLine.FindAllStringSubmatch(users, -1) {
		passwd += fmt.Sprintf("%s:x:%s:%s::/:/bin/bash\n", m[1], m[2], m[4])
		group += fmt.Sprintf("%s:x:%s:\n", m[3], m[4])
	}
	r.write("etc/passwd", passwd)
	r.write("etc/group", group)
	r.writeOrLink("local/bin/.", "")
	r.writeOrLink("var/run", "->../run")
	for name, content := range files.files {
		local, ok := strings.CutPrefix(name, "/usr/local/")
		if !ok {
			continue
		}
		name = "local/" + local
		r.write(name, standInPaths.Replace(content))
		if err := os.Chmod(r.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.install("testdata/stand-in", "opt/bin/stand-in")
	r.install("testdata/start", "opt/bin/start")
	for _, name := range standIns {
		r.writeOrLink("opt/bin/"+name, "->stand-in")
	}
	r.writeOrLink("opt/opensearch-dashboards/bin/opensearch-dashboards-plugin", "->/opt/bin/stand-in")
	for name, content := range map[string]string{
		"record": "", "map-file-template": "re ^/ ${TFTPBOOT_PATH}\n", "etc/cron.daily/logrotate": "",
		"etc/cron.hourly/.": "", "etc/iscsi/iscsid.conf": "",
		"etc/keystone/fernet-keys/0": "", "etc/ssh/sshd_config": "", "etc/valkey.conf": "conf",
		"etc/dnsmasq/dhcp-hostsdir/host": "", "var/lib/rabbitmq/.erlang.cookie": "old",
		"var/lib/mysql/.pki/key": "", "run/keepalived.pid": "1", "var/lib/proxysql/proxysql.pid": "1", "run/ironic/.": "",
		"run/openvswitch/.":       "",
		"opt/PXELINUX/pxelinux.0": "p", "opt/syslinux/modules/bios/chain.c32": "c",
		"opt/syslinux/modules/bios/ldlinux.c32": "l",
		"opt/shim/shimx64.efi.signed":           "s", "opt/grub/x86_64-efi-signed/grubnetx64.efi.signed": "g",
		"opt/ipxe/undionly.kpxe": "u", "opt/ipxe/ipxe.efi": "i", "opt/ipxe/snponly.efi": "n",
		"etc/openstack-dashboard/local_settings": "settings",
		"etc/apache2/envvars":                    "", "etc/default/locale": "LANG=C.UTF-8\n", "run/docker.sock": "",
		"var/lib/elasticsearch/data/.": "",
		"var/log/kolla/.":              "", "var/lib/mysql/.": "", "var/lib/rabbitmq/.": "",
	} {
		r.writeOrLink(name, content)
	}
	r.horizon()
	// The directories that packages and Kolla's templates create belong to the services.
	for _, m := range userLine.FindAllStringSubmatch(users, -1) {
		r.writeOrLink("var/lib/"+m[1]+"/.", "")
		r.own("var/lib/"+m[1], m[2], m[4])
	}
	for _, directory := range []struct{ name, owner string }{
		{"var/lib/mysql", "mysql"}, {"var/lib/rabbitmq", "rabbitmq"}, {"var/log/kolla", "kolla"}, {"run",
			files.user}, {"run/ironic", "ironic"},
		{"etc/keystone", "keystone"}, {"etc/openstack-dashboard", "horizon"}, {"var/lib/kolla", "horizon"},
	} {
		for _, m := range userLine.FindAllStringSubmatch(users, -1) {
			if m[1] == directory.owner {
				r.own(directory.name, m[2], m[4])
			}
		}
	}
	for name, mode := range map[string]os.FileMode{"record": 0o666, "var/log/kolla": 0o775 | fs.ModeSetgid,
		"tmp": 0o777 | fs.ModeSticky} {
		if err := os.Chmod(r.path(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// own gives a directory and its files to a user.
func (r *scratchRoot) own(name, uid, gid string) {
	r.t.Helper()
	var u, g int
	if _, err := fmt.Sscan(uid+" "+gid, &u, &g); err != nil {
		r.t.Fatal(err)
	}
	err := filepath.WalkDir(r.path(name), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, u, g)
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// horizon writes a dashboard without code, with two panels.
func (r *scratchRoot) horizon() {
	const site = "var/lib/kolla/venv/lib/python3/site-packages/"
	for name, content := range map[string]string{
		"horizon/__init__.py": "", "openstack_dashboard/__init__.py": "", "openstack_dashboard/local/enabled/.": "",
		"designatedashboard/enabled/_1710_project_dns.py": "dns", "designatedashboard/enabled/__init__.py": "",
		"heat_dashboard/enabled/_1610_stack.py": "stack", "heat_dashboard/conf/heat_policy.yaml": "policy",
		"heat_dashboard/conf/default_policies/heat.yaml":                 "policies",
		"octavia_dashboard/enabled/_1482_project_load_balancer_panel.py": "lb",
		"skyline_apiserver/__init__.py":                                  "", "skyline_apiserver/db/alembic/.": "",
	} {
		r.writeOrLink(site+name, content)
	}
	r.writeOrLink("etc/openstack-dashboard/default_policies/.", "")
	r.write("var/lib/kolla/venv/bin/manage.py", "")
	// Questions about modules are answered, everything else is recorded.
	r.program("venv-python", `if [ "$1" = -c ]; then exec /usr/bin/python3 "$@"; fi; exec /opt/bin/stand-in --as python "$@"`)
	r.writeOrLink("var/lib/kolla/venv/bin/python", "->/opt/bin/venv-python")
}

// start starts a container that has been prepared by startRoot.
func (r *scratchRoot) start(user string, variables []string) start {
	r.t.Helper()
	r.write("record", "")
	env := append([]string{testPath, "KOLLA_BASE_DISTRO=debian", "KOLLA_BASE_ARCH=x86_64", "HOME=/",
		"PYTHONPATH=/var/lib/kolla/venv/lib/python3/site-packages", "PYTHONDONTWRITEBYTECODE=1",
		"HEAT_DOMAIN_ADMIN_PASSWORD=heat pass", "RABBITMQ_CLUSTER_COOKIE=cookie", "DB_ROOT_PASSWORD=root pass",
		"DB_HOST=192.0.2.1", "DB_PORT=3306",
		"TFTPBOOT_PATH=/var/lib/ironic/tftpboot", "HTTPBOOT_PATH=/var/lib/ironic/httpboot", "RELAY_ID=1"}, variables...)
	status, out := r.run(env, "start", user)
	return start{status: status, record: r.read("record"), message: out}
}

// withFiles adds the files that the start left.
func (s start) withFiles(r *scratchRoot) start {
	for line := range strings.Lines(r.tree("etc", "run", "srv", "var", "map-file")) {
		line = strings.TrimSpace(line)
		if len(line) > 300 {
			line = fmt.Sprintf("%s... (%d bytes)", line[:300], len(line))
		}
		s.files = append(s.files, line)
	}
	return s
}

// The scripts that prepare a container's start call the same programs as Kolla's and leave
// the same environment and files. Without a checkout of Kolla (KOLLA_CHECKOUT), the programs
// are compared with testdata/extend_start.txt, which -update writes.
func TestExtendStart(t *testing.T) {
	testenv.Slow(t)
	testenv.Root(t) // the scripts run as the users of the images
	to := target{base: "debian", tag: "trixie", arch: "x86_64", installType: "source"}
	layers := map[string]render.Layer{"ours": {Name: "the built-in templates", FS: dockerfiles.Tree()}}
	if checkout := os.Getenv("KOLLA_CHECKOUT"); checkout != "" {
		layers["Kolla's"] = render.Layer{Name: "Kolla", FS: os.DirFS(filepath.Join(checkout, "kolla", "docker"))}
	}
	images := map[string]map[string]startFiles{} // by tree and image
	var users string
	for tree, layer := range layers {
		_, files := renderLayer(t, to, layer)
		byReference := map[string]render.Dockerfile{}
		for _, f := range files {
			byReference[f.Reference] = f
			if tree == "ours" && f.Name == "base" {
				users = string(f.Content)
			}
		}
		images[tree] = map[string]startFiles{}
		for _, f := range files {
			if !strings.HasSuffix(f.Name, "base") && f.Err == nil {
				images[tree][f.Name] = findStartFiles(t, byReference, f.Reference)
			}
		}
	}

	type startCase struct {
		image, variables, calls string
		inGolden                bool
	}
	var cases []*startCase
	_, compare := layers["Kolla's"]
	seen, compared := map[string]bool{}, map[string]bool{}
	for _, image := range slices.Sorted(maps.Keys(images["ours"])) {
		if strings.HasPrefix(image, "ceph-") {
			continue // their commands contain the name of the host
		}
		ours, both := images["ours"][image].text(), images["ours"][image].text()+images["Kolla's"][image].text()
		isNew, isNewPair := !seen[ours], compare && !compared[both]
		seen[ours], compared[both] = true, true
		further, called := startCases[image]
		add := func(variables string, inGolden bool) {
			if inGolden || isNewPair {
				cases = append(cases, &startCase{image: image, variables: variables, inGolden: inGolden})
			}
		}
		add("", isNew && called)
		for _, variable := range startVariables {
			if strings.Contains(both, variable) {
				add(variable+"=", isNew && strings.Contains(ours, variable))
			}
		}
		for _, variables := range further {
			add(variables, true)
		}
	}
	t.Run("images", func(t *testing.T) {
		for _, c := range cases {
			name := strings.TrimSpace(c.image + " " + c.variables)
			t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
				t.Parallel()
				ours := images["ours"][c.image]
				kollas, ok := images["Kolla's"][c.image]
				first, second := startTwice(t, ours, users, c.variables, ok)
				c.calls = first.calls()
				if !ok {
					return
				}
				kollaFirst, kollaSecond := startTwice(t, kollas, users, c.variables, true)
				differences := first.compare(kollaFirst) + second.compare(kollaSecond)
				reason, listed := startDifferences[name]
				if !listed {
					reason = startDifferences[c.image]
				}
				if differences != "" && reason == "" {
					t.Errorf("user %s, Kolla's %s\n%s", ours.user, kollas.user, differences)
				}
				if differences == "" && listed {
					t.Errorf("no difference, though there is a reason for one: %s", reason)
				}
			})
		}
	})
	var golden strings.Builder
	for _, c := range cases {
		if c.inGolden {
			fmt.Fprintf(&golden, "%s: %s\n", strings.TrimSpace(c.image+" "+c.variables), c.calls)
		}
	}
	t.Logf("%d starts", len(cases))
	compareGolden(t, "testdata/extend_start.txt", golden.String())
}

// startTwice starts a container and, to compare it with Kolla's, starts it again.
func startTwice(t *testing.T, files startFiles, users, variables string, compare bool) (first, second start) {
	r := startRoot(t, files, users)
	first = r.start(files.user, strings.Fields(variables))
	if compare {
		first = first.withFiles(r)
		second = r.start(files.user, strings.Fields(variables)).withFiles(r)
	}
	return first, second
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-6):], "\n")
}

var (
	pidFile = regexp.MustCompile(`^(\S*pid \S+ \S+) \d+$`)
	// Our log directories belong to the service and the group kolla, also if root starts it;
	// Kolla's belong to root then, and some to the service's group.
	logDirectory = regexp.MustCompile(`^(var/log/kolla/\S+ dgrwxr-xr-x) \d+:\d+$`)
)

// compare describes the differences from what Kolla's script did.
func (s start) compare(kollas start) string {
	var b strings.Builder
	if s.status != kollas.status {
		fmt.Fprintf(&b, "exit status %d, Kolla's %d\n--- ours\n%s\n--- Kolla's\n%s\n", s.status, kollas.status,
			lastLines(s.message), lastLines(kollas.message))
	}
	lines := func(text []string) []string {
		var out []string
		for _, l := range text {
			l = pidFile.ReplaceAllString(l, "$1 PID")
			out = append(out, logDirectory.ReplaceAllString(l, "$1"))
		}
		return out
	}
	for _, pair := range [][2][]string{
		{strings.Split(s.record, "\n"), strings.Split(kollas.record, "\n")},
		{lines(s.files), lines(kollas.files)},
	} {
		for _, l := range pair[0] {
			if !slices.Contains(pair[1], l) {
				fmt.Fprintf(&b, "ours:    %s\n", l)
			}
		}
		for _, l := range pair[1] {
			if !slices.Contains(pair[0], l) {
				fmt.Fprintf(&b, "Kolla's: %s\n", l)
			}
		}
	}
	if b.Len() == 0 && s.record != kollas.record {
		fmt.Fprintf(&b, "another order:\n%s\nKolla's:\n%s", s.record, kollas.record)
	}
	return b.String()
}

// compareGolden compares a text with a file, which -update writes.
func compareGolden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text == string(want) {
		return
	}
	got := strings.Split(text, "\n")
	for line := range strings.Lines(string(want)) {
		if !slices.Contains(got, strings.TrimSuffix(line, "\n")) {
			t.Errorf("this line of %s does not hold: %s", file, line)
		}
	}
	t.Errorf("%s is not up to date: go test ./dockerfiles -run %s -update", file, t.Name())
}
