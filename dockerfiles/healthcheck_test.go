package dockerfiles_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// Ports are compared as a whole: a process that listens on 8774 does not listen on 877.
func TestHealthchecksOfPorts(t *testing.T) {
	testenv.Slow(t)
	r := newScratchRoot(t, "/bin/bash", "/usr/bin/ss", "/usr/bin/pgrep")
	for _, name := range []string{"healthcheck_listen", "healthcheck_port"} {
		r.install("base/"+name, "opt/"+name)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()

	process := os.Args[0]
	port := fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
	other := "1" // reserved for tcpmux, which the test does not serve
	for _, script := range []string{"healthcheck_listen", "healthcheck_port"} {
		for _, c := range []struct {
			name    string
			process string
			ports   []string
			healthy bool
		}{
			{"the port", process, []string{port}, true},
			{"one of two ports", process, []string{other, port}, true},
			{"another port", process, []string{other}, false},
			{"the beginning of the port", process, []string{port[:len(port)-1]}, false},
			{"no such process", "there-is-no-such-process", []string{port}, false},
		} {
			t.Run(script+"/"+c.name, func(t *testing.T) {
				status, out := r.run(nil, append([]string{"bash", "/opt/" + script, c.process}, c.ports...)...)
				if (status == 0) != c.healthy {
					t.Errorf("exit status %d\n%s", status, out)
				}
			})
		}
	}
}

func TestHealthcheckFilemod(t *testing.T) {
	r := newScratchRoot(t, "/bin/bash")
	r.install("base/healthcheck_filemod", "opt/healthcheck_filemod")
	check := func(want int, file string) {
		t.Helper()
		if status, out := r.run(nil, "bash", "/opt/healthcheck_filemod", file, "600"); status != want {
			t.Errorf("%s: exit status %d, want %d\n%s", file, status, want, out)
		}
	}
	r.write("var/log/new", "")
	r.write("var/log/old", "")
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(r.path("var/log/old"), hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	check(0, "/var/log/new")
	check(1, "/var/log/old")
	check(1, "/var/log/missing")
}

// A check that takes too long leaves no process running, because Docker starts the next one.
// The stand-in writes its process id and hangs if the file /hangs exists.
func TestRabbitMQHealthcheck(t *testing.T) {
	testenv.Slow(t)
	r := newScratchRoot(t, "/bin/bash", "/usr/bin/timeout", "/bin/sleep")
	r.install("rabbitmq/healthcheck_rabbitmq", "opt/healthcheck_rabbitmq")
	r.write("opt/rabbitmq-diagnostics",
		"#!/bin/bash\n[[ $* != *\"$(cat /fails)\" ]] || exit 70\n[[ ! -e /hangs ]] || { echo $$ >>/pids; exec sleep infinity; }\n")
	if err := os.Chmod(r.path("opt/rabbitmq-diagnostics"), 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=/opt:/usr/sbin:/usr/bin:/sbin:/bin", "RABBITMQ_HEALTHCHECK_LIMIT=60"}
	for fails, want := range map[string]int{"nothing": 0, "check_running": 1, "check_virtual_hosts": 1} {
		r.write("fails", fails)
		if status, out := r.run(env, "healthcheck_rabbitmq"); status != want ||
			(want != 0) != strings.Contains(out, fails+" failed") {
			t.Errorf("%s fails: exit status %d\n%s", fails, status, out)
		}
	}
	r.write("fails", "nothing")
	r.write("hangs", "")
	env[1] = "RABBITMQ_HEALTHCHECK_LIMIT=1"
	const script = `healthcheck_rabbitmq; status=$?
for _ in {1..600}; do [[ -e /proc/$(</pids)/exe ]] || exit $status; sleep 0.1; done
echo left; kill -9 $(</pids); exit $status`
	if status, out := r.run(env, "bash", "-c", script); status != 1 || strings.Contains(out, "left\n") {
		t.Errorf("exit status %d\n%s", status, out)
	}
}

// The stand-in answers what the file /state has, and fails without it, as a client of a database
// that is down does.
func TestMariaDBHealthcheck(t *testing.T) {
	testenv.Slow(t)
	r := newScratchRoot(t, "/bin/bash")
	r.install("mariadb-server/healthcheck.sh", "opt/healthcheck.sh")
	r.write("opt/mariadb", "#!/bin/bash\nprintf '%s\\n' \"$1\" >> /calls\n[[ $* != *'SELECT 1'* ]] || { echo 1; exit; }\ncat /state\n")
	if err := os.Chmod(r.path("opt/mariadb"), 0o755); err != nil {
		t.Fatal(err)
	}
	check := func(want int, arguments ...string) {
		t.Helper()
		env := []string{"PATH=/opt:/usr/sbin:/usr/bin:/sbin:/bin"}
		if status, out := r.run(env, append([]string{"healthcheck.sh"}, arguments...)...); status != want {
			t.Errorf("%q: exit status %d, want %d\n%s", arguments, status, want, out)
		}
	}
	r.write("state", "4\n")
	check(0, "--defaults-file", "/etc/mysql/my.cnf", "--connect")
	check(0, "--defaults-file", "/etc/mysql/my.cnf", "--connect", "--galera_online")
	for _, line := range strings.Fields(r.read("calls")) {
		if line != "--defaults-file=/etc/mysql/my.cnf" {
			t.Errorf("the client's first argument is %q", line)
		}
	}
	r.write("state", "2\n") // the node serves another one as donor
	check(1, "--connect", "--galera_online")
	if err := os.Remove(r.path("state")); err != nil {
		t.Fatal(err)
	}
	check(1, "--galera_online")
	check(2, "--no-such-check")
	check(2)
}
