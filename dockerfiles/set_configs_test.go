package dockerfiles_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// setConfigs is a root with the real kolla_set_configs and a configuration.
func setConfigs(t *testing.T, config string) *scratchRoot {
	r := newScratchRoot(t, "/usr/bin/python3")
	r.install("base/set_configs.py", "opt/kolla_set_configs")
	if config != "" {
		r.write("var/lib/kolla/config_files/config.json", config)
	}
	return r
}

func (r *scratchRoot) configure(strategy string, args ...string) (int, string) {
	r.t.Helper()
	var env []string
	if strategy != "" {
		env = append(env, "KOLLA_CONFIG_STRATEGY="+strategy)
	}
	return r.run(env, append([]string{"/usr/bin/python3", "/opt/kolla_set_configs"}, args...)...)
}

func (r *scratchRoot) mustConfigure(args ...string) {
	r.t.Helper()
	if status, out := r.configure("COPY_ALWAYS", args...); status != 0 {
		r.t.Fatalf("exit status %d\n%s", status, out)
	}
}

// mustRestore starts with a configuration without files, and compares directories with what
// they were before they were configured.
func (r *scratchRoot) mustRestore(before string, directories ...string) {
	r.t.Helper()
	r.write("var/lib/kolla/config_files/config.json", `{"command": "c"}`)
	r.mustConfigure()
	if after := r.tree(directories...); after != before {
		r.t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}

func (r *scratchRoot) wantMode(name string, mode os.FileMode) {
	r.t.Helper()
	info, err := os.Stat(r.path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != mode {
		r.t.Errorf("%s has mode %o, want %o", name, got, mode)
	}
}

// wantOwner is about users other than root, whom only root can give files.
func (r *scratchRoot) wantOwner(name string, uid uint32) {
	r.t.Helper()
	if os.Getuid() != 0 {
		return
	}
	info, err := os.Stat(r.path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t).Uid; got != uid {
		r.t.Errorf("%s belongs to %d, want %d", name, got, uid)
	}
}

const keystoneConfig = `{
  "command": "keystone-manage db_version",
  "config_files": [
    {"source": "/var/lib/kolla/config_files/keystone.conf", "dest": "/etc/keystone/keystone.conf", "owner": "keystone", "perm": "0600"},
    {"source": "/var/lib/kolla/config_files/*.ini", "dest": "/etc/keystone/", "owner": "keystone:kolla", "perm": "640"},
    {"source": "/var/lib/kolla/config_files/domains", "dest": "/etc/keystone/domains", "owner": "keystone", "perm": "0640"},
    {"source": "/var/lib/kolla/config_files/not-there", "dest": "/etc/keystone/not-there", "owner": "root", "perm": "0600", "optional": true}
  ],
  "directories": [{"path": "/var/lib/keystone/keys", "owner": "keystone", "perm": "0700"}],
  "files": [{"path": "/var/log/keystone.log", "owner": "keystone", "perm": "0644"}],
  "permissions": [{"path": "/srv/data", "owner": "keystone", "perm": "0640", "recurse": true, "exclude": ["lost\\+found", "\\.snap$"]}]
}`

func keystoneRoot(t *testing.T) *scratchRoot {
	r := setConfigs(t, keystoneConfig)
	r.write("var/lib/kolla/config_files/keystone.conf", "[DEFAULT]\n")
	r.write("var/lib/kolla/config_files/a.ini", "a")
	r.write("var/lib/kolla/config_files/b.ini", "b")
	r.write("var/lib/kolla/config_files/domains/one/x.conf", "x")
	r.write("srv/data/file", "")
	r.write("srv/data/lost+found/file", "")
	r.write("srv/data/old.snap", "")
	return r
}

func TestSetConfigsCopies(t *testing.T) {
	r := keystoneRoot(t)
	r.write("etc/keystone/domains/gone.conf", "from the image")
	r.mustConfigure()

	for name, want := range map[string]string{
		"run_command":                     "keystone-manage db_version",
		"etc/keystone/keystone.conf":      "[DEFAULT]\n",
		"etc/keystone/a.ini":              "a",
		"etc/keystone/b.ini":              "b",
		"etc/keystone/domains/one/x.conf": "x",
		"var/log/keystone.log":            "",
	} {
		if got := r.read(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if r.exists("etc/keystone/domains/gone.conf") {
		t.Error("a directory is replaced, not merged, unless asked for")
	}
	if r.exists("etc/keystone/not-there") {
		t.Error("an optional source that is missing made a file")
	}
	r.wantMode("run_command", 0o644)
	r.wantMode("etc/keystone/keystone.conf", 0o600)
	r.wantMode("etc/keystone/a.ini", 0o640)
	r.wantMode("etc/keystone/domains/one", 0o750) // who may read may enter
	r.wantMode("etc/keystone/domains/one/x.conf", 0o640)
	r.wantMode("var/lib/keystone/keys", 0o700)
	r.wantMode("var/log/keystone.log", 0o644)
	r.wantMode("srv/data/file", 0o640)
	r.wantMode("srv/data/old.snap", 0o644)
	r.wantOwner("etc/keystone/keystone.conf", 42425)
	r.wantOwner("srv/data/file", 42425)
	r.wantOwner("srv/data/lost+found/file", 0)
	r.wantOwner("srv/data/old.snap", 0)
}

func TestSetConfigsMerge(t *testing.T) {
	r := setConfigs(t, `{"command": "true", "config_files": [
		{"source": "/config/tree", "dest": "/etc/tree", "preserve_properties": true, "merge": true}]}`)
	r.write("etc/tree/kept", "kept")
	r.write("etc/tree/sub/changed", "old")
	r.write("config/tree/sub/changed", "new")
	if err := os.Chmod(r.path("config/tree/sub/changed"), 0o751); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub/changed", r.path("config/tree/link")); err != nil {
		t.Fatal(err)
	}
	r.mustConfigure()
	if got := r.read("etc/tree/kept") + r.read("etc/tree/sub/changed"); got != "keptnew" {
		t.Errorf("merged to %q", got)
	}
	r.wantMode("etc/tree/sub/changed", 0o751)
	if target, err := os.Readlink(r.path("etc/tree/link")); err != nil || target != "sub/changed" {
		t.Errorf("the link is %q, %v", target, err)
	}
	if status, out := r.configure("", "--check"); status != 0 {
		t.Errorf("--check after a merge: %d\n%s", status, out)
	}
}

// Files that a configuration no longer names are restored from the image, regardless of
// the number of starts in between.
func TestSetConfigsRestoresDefaults(t *testing.T) {
	testenv.Slow(t)
	const entry = `{"source": "/config/a", "dest": "/etc/a", "owner": "root", "perm": "0600"},
		{"source": "/config/b", "dest": "/etc/b", "owner": "root", "perm": "0600"}`
	r := setConfigs(t, `{"command": "true", "config_files": [`+entry+`]}`)
	r.write("etc/a", "default")
	r.write("config/a", "configured")
	r.write("config/b", "configured")
	for range 3 {
		r.mustConfigure()
		if r.read("etc/a") != "configured" || r.read("etc/b") != "configured" {
			t.Fatal("not configured")
		}
	}
	r.write("var/lib/kolla/config_files/config.json", `{"command": "true"}`)
	if status, out := r.configure("", "--check"); status != 1 ||
		!strings.Contains(out, "not in the configuration any more") {
		t.Errorf("--check: %d\n%s", status, out)
	}
	for range 2 {
		r.mustConfigure()
		if got := r.read("etc/a"); got != "default" {
			t.Errorf("/etc/a is %q", got)
		}
		if r.exists("etc/b") {
			t.Error("/etc/b, which the image did not have, is still there")
		}
	}
}

func TestSetConfigsStrategies(t *testing.T) {
	testenv.Slow(t)
	r := setConfigs(t, `{"command": "one"}`)
	if status, out := r.configure("COPY_ONCE"); status != 0 || !r.exists("configured") {
		t.Fatalf("first start: %d\n%s", status, out)
	}
	r.write("var/lib/kolla/config_files/config.json", `{"command": "two"}`)
	if status, out := r.configure("COPY_ONCE"); status != 0 || r.read("run_command") != "one" {
		t.Errorf("second start: %d, command %q\n%s", status, r.read("run_command"), out)
	}
	r.mustConfigure()
	if r.read("run_command") != "two" {
		t.Error("COPY_ALWAYS did not copy")
	}
	for _, strategy := range []string{"", "COPY_SOMETIMES"} {
		if status, out := r.configure(strategy); status != 1 || !strings.Contains(out, "KOLLA_CONFIG_STRATEGY must be") {
			t.Errorf("strategy %q: %d\n%s", strategy, status, out)
		}
	}
}

func TestSetConfigsCheck(t *testing.T) {
	testenv.Slow(t)
	change := map[string]func(r *scratchRoot){
		"the content of":    func(r *scratchRoot) { r.write("etc/keystone/domains/one/x.conf", "y") },
		"has the mode 0666": func(r *scratchRoot) { os.Chmod(r.path("etc/keystone/a.ini"), 0o666) },
		"does not exist":    func(r *scratchRoot) { os.Remove(r.path("etc/keystone/b.ini")) },
		"the command is":    func(r *scratchRoot) { r.write("run_command", "false") },
		"not of the same type": func(r *scratchRoot) {
			os.RemoveAll(r.path("etc/keystone/domains/one"))
			r.write("etc/keystone/domains/one", "")
		},
	}
	if os.Getuid() == 0 {
		change["belongs to 0:0"] = func(r *scratchRoot) { os.Chown(r.path("etc/keystone/keystone.conf"), 0, 0) }
	}
	for want, breakIt := range change {
		t.Run(strings.ReplaceAll(want, " ", "_"), func(t *testing.T) {
			r := keystoneRoot(t)
			if status, _ := r.configure("", "--check"); status != 1 {
				t.Errorf("before the first start: %d", status)
			}
			r.mustConfigure()
			if status, out := r.configure("", "--check"); status != 0 {
				t.Fatalf("unchanged: %d\n%s", status, out)
			}
			breakIt(r)
			if status, out := r.configure("", "--check"); status != 1 || !strings.Contains(out, want) {
				t.Errorf("exit status %d, want 1 and %q in\n%s", status, want, out)
			}
		})
	}
}

func TestSetConfigsErrors(t *testing.T) {
	testenv.Slow(t)
	for _, test := range []struct {
		name, config, want string
		status             int
	}{
		{"no_file", ``, "config.json: No such file", 1},
		{"no_json", `{"command": `, "config.json: Expecting value", 1},
		{"no_object", `[]`, "not an object", 1},
		{"no_command", `{}`, `"command" is missing`, 1},
		{"no_dest", `{"command": "x", "config_files": [{"source": "/a"}]}`, `config_files[0] lacks "dest"`, 1},
		{"no_owner", `{"command": "x", "config_files": [{"source": "/a", "dest": "/b", "perm": "0600"}]}`,
			`needs "owner" and "perm"`, 1},
		{"unknown_key", `{"command": "x", "config_files": [{"source": "/a", "dest": "/b", "ower": "x"}]}`,
			`did you mean "owner"?`, 1},
		{"bad_perm", `{"command": "x", "permissions": [{"path": "/", "owner": "root", "perm": "rwx"}]}`,
			`"rwx" is not a permission`, 1},
		{"perm_number", `{"command": "x", "permissions": [{"path": "/", "owner": "root", "perm": 644}]}`,
			"644 is not in quotation marks", 1},
		{"perm_zero", `{"command": "x", "directories": [{"path": "/srv/d", "owner": "root", "perm": 0}]}`,
			"0 is not in quotation marks", 1},
		{"perm_false", `{"command": "x", "permissions": [{"path": "/", "owner": "root", "perm": false}]}`,
			"False is not in quotation marks", 1},
		{"same_file", `{"command": "x", "config_files": [{"source": "/etc/passwd", "dest": "/etc/", "owner": "root", "perm": "0600"}]}`, "/etc/passwd and /etc/passwd are the same file", 1},
		{"in_source", `{"command": "x", "config_files": [{"source": "/opt", "dest": "/opt/d/", "owner": "root", "perm": "0600"}]}`, "/opt/d/opt is in the source, /opt", 1},
		{"root_as_source", `{"command": "x", "config_files": [{"source": "/", "dest": "/srv/d", "owner": "root", "perm": "0600"}]}`, "/srv/d is in the source, /", 1},
		{"merge_into_etc", `{"command": "x", "config_files": [{"source": "/opt", "dest": "/etc", "owner": "root", "perm": "0600", "merge": true}]}`, "/etc cannot be replaced or merged into", 1},
		{"merge_into_root", `{"command": "x", "config_files": [{"source": "/opt/", "dest": "/", "owner": "root", "perm": "0600", "merge": true}]}`, "/ cannot be replaced or merged into", 1},
		{"in_source_through_link", `{"command": "x", "config_files": [{"source": "/srv/current", "dest": "/srv/releases/copy", "owner": "root", "perm": "0600"}]}`, "/srv/releases/copy is in the source, /srv/current", 1},
		{"merge_into_source_through_link", `{"command": "x", "config_files": [{"source": "/srv/a", "dest": "/srv/d", "owner": "root", "perm": "0600", "merge": true}]}`, "/srv/d is in the source, /srv/a", 1},
		{"same_through_link", `{"command": "x", "config_files": [{"source": "/srv/current", "dest": "/srv/releases", "owner": "root", "perm": "0600"}]}`, "/srv/current and /srv/releases are the same file", 1},
		{"in_source_through_inner_link", `{"command": "x", "config_files": [{"source": "/srv/outer", "dest": "/srv/releases/copy", "owner": "root", "perm": "0600"}]}`, "/srv/releases/copy/inner is in the source, /srv/outer/inner", 1},
		{"merge_into_link_to_etc", `{"command": "x", "config_files": [{"source": "/opt", "dest": "/srv/etc", "owner": "root", "perm": "0600", "merge": true}]}`, "/srv/etc cannot be replaced or merged into", 1},
		{"replace_etc", `{"command": "x", "config_files": [{"source": "/opt", "dest": "/srv/etc/.", "owner": "root", "perm": "0600"}]}`, "/srv/etc/. cannot be replaced or merged into", 1},
		{"replace_etc_through_parent", `{"command": "x", "config_files": [{"source": "/opt", "dest": "/etc/kolla/..", "owner": "root", "perm": "0600"}]}`, "/etc/kolla/.. cannot be replaced or merged into", 1},
		{"state", `{"command": "x", "config_files": [{"source": "/etc/passwd", "dest": "/etc/kolla/defaults/state", "owner": "root", "perm": "0600"}]}`, "/etc/kolla/defaults/state cannot be a destination", 1},
		{"no_perm", `{"command": "x", "config_files": [{"source": "/a", "dest": "/b", "owner": "root"}]}`,
			`needs "owner" and "perm"`, 1},
		{"null_owner", `{"command": "x", "config_files": [{"source": "/a", "dest": "/b", "owner": null, "perm": "0600"}]}`,
			`needs "owner" and "perm"`, 1},
		{"directory_glob", `{"command": "x", "directories": [{"path": "/a*", "owner": "root", "perm": "0700"}]}`,
			"cannot have wildcards", 1},
		{"file_parent", `{"command": "x", "files": [{"path": "/no/dir", "owner": "root", "perm": "0700"}]}`,
			"the directory of /no/dir does not exist", 1},
		{"missing_source", `{"command": "x", "config_files": [{"source": "/a", "dest": "/b", "owner": "root", "perm": "0600"}]}`, "the source does not exist: /a", 1},
		{"unknown_user", `{"command": "x", "permissions": [{"path": "/etc", "owner": "no-such-user"}]}`,
			`this image has no user "no-such-user"`, 1},
		{"unknown_user_of_nothing", `{"command": "x", "permissions": [{"path": "/none", "owner": "no-such-user"}]}`,
			`this image has no user "no-such-user"`, 1},
		{"owner_number", `{"command": "x", "permissions": [{"path": "/etc", "owner": 42425}]}`,
			`permissions[0]: "owner" is not a string: 42425`, 1},
		{"path_list", `{"command": "x", "directories": [{"path": ["/a"], "owner": "root", "perm": "0700"}]}`,
			`"path" is not a string`, 1},
		{"source_number", `{"command": "x", "config_files": [{"source": 0, "dest": "/b", "owner": "root", "perm": "0600"}]}`, `"source" is not a string: 0`, 1},
		{"exclude_text", `{"command": "x", "permissions": [{"path": "/none", "owner": "root", "exclude": "log"}]}`,
			`permissions[0]: "exclude" is not a list`, 1},
		{"exclude_expression", `{"command": "x", "permissions": [{"path": "/none", "owner": "root", "exclude": ["("]}]}`,
			`"exclude" has the invalid expression (`, 1},
		{"unexpected", `{"command": "x", "directories": [{"path": "/etc/passwd/x", "owner": "root", "perm": "0700"}]}`,
			"Unexpected error", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := setConfigs(t, test.config)
			for name, content := range map[string]string{
				"srv/releases/file": "F", "srv/current": "->/srv/releases", "srv/a/sub/file": "F",
				"srv/d": "->/srv/a/sub", "srv/etc": "->/etc",
				"srv/outer/inner": "->/srv/releases", "etc/kolla/.": "",
			} {
				r.writeOrLink(name, content)
			}
			if status, out := r.run([]string{"KOLLA_CONFIG_STRATEGY=COPY_ALWAYS"}, "timeout", "60",
				"/usr/bin/python3", "/opt/kolla_set_configs"); status != test.status || !strings.Contains(out, test.want) {
				t.Errorf("exit status %d, want %d and %q in\n%s", status, test.status, test.want, out)
			}
		})
	}
}

// A service may create links in its directories that refer to the image's files. The next
// start must not give those files to the service. Links from the image or an administrator
// are followed, as in Kolla.
func TestSetConfigsServiceLinks(t *testing.T) {
	testenv.Root(t) // only root can give a link another owner
	r := setConfigs(t, `{"command": "true", "permissions": [
		{"path": "/var/log/kolla/keystone/*.log", "owner": "keystone", "perm": "0666"},
		{"path": "/var/lib/keystone", "owner": "keystone", "perm": "0770", "recurse": true},
		{"path": "/var/log/kolla/other", "owner": "keystone", "perm": "0666", "recurse": true}]}`)
	r.write("etc/shadow", "secret")
	r.write("etc/keystone/image", "")
	r.write("var/lib/keystone/file", "")
	r.write("var/log/kolla/keystone/file.log", "")
	for name, target := range map[string]string{
		"var/log/kolla/keystone/service.log": "/etc/shadow",
		"var/lib/keystone/service":           "/etc/shadow",
		"var/lib/keystone/directory":         "/etc",
		"var/lib/keystone/image":             "/etc/keystone/image",
		"var/log/kolla/other":                "/etc",
	} {
		r.writeOrLink(name, "->"+target)
		if target != "/etc/keystone/image" {
			if err := os.Lchown(r.path(name), 42425, 42425); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.mustConfigure()
	r.wantMode("etc", 0o755)
	r.wantOwner("etc", 0)
	r.wantMode("etc/shadow", 0o644)
	r.wantOwner("etc/shadow", 0)
	for name, mode := range map[string]os.FileMode{
		"etc/keystone/image": 0o770, "var/lib/keystone/file": 0o770, "var/log/kolla/keystone/file.log": 0o666,
	} {
		r.wantMode(name, mode)
		r.wantOwner(name, 42425)
	}
}

// A service may replace a directory in the path of a destination by a link. Nothing is
// written to its target, and links of root are followed.
func TestSetConfigsLinksInDestinations(t *testing.T) {
	testenv.Slow(t)
	testenv.Root(t) // only root can give a link another owner
	const owner = `, "owner": "keystone", "perm": "0660"`
	files := `{"command": "c", "files": [{"path": "/etc/keystone/sub/new", "owner": "keystone", "perm": "0660"}]}`
	directories := strings.Replace(files, "files", "directories", 1)
	for name, config := range map[string]string{
		"file": entry("a", "/etc/keystone/sub/new", owner), "wildcard": entry("a*", "/etc/keystone/sub/", owner),
		"merge": entry("tree", "/etc/keystone", owner+`, "merge": true`), "files": files, "directories": directories,
	} {
		t.Run(name, func(t *testing.T) {
			for uid, target := range map[int]string{0: "/image", 42425: "/etc/sudoers.d"} {
				r := setConfigs(t, config)
				r.write("config/a", "A")
				r.write("config/tree/sub/new", "A")
				r.write("image/old", "old")
				r.write("etc/sudoers.d/old", "old")
				r.writeOrLink("etc/keystone/sub", "->"+target)
				if err := os.Lchown(r.path("etc/keystone/sub"), uid, uid); err != nil {
					t.Fatal(err)
				}
				status, out := r.configure("COPY_ALWAYS")
				// A merged directory replaces the link, as a file does.
				if refused := uid != 0 && name != "merge"; refused != (status == 1) ||
					refused != strings.Contains(out, "ERROR ForeignLink") {
					t.Errorf("link of %d: exit status %d\n%s", uid, status, out)
				}
				if got := r.tree("etc/sudoers.d"); strings.Count(got, "\n") != 1 || strings.Contains(got, "42425") {
					t.Errorf("link of %d: the target is\n%s", uid, got)
				}
				if uid == 0 && strings.Count(r.tree("image"), "\n") != 2 {
					t.Errorf("the link of root was not followed:\n%s", r.tree("image"))
				}
			}
		})
	}
}

// raceSetConfigs runs kolla_set_configs. Before or after a call of one of its functions,
// given by its number, and those that follow, a service replaces a file by a link.
const raceSetConfigs = `
import importlib.machinery, os, sys
program = importlib.machinery.SourceFileLoader('program', '/opt/kolla_set_configs').load_module()
module, function, when, call, path, target = sys.argv[1:]
owner = program if module == 'program' else getattr(program, module)
original = getattr(owner, function)
calls = []
def replace():
    if len(calls) < int(call) or os.path.islink(path):
        return
    if os.path.lexists(path):
        os.rename(path, path + '.old')
    os.symlink(target, path)
    os.lchown(path, 42425, 42425)
def racing(*args, **kwargs):
    calls.append(args)
    if when == 'before':
        replace()
    result = original(*args, **kwargs)
    if when == 'after':
        replace()
    return result
setattr(owner, function, racing)
sys.argv = sys.argv[:1]
status = program.main()
print('replaced' if len(calls) >= int(call) else 'not replaced')
sys.exit(status)
`

// A service may replace what it owns by a link at any moment between two system calls.
func TestSetConfigsRaces(t *testing.T) {
	testenv.Slow(t)
	testenv.Root(t)
	const owner = `, "owner": "keystone", "perm": "0660"`
	permissions := `{"command": "c", "permissions": [{"path": "/etc/keystone", "owner": "keystone", "perm": "0660", "recurse": true}]}`
	for _, test := range []struct{ name, config, module, function, when, call, path, target string }{
		{"new_file", entry("a", "/etc/keystone/a", owner), "program", "remove", "after", "1",
			"/etc/keystone/a", "/etc/victim/file"},
		{"copied_file", entry("a", "/etc/keystone/a", owner), "shutil", "copyfileobj", "after", "1",
			"/etc/keystone/a", "/etc/victim/file"},
		{"owner", permissions, "os", "chown", "before", "3", "/etc/keystone/sub/file", "/etc/victim/file"},
		{"mode", permissions, "os", "chmod", "before", "4", "/etc/keystone/sub/file", "/etc/victim/file"},
		{"directory", permissions, "os", "chown", "before", "3", "/etc/keystone/sub", "/etc/victim"},
		{"directory_of_tree", entry("tree", "/etc/keystone/tree", owner), "program", "parse_owner", "after", "1",
			"/etc/keystone/tree", "/etc/victim"},
		{"saved", entry("a", "/etc/keystone/sub", owner), "program", "load_state", "after", "1",
			"/etc/keystone/sub/file", "/etc/victim/file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := setConfigs(t, test.config)
			r.write("opt/race.py", raceSetConfigs)
			for name, content := range map[string]string{"config/a": "A", "config/tree/file": "A",
				"etc/keystone/sub/file": "old", "etc/victim/file": "victim"} {
				r.write(name, content)
			}
			before := r.tree("etc/victim")
			status, out := r.run([]string{"KOLLA_CONFIG_STRATEGY=COPY_ALWAYS"}, "/usr/bin/python3", "/opt/race.py",
				test.module, test.function, test.when, test.call, test.path, test.target)
			if strings.Contains(out, "not replaced") {
				t.Fatalf("exit status %d; no file was replaced\n%s", status, out)
			}
			if after := r.tree("etc/victim"); after != before {
				t.Errorf("exit status %d; the link's target was\n%s\nand is\n%s\n%s", status, before, after, out)
			}
			if got := r.tree("etc/kolla", "etc/keystone"); regexp.MustCompile(`:\d+ victim`).MatchString(got) {
				t.Errorf("the link's target was copied:\n%s", got)
			}
		})
	}
}

// The environment may name another configuration, but not that of a service
// that called through sudo.
func TestSetConfigsEnvironment(t *testing.T) {
	testenv.Slow(t)
	r := setConfigs(t, `{"command": "file"}`)
	r.write("other.json", `{"command": "other"}`)
	r.write("other.yaml", "command: yaml\n")
	for _, test := range []struct{ env, sudo, want string }{
		{`KOLLA_CONFIG={"command": "env"}`, "", "env"},
		{`KOLLA_CONFIG={"command": "env"}`, "0", "env"},
		{`KOLLA_CONFIG={"command": "env"}`, "42425", "file"},
		{"KOLLA_CONFIG_FILE=/other.json", "", "other"},
		{"KOLLA_CONFIG_FILE=/other.json", "42425", "file"},
		{"KOLLA_CONFIG_FILE=/other.yaml", "", "yaml"},
	} {
		env := []string{"KOLLA_CONFIG_STRATEGY=COPY_ALWAYS", test.env}
		if test.sudo != "" {
			env = append(env, "SUDO_UID="+test.sudo)
		}
		status, out := r.run(env, "/usr/bin/python3", "/opt/kolla_set_configs")
		if strings.Contains(out, "PyYAML") {
			t.Log("PyYAML is not on this machine")
			continue
		}
		if status != 0 || r.read("run_command") != test.want {
			t.Errorf("%s with SUDO_UID=%s: %d, command %q, want %q\n%s",
				test.env, test.sudo, status, r.read("run_command"), test.want, out)
		}
	}
	if matches, _ := filepath.Glob(r.path("etc/kolla/defaults/*")); len(matches) != 1 {
		t.Errorf("no file was configured, yet defaults has %v", matches)
	}
}
