package dockerfiles_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// keystoneManage stands in for keystone-manage: it logs the lines of /messages where the given
// configuration files say, as oslo.log does, and exits with the status in /status.
const keystoneManage = `#!/usr/bin/python3
import configparser, sys
arguments, settings = sys.argv[1:], {"log_file": ""}
while arguments and arguments[0] == "--config-file":
    parser = configparser.ConfigParser(interpolation=None)
    with open(arguments[1]) as f:
        parser.read_file(f)
    settings.update(parser["DEFAULT"])
    arguments = arguments[2:]
with open("/arguments", "w") as f:
    f.write("\n".join(arguments))
with open(settings["log_file"] or "/dev/stderr", "ab") as log, open("/messages", "rb") as messages:
    for message in messages:
        if settings.get("use_stderr") == "true" or settings["log_file"]:
            log.write(settings.get("logging_default_format_string", "%(message)s").replace("%(message)s", "").encode() + message)
sys.exit(int(open("/status").read()))
`

// newKeystoneRoot returns a root with keystone's script for the named image, and the deployment's
// configuration, which logs to a file.
func newKeystoneRoot(t *testing.T, image string) *scratchRoot {
	t.Helper()
	r := newScratchRoot(t, "/usr/bin/python3", "/bin/bash")
	r.install("keystone/keystone-base/keystone_manage_json.py", "opt/keystone_manage_json")
	script, err := os.ReadFile("keystone/" + image + "/keystone_bootstrap.sh")
	if err != nil {
		t.Fatal(err)
	}
	r.write("opt/kolla_keystone_bootstrap", strings.ReplaceAll(string(script), "/usr/local/lib/kolla/", "/opt/"))
	r.write("opt/keystone-manage", keystoneManage)
	for _, name := range []string{"opt/kolla_keystone_bootstrap", "opt/keystone-manage"} {
		if err := os.Chmod(r.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.write("etc/keystone/keystone.conf", "[DEFAULT]\nlog_file = /var/log/keystone.log\n")
	return r
}

type keystoneReport struct {
	Failed, Changed *bool
	Message         string `json:"msg"`
}

// bootstrap runs kolla_keystone_bootstrap and parses its standard output as kolla-ansible does.
func (r *scratchRoot) bootstrap(messages string, status int, arguments ...string) keystoneReport {
	r.t.Helper()
	r.write("messages", messages)
	r.write("status", fmt.Sprint(status))
	cmd := r.command([]string{"PATH=/opt:/usr/sbin:/usr/bin:/sbin:/bin"},
		append([]string{"kolla_keystone_bootstrap"}, arguments...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if (err != nil) != (status != 0) {
		r.t.Errorf("exit status %d of keystone-manage: %v\n%s", status, err, out)
	}
	var report keystoneReport
	if err := json.Unmarshal(out, &report); err != nil || report.Failed == nil || report.Changed == nil {
		r.t.Fatalf("not a report: %v\n%.1000s", err, out)
	}
	return report
}

// Messages of keystone-manage bootstrap, release 2025.1: the first time and once everything exists.
const (
	bootstrapped = `Created domain default
Created project admin
Created user admin
Created role admin
Granted role admin on project admin to user admin.
Granted role admin on the system to user admin.
Created region RegionOne
Created public endpoint http://192.0.2.1:5000
Created internal endpoint http://192.0.2.1:5000
`
	bootstrappedBefore = `Domain default already exists, skipping creation.
Project admin already exists, skipping creation.
User admin already exists, skipping creation.
Role admin exists, skipping creation.
User admin already has role admin on project admin.
User admin already has role admin on the system.
Region RegionOne exists, skipping creation.
public endpoint updated
internal endpoint updated
`
)

func TestKeystoneBootstrapReports(t *testing.T) {
	testenv.Slow(t)
	r := newKeystoneRoot(t, "keystone")
	for _, c := range []struct {
		name, messages  string
		status          int
		changed, failed bool
	}{
		{"first", bootstrapped, 0, true, false},
		{"again", bootstrappedBefore, 0, false, false},
		{"endpoint of a second region", strings.Replace(bootstrappedBefore, "public endpoint updated",
			"Created public endpoint http://192.0.2.2:5000", 1), 0, true, false},
		{"new password", "Reset password for user admin.\n", 0, true, false},
		{"disabled user", "Enabled user admin.\n", 0, true, false},
		{"role on the system reported each time", "Granted role admin on the system to user admin.\n", 0, false, false},
		{"user named Created", "User Created already exists, skipping creation.\n", 0, false, false},
		{"much output", strings.Repeat(bootstrappedBefore, 2000), 0, false, false},
		{"output that is not UTF-8", "\xff\xfe\n", 0, false, false},
		{"failure", "Can't connect to \"the database\"\n", 1, true, true},
		{"failure with much output", strings.Repeat("Can't connect\n", 20000), 1, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			report := r.bootstrap(c.messages, c.status, "admin", "secret", "admin", "admin", "http://192.0.2.1:5000",
				"http://192.0.2.1:5000", "RegionOne")
			if *report.Changed != c.changed || *report.Failed != c.failed {
				t.Errorf("changed %v, failed %v", *report.Changed, *report.Failed)
			}
			if c.failed != strings.Contains(report.Message, "Can't connect") {
				t.Errorf("message %q", report.Message)
			}
		})
	}
}

func TestKeystoneBootstrapArguments(t *testing.T) {
	testenv.Slow(t)
	r := newKeystoneRoot(t, "keystone")
	options := func() []string { return strings.Split(r.read("arguments"), "\n") }
	// Deployments before Keystone's admin endpoint was removed pass its URL as well.
	r.bootstrap(bootstrapped, 0, "admin", "secret", "project", "role", "http://admin", "http://internal",
		"http://public", "Region")
	old := options()
	r.bootstrap(bootstrapped, 0, "admin", "secret", "project", "role", "http://internal", "http://public", "Region")
	if !slices.Equal(old, options()) {
		t.Errorf("with an admin URL: %q\nwithout: %q", old, options())
	}
	want := map[string]string{
		"--bootstrap-username": "admin", "--bootstrap-project-name": "project", "--bootstrap-role-name": "role",
		"--bootstrap-internal-url": "http://internal", "--bootstrap-public-url": "http://public",
		"--bootstrap-region-id": "Region",
	}
	for option, value := range want {
		if at := slices.Index(old, option); at < 0 || old[at+1] != value {
			t.Errorf("%s is not %s in %q", option, value, old)
		}
	}
	if slices.Contains(old, "secret") {
		t.Error("the password is an argument, which others can read")
	}
}

func TestKeystoneFernetBootstrapReports(t *testing.T) {
	testenv.Slow(t)
	r := newKeystoneRoot(t, "keystone-fernet")
	if report := r.bootstrap("Created a new temporary key: /etc/keystone/fernet-keys/0.tmp\nBecome a valid new key\n", 0,
		"keystone", "keystone"); !*report.Changed || *report.Failed {
		t.Errorf("new keys: changed %v, failed %v", *report.Changed, *report.Failed)
	}
	if report := r.bootstrap("Key repository is already initialized; aborting.\n", 0, "keystone",
		"keystone"); *report.Changed || *report.Failed {
		t.Errorf("present keys: changed %v, failed %v", *report.Changed, *report.Failed)
	}
}

// A container without keystone-manage still reports as JSON.
func TestKeystoneBootstrapWithoutProgram(t *testing.T) {
	r := newKeystoneRoot(t, "keystone")
	if err := os.Remove(r.path("opt/keystone-manage")); err != nil {
		t.Fatal(err)
	}
	if report := r.bootstrap("", 1, "admin", "secret", "admin", "admin", "http://internal", "http://public",
		"Region"); !strings.Contains(report.Message, "keystone-manage") {
		t.Errorf("message %q", report.Message)
	}
}

func TestFetchFernetTokens(t *testing.T) {
	testenv.Slow(t)
	r := newScratchRoot(t, "/usr/bin/python3")
	r.install("keystone/keystone-fernet/fetch_fernet_tokens.py", "opt/fetch")
	report := func(arguments ...string) (populated, updateRequired bool) {
		t.Helper()
		status, out := r.run(nil, append([]string{"python3", "/opt/fetch"}, arguments...)...)
		var result struct {
			Populated      *bool `json:"populated"`
			UpdateRequired *bool `json:"update_required"`
			Failed         bool  `json:"failed"`
		}
		if err := json.Unmarshal([]byte(out), &result); status != 0 || err != nil || result.Populated == nil ||
			result.UpdateRequired == nil || result.Failed {
			t.Fatalf("exit status %d, %v\n%s", status, err, out)
		}
		return *result.Populated, *result.UpdateRequired
	}
	// The directory is a volume, which a node that has not been bootstrapped may lack.
	if populated, updateRequired := report("-t", "86400", "-n", "2"); populated || !updateRequired {
		t.Errorf("no directory: populated %v, update required %v", populated, updateRequired)
	}
	for _, key := range []string{"0", "1"} {
		r.write("etc/keystone/fernet-keys/"+key, key)
	}
	if populated, updateRequired := report("-t", "86400", "-n", "2"); !populated || updateRequired {
		t.Errorf("two new keys: populated %v, update required %v", populated, updateRequired)
	}
	if populated, _ := report("-t", "86400", "-n", "3"); populated {
		t.Error("two of three keys: populated")
	}
	if _, updateRequired := report("-t", "86400", "-n", "2", "-f", "2"); !updateRequired {
		t.Error("a key that does not exist needs no update")
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(r.path("etc/keystone/fernet-keys/0"), old, old); err != nil {
		t.Fatal(err)
	}
	if _, updateRequired := report("-t", "86400", "-n", "2"); !updateRequired {
		t.Error("a key of two days needs no update after one")
	}
}
