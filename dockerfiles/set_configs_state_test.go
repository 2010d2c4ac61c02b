package dockerfiles_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

const stateFile = "etc/kolla/defaults/state"

// A start that is killed leaves the earlier state or the new one: the file is replaced, and not
// written in place. What a killed start left does not prevent the next one.
func TestSetConfigsStateIsReplaced(t *testing.T) {
	testenv.Slow(t)
	const owner = `, "owner": "keystone", "perm": "0660"`
	r := setConfigs(t, entry("a", "/etc/a", owner))
	r.write("config/a", "A")
	r.mustConfigure()
	before := r.read(stateFile)
	if err := os.Link(r.path(stateFile), r.path("earlier")); err != nil {
		t.Fatal(err)
	}
	r.write(stateFile+".new", `{"/etc/a": {"sou`)
	r.write("var/lib/kolla/config_files/config.json", entry("a", "/etc/b", owner))
	r.mustConfigure()
	if got := r.read("earlier"); got != before {
		t.Errorf("the earlier state is now %q", got)
	}
	if got := r.read(stateFile); got == before || !strings.Contains(got, "/etc/b") {
		t.Errorf("the state is %q", got)
	}
	if r.exists(stateFile + ".new") {
		t.Error("a temporary file is left")
	}
}

// A damaged state does not prevent starts, and --check works. Files that are still configured
// are restored later from the copies that exist.
func TestSetConfigsDamagedState(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "cut": `{"/etc/a": {"source": "/etc`, "list": `[]`, "null": `null`, "entry": `{"/etc/a": 1}`,
		"keys":   `{"/etc/a": {"source": "/etc/a"}}`,
		"binary": "\xff\xfe",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testenv.SlowExcept(t, name, "cut")
			r := setConfigs(t, entry("a", "/etc/a", `, "owner": "keystone", "perm": "0660"`))
			r.write("config/a", "configured")
			r.write("etc/a", "image")
			before := r.tree("etc/a")
			r.mustConfigure()
			r.write(stateFile, content)
			const warning = "WARNING /etc/kolla/defaults/state is damaged"
			if out := r.configureInTime(0, "--check"); !strings.Contains(out, warning) {
				t.Errorf("--check:\n%s", out)
			}
			if out := r.configureInTime(0); !strings.Contains(out, warning) || r.read("etc/a") != "configured" {
				t.Errorf("/etc/a is %q\n%s", r.read("etc/a"), out)
			}
			if out := r.configureInTime(0); strings.Contains(out, warning) {
				t.Errorf("the state is still damaged:\n%s", out)
			}
			r.mustRestore(before, "etc/a")
		})
	}
}

// A link that could not be restored stays in the state: each start tries again, and --check
// reports it. It is on another file system, in a directory that its owner cannot write to.
func TestSetConfigsRetriesOmittedLinks(t *testing.T) {
	testenv.Slow(t)
	testenv.Root(t) // mounts a file system
	r := setConfigs(t, entry("a", "/srv/volume/link", `, "owner": "keystone", "perm": "0660"`))
	r.write("config/a", "A")
	volume := r.path("srv/volume")
	if err := os.MkdirAll(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "none",
		volume).CombinedOutput(); err != nil {
		t.Skipf("mounting a tmpfs: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(volume, 0); err != nil {
			t.Error(err)
		}
	})
	r.serviceLink("srv/volume/link", "/etc/target")
	if err := os.Chown(volume, 42400, 42400); err != nil {
		t.Fatal(err)
	}
	before := r.tree("srv/volume")
	r.mustConfigure()
	r.write("var/lib/kolla/config_files/config.json", `{"command": "c"}`)
	for range 2 {
		if out := r.configureInTime(0); !strings.Contains(out, "it is omitted") {
			t.Fatalf("the link was not omitted:\n%s", out)
		}
		if out := r.configureInTime(1, "--check"); !strings.Contains(out,
			"/srv/volume/link is not in the configuration any more") {
			t.Errorf("--check:\n%s", out)
		}
	}
	if err := os.Chown(volume, 42425, 42425); err != nil {
		t.Fatal(err)
	}
	r.configureInTime(0)
	r.configureInTime(0, "--check")
	if err := os.Chown(volume, 42400, 42400); err != nil {
		t.Fatal(err)
	}
	if after := r.tree("srv/volume"); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}

// Destinations are refused before anything is changed, also by --check, and also if the source
// is created later.
func TestSetConfigsRefusesDestinationsFirst(t *testing.T) {
	testenv.Slow(t)
	const config = `{"command": "new", "config_files": [
		{"source": "/config/a", "dest": "/etc/a", "owner": "root", "perm": "0600"},
		{"source": "/srv/new", "dest": "/etc", "owner": "root", "perm": "0600", "merge": true}],
		"directories": [{"path": "/srv/new", "owner": "root", "perm": "0700"}],
		"files": [{"path": "/srv/file", "owner": "root", "perm": "0600"}]}`
	r := setConfigs(t, entry("a", "/etc/b", `, "owner": "root", "perm": "0600"`))
	r.write("config/a", "A")
	r.write("srv/old", "old")
	r.mustConfigure()
	r.write("var/lib/kolla/config_files/config.json", config)
	before := r.tree("etc", "srv", "run_command")
	for _, args := range [][]string{nil, {"--check"}} {
		if out := r.configureInTime(1, args...); !strings.Contains(out, "/etc cannot be replaced or merged into") {
			t.Errorf("%q:\n%s", args, out)
		}
		if after := r.tree("etc", "srv", "run_command"); after != before {
			t.Errorf("%q: it was\n%s\nand is\n%s", args, before, after)
		}
	}
}

// A link at a destination is replaced, wherever it leads to, and restored as a link if it leads
// to a directory that has the copies of the image's files.
func TestSetConfigsReplacesLinksToEtc(t *testing.T) {
	testenv.Slow(t)
	r := setConfigs(t, entry("tree", "/srv/x", `, "owner": "root", "perm": "0600"`))
	r.write("config/tree/a", "A")
	r.writeOrLink("srv/x", "->/etc")
	before := r.tree("srv", "etc/passwd")
	r.configureInTime(0)
	r.configureInTime(0, "--check")
	if got := r.describe("srv/x/a"); got != "-rw------- A" {
		t.Errorf("/srv/x/a is %q", got)
	}
	r.mustRestore(before, "srv", "etc/passwd")
}

// A state that names a directory with the copies of the image's files removes none of them.
func TestSetConfigsOldStateOfEtc(t *testing.T) {
	r := setConfigs(t, `{"command": "c"}`)
	r.write("etc/a", "configured")
	r.write("etc/kolla/defaults/etc/a", "image")
	r.write(stateFile, `{"/etc/kolla": {"source": "/etc/kolla", "dest": null},
		"/etc/a": {"source": "/etc/a", "dest": "/etc/kolla/defaults/etc/a"}}`)
	if out := r.configureInTime(0); !strings.Contains(out, "WARNING /etc/kolla is not restored") {
		t.Errorf("no warning:\n%s", out)
	}
	if got := r.read("etc/a"); got != "image" {
		t.Errorf("/etc/a is %q", got)
	}
}
