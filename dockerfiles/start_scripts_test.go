package dockerfiles_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// extend runs an image's kolla_extend_start as kolla_start does.
func (r *scratchRoot) extend(image string, env ...string) (int, string) {
	r.t.Helper()
	r.install("base/extend_start_lib.sh", "opt/lib.sh")
	script, err := os.ReadFile(filepath.Join(image, "extend_start.sh"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("opt/extend_start", strings.ReplaceAll(string(script),
		"/usr/local/lib/kolla/extend_start_lib.sh", "/opt/lib.sh"))
	return r.run(env, "bash", "-c", "set -o errexit -o pipefail -o nounset -o xtrace; . /opt/extend_start; echo started")
}

// extendWithLibrary runs the part of a family's image, whose base has sourced the
// library already.
func (r *scratchRoot) extendWithLibrary(image string, env ...string) (int, string) {
	r.t.Helper()
	r.install("base/extend_start_lib.sh", "opt/lib.sh")
	r.install(image+"/extend_start.sh", "opt/extend_start")
	return r.run(env, "bash", "-c", "set -o errexit -o pipefail -o nounset -o xtrace; . /opt/lib.sh; . /opt/extend_start; echo started")
}

func TestCronMovesLogrotate(t *testing.T) {
	testenv.Slow(t)
	for _, c := range []struct{ schedule, want string }{
		{"", "daily"}, {"daily", "daily"}, {"hourly", "hourly"}, {"monthly", "monthly"}, {"fortnightly", "daily"},
	} {
		t.Run(c.schedule, func(t *testing.T) {
			r := newScratchRoot(t, "/bin/bash")
			for _, period := range []string{"hourly", "daily", "weekly", "monthly"} {
				r.write("etc/cron."+period+"/.placeholder", "")
			}
			r.write("etc/cron.daily/logrotate", "#!/bin/sh\n")
			var env []string
			if c.schedule != "" {
				env = append(env, "KOLLA_LOGROTATE_SCHEDULE="+c.schedule)
			}
			// A container is started more than once.
			for range 2 {
				if status, out := r.extend("cron", env...); status != 0 {
					t.Fatalf("exit status %d\n%s", status, out)
				}
			}
			if !r.exists("etc/cron." + c.want + "/logrotate") {
				t.Errorf("logrotate is not in cron.%s", c.want)
			}
		})
	}
}

func TestKollaLogDirKeepsTheDeploymentsMode(t *testing.T) {
	r := newScratchRoot(t, "/bin/bash")
	r.install("base/extend_start_lib.sh", "opt/lib.sh")
	for name, modes := range map[string][2]os.FileMode{
		"new": {0, 0o755}, "private": {0o700, 0o755}, "readable": {0o755, 0o755}, "group": {0o775, 0o775},
	} {
		if modes[0] != 0 {
			r.write("var/log/kolla/"+name+"/log", "")
			if err := os.Chmod(r.path("var/log/kolla/"+name), modes[0]); err != nil {
				t.Fatal(err)
			}
		}
		if status, out := r.run(nil, "bash", "-euc", ". /opt/lib.sh; kolla_log_dir "+name); status != 0 {
			t.Fatalf("exit status %d\n%s", status, out)
		}
		r.wantMode("var/log/kolla/"+name, modes[1])
	}
}

func TestKeepalivedRunsAllChecks(t *testing.T) {
	testenv.Slow(t)
	r := newScratchRoot(t, "/bin/bash")
	r.install("keepalived/check_alive.sh", "check_alive.sh")
	alive := func(want int, lines ...string) {
		t.Helper()
		status, out := r.run(nil, "bash", "/check_alive.sh")
		if status != want {
			t.Errorf("exit status %d, want %d\n%s", status, want, out)
		}
		for _, line := range lines {
			if !strings.Contains(out, line) {
				t.Errorf("no %q in\n%s", line, out)
			}
		}
	}
	alive(0) // no checks
	check := func(name, command string) {
		r.write("checks/"+name, "#!/bin/sh\n"+command+"\n")
		if err := os.Chmod(r.path("checks/"+name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	check("check_alive_haproxy.sh", "exit 3")
	check("check_alive_proxysql.sh", "exit 0")
	alive(1, "check_alive_haproxy.sh failed", "check_alive_proxysql.sh succeeded")
	check("check_alive_haproxy.sh", "exit 0")
	alive(0, "check_alive_haproxy.sh succeeded")
}

func TestProxySQLConfiguration(t *testing.T) {
	r := newScratchRoot(t, "/usr/bin/python3", "/usr/lib/python3/dist-packages/yaml")
	r.install("proxysql/config_sync.py", "opt/sync")
	r.write("etc/proxysql/proxysql.yaml", `datadir: "/var/lib/proxysql"
admin_variables:
  admin_credentials: "admin:a\"b\\c"
  restapi_enabled: True
mysql_variables:
  threads: 4
  wait: 99999999999
  ratio: 0.5
mysql_servers:
  - address: "192.0.2.1"
    port: 3306
`)
	r.write("etc/proxysql/users/a.yaml", "mysql_users:\n  - {username: nova, password: one}\n")
	r.write("etc/proxysql/users/b.yaml", "mysql_users:\n  - {username: nova, password: two}\n  - {username: heat, password: three}\n")
	r.write("etc/proxysql/rules/a.yaml", "mysql_query_rules:\n  - {schemaname: nova, destination_hostgroup: 0}\n  - "+
		"{apply: 1}\n  - {username: heat, destination_hostgroup: 10}\n")
	r.write("etc/proxysql.cnf", "left from before\n")
	status, out := r.run(nil, "python3", "/opt/sync")
	if status != 0 {
		t.Fatalf("exit status %d\n%s", status, out)
	}
	want := `datadir = "/var/lib/proxysql"
admin_variables =
{
    admin_credentials = "admin:a\"b\\c"
    restapi_enabled = true
}
mysql_variables =
{
    threads = 4
    wait = 99999999999L
    ratio = 0.5
}
mysql_servers =
(
    {
        address = "192.0.2.1"
        port = 3306
    }
)
mysql_users =
(
    {
        username = "nova"
        password = "one"
    },
    {
        username = "heat"
        password = "three"
    }
)
mysql_query_rules =
(
    {
        schemaname = "nova"
        destination_hostgroup = 0
        rule_id = 1
    },
    {
        username = "heat"
        destination_hostgroup = 10
        rule_id = 2
    }
)
`
	if got := r.read("etc/proxysql.cnf"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(out, "nova") || strings.Contains(out, "two") {
		t.Errorf("the second user nova is not reported, or with its password:\n%s", out)
	}

	// A deployment without users and rules, and a broken one.
	for _, dir := range []string{"users", "rules"} {
		if err := os.RemoveAll(r.path("etc/proxysql/" + dir)); err != nil {
			t.Fatal(err)
		}
	}
	if status, out := r.run(nil, "python3", "/opt/sync"); status != 0 ||
		!strings.Contains(r.read("etc/proxysql.cnf"), "mysql_users =\n(\n\n)") {
		t.Errorf("exit status %d\n%s%s", status, out, r.read("etc/proxysql.cnf"))
	}
	r.write("etc/proxysql/proxysql.yaml", "- a list\n")
	if status, out := r.run(nil, "python3", "/opt/sync"); status == 0 ||
		!strings.Contains(out, "/etc/proxysql/proxysql.yaml is not a mapping") {
		t.Errorf("exit status %d\n%s", status, out)
	}
}

// The bootstrap of ironic-pxe needs programs that only the image has; on each start it
// writes where the TFTP server looks for files.
func TestIronicPXEMapFile(t *testing.T) {
	r := newScratchRoot(t, "/bin/bash", "/usr/bin/sed")
	r.install("ironic/ironic-pxe/tftp-map-file-template", "map-file-template")
	env := []string{"KOLLA_BASE_ARCH=x86_64", "KOLLA_BASE_DISTRO=debian", "TFTPBOOT_PATH=/var/lib/ironic/tftpboot",
		"HTTPBOOT_PATH=/httpboot"}
	for range 2 {
		if status, out := r.extendWithLibrary("ironic/ironic-pxe", env...); status != 0 {
			t.Fatalf("exit status %d\n%s", status, out)
		}
	}
	rules := r.read("map-file")
	for _, want := range []string{"e ^/var/lib/ironic/tftpboot/\n", "re ^/ /var/lib/ironic/tftpboot/\n",
		"re ^([^/]) /var/lib/ironic/tftpboot/\\1\n"} {
		if !strings.Contains(rules, want) {
			t.Errorf("no rule %q in\n%s", want, rules)
		}
	}
}

func TestHealthcheckCurl(t *testing.T) {
	testenv.Slow(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	r := newScratchRoot(t, "/bin/bash", "/usr/bin/curl")
	r.install("base/healthcheck_curl", "opt/healthcheck_curl")
	address := strings.TrimPrefix(server.URL, "http://")
	for _, c := range []struct {
		path, env string
		want      int
		line      string
	}{
		{"/", "X=", 0, "200 " + address + " "},
		{"/", "HEALTHCHECK_CURL_WRITE_OUT=own %{http_code}", 0, "own 200"},
		{"/down", "X=", 1, "503 " + address + " "},
	} {
		status, out := r.run([]string{c.env}, "/opt/healthcheck_curl", server.URL+c.path)
		if status != c.want || !strings.Contains(out, c.line) || strings.Contains(out, "unknown") {
			t.Errorf("%s with %s: exit status %d, want %d with %q:\n%s", c.path, c.env, status, c.want, c.line, out)
		}
	}
}
