package dockerfiles_test

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// serviceLink makes a link that belongs to keystone, as chown -R in a Dockerfile leaves it.
func (r *scratchRoot) serviceLink(name, target string) {
	r.t.Helper()
	r.writeOrLink(name, "->"+target)
	if err := os.Lchown(r.path(name), 42425, 42425); err != nil {
		r.t.Fatal(err)
	}
}

func (r *scratchRoot) pipe(name string) {
	r.t.Helper()
	r.write(name, "")
	if err := os.Remove(r.path(name)); err != nil {
		r.t.Fatal(err)
	}
	if err := syscall.Mkfifo(r.path(name), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// configureInTime fails if kolla_set_configs waits for the writer of a pipe.
func (r *scratchRoot) configureInTime(want int, args ...string) string {
	r.t.Helper()
	status, out := r.run([]string{"KOLLA_CONFIG_STRATEGY=COPY_ALWAYS"},
		append([]string{"timeout", "30", "/usr/bin/python3", "/opt/kolla_set_configs"}, args...)...)
	if status != want {
		r.t.Fatalf("exit status %d, want %d\n%s", status, want, out)
	}
	return out
}

// A service must not be able to prevent the next start of its container. A pipe that it makes
// in place of a file is replaced, and is not a file of the image that could be restored.
func TestSetConfigsPipes(t *testing.T) {
	testenv.Slow(t)
	const owner = `, "owner": "keystone", "perm": "0660"`
	t.Run("destination", func(t *testing.T) {
		r := setConfigs(t, entry("a", "/etc/x", owner))
		r.write("config/a", "A")
		r.pipe("etc/x")
		r.configureInTime(0)
		if got := r.describe("etc/x"); got != "-rw-rw---- A" {
			t.Errorf("the pipe is now %q", got)
		}
		if err := os.Remove(r.path("etc/x")); err != nil {
			t.Fatal(err)
		}
		r.pipe("etc/x")
		if out := r.configureInTime(1, "--check"); !strings.Contains(out, "/config/a and /etc/x are not of the same type") {
			t.Errorf("--check:\n%s", out)
		}
		r.write("var/lib/kolla/config_files/config.json", `{"command": "c"}`)
		r.configureInTime(0)
		if r.exists("etc/x") {
			t.Error("a file that the image did not have is left")
		}
	})
	t.Run("merge", func(t *testing.T) {
		r := setConfigs(t, entry("tree", "/etc/x", owner+`, "merge": true`))
		r.write("config/tree/a", "A")
		r.write("etc/x/old", "old")
		r.pipe("etc/x/a")
		r.pipe("etc/x/pipe")
		if out := r.configureInTime(0); !strings.Contains(out,
			"WARNING /etc/x/pipe is not copied: it is neither a file nor a directory") {
			t.Errorf("no warning:\n%s", out)
		}
		if got := r.describe("etc/x/a"); got != "-rw-rw---- A" {
			t.Errorf("the pipe is now %q", got)
		}
		if got := r.describe("etc/kolla/defaults/etc/x/old"); got != "-rw-r--r-- old" {
			t.Errorf("the other file was kept as %q", got)
		}
	})
	t.Run("source", func(t *testing.T) {
		r := setConfigs(t, entry("a", "/etc/x", owner))
		r.pipe("config/a")
		if out := r.configureInTime(1); !strings.Contains(out,
			"the source /config/a is neither a file nor a directory; name one of these") {
			t.Errorf("no remedy:\n%s", out)
		}
	})
}

// configureLinks prepares a configuration of a file or a tree, and a target for links.
func configureLinks(t *testing.T, config string) *scratchRoot {
	t.Helper()
	r := setConfigs(t, config)
	r.write("config/a", "A")
	r.write("config/tree/a", "A")
	r.write("etc/target", "target")
	return r
}

// Links of the image belong to a service after chown -R. They are not followed, but they are
// restored, with their owner: a link of root would be followed.
func TestSetConfigsRestoresLinks(t *testing.T) {
	testenv.Slow(t)
	testenv.Root(t) // only root can give a link another owner
	const owner = `, "owner": "keystone", "perm": "0660"`
	for name, config := range map[string]string{
		"file": entry("a", "/etc/keystone/link", owner), "directory": entry("tree", "/etc/keystone", owner),
		"dangling": entry("a", "/etc/keystone/dangling", owner), "of_root": entry("a", "/etc/keystone/root", owner),
	} {
		t.Run(name, func(t *testing.T) {
			r := configureLinks(t, config)
			r.serviceLink("etc/keystone/link", "/etc/target")
			r.serviceLink("etc/keystone/dangling", "none")
			r.writeOrLink("etc/keystone/root", "->link")
			if err := os.Chown(r.path("etc/keystone"), 42425, 42425); err != nil {
				t.Fatal(err)
			}
			before := r.tree("etc/keystone", "etc/target")
			r.mustConfigure()
			r.mustConfigure()
			if r.tree("etc/keystone", "etc/target") == before {
				t.Fatal("nothing was configured")
			}
			if got := r.describe("etc/target"); got != "-rw-r--r-- target" {
				t.Errorf("the target of the link is %q", got)
			}
			r.mustRestore(before, "etc/keystone", "etc/target")
		})
	}
}

// A link in the middle of a path may be of the image. The message has the command that makes it
// root's, and with that the container starts.
func TestSetConfigsForeignLinkRemedy(t *testing.T) {
	testenv.Slow(t)
	testenv.Root(t) // only root can give a link another owner
	r := setConfigs(t, entry("a", "/etc/keystone/sub/a", `, "owner": "keystone", "perm": "0660"`))
	r.write("config/a", "A")
	r.write("image/old", "old")
	r.serviceLink("etc/keystone/sub", "/image")
	const remedy = "chown -h root /etc/keystone/sub"
	if status, out := r.configure("COPY_ALWAYS"); status != 1 || !strings.Contains(out, `"`+remedy+`"`) {
		t.Errorf("exit status %d\n%s", status, out)
	}
	if status, out := r.run(nil, strings.Fields(remedy)...); status != 0 {
		t.Fatal(out)
	}
	r.mustConfigure()
	if got := r.read("image/a"); got != "A" {
		t.Errorf("/image/a is %q", got)
	}
}

// Owners and modes of what cannot be reached are not changed, which is a warning.
func TestSetConfigsLoopingLinks(t *testing.T) {
	testenv.Slow(t)
	r := setConfigs(t, `{"command": "c", "permissions": [
		{"path": "/srv", "owner": "keystone", "perm": "0770", "recurse": true},
		{"path": "/srv/loop", "owner": "keystone", "perm": "0770", "recurse": true}]}`)
	r.write("srv/file", "")
	r.writeOrLink("srv/loop", "->loop")
	status, out := r.configure("COPY_ALWAYS")
	if status != 0 || strings.Count(out, "WARNING /srv/loop is not changed: Too many levels of symbolic links") != 2 {
		t.Errorf("exit status %d\n%s", status, out)
	}
	r.wantMode("srv/file", 0o770)
}

// The image's files are kept with their links. With links to their own directory, a copy that
// follows them has 40 levels for one link, and does not end for two.
func TestSetConfigsLinksToOwnDirectory(t *testing.T) {
	testenv.Slow(t)
	for name, links := range map[string][]string{"one": {"a"}, "two": {"a", "b"}} {
		t.Run(name, func(t *testing.T) {
			r := setConfigs(t, entry("tree", "/etc/x", `, "owner": "keystone", "perm": "0660"`))
			r.write("config/tree/file", "configured")
			r.write("etc/x/file", "image")
			for _, link := range links {
				r.writeOrLink("etc/x/"+link, "->.")
			}
			before := r.tree("etc/x")
			r.configureInTime(0)
			r.configureInTime(0)
			// The two directories, the file and the links.
			if kept := r.tree("etc/kolla/defaults/etc"); strings.Count(kept, "\n") > 3+len(links) {
				t.Errorf("more was kept than the image has:\n%.2000s", kept)
			}
			r.write("var/lib/kolla/config_files/config.json", `{"command": "c"}`)
			r.configureInTime(0)
			if after := r.tree("etc/x"); after != before {
				t.Errorf("it was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

// A file is kept where its path leads, and not through a link that was kept.
func TestSetConfigsKeepsFilesBehindLinks(t *testing.T) {
	testenv.Slow(t)
	r := setConfigs(t, `{"command": "c", "config_files": [
		{"source": "/config/tree", "dest": "/etc/x", "owner": "keystone", "perm": "0660"},
		{"source": "/config/a", "dest": "/etc/x/link/a", "owner": "keystone", "perm": "0660"}]}`)
	r.write("config/tree/file", "configured")
	r.write("config/a", "configured")
	r.write("srv/a", "image")
	r.writeOrLink("etc/x/link", "->/srv")
	before := r.tree("etc/x", "srv")
	r.mustConfigure()
	r.mustConfigure()
	if got := r.read("etc/x/link/a"); got != "configured" {
		t.Errorf("/etc/x/link/a is %q", got)
	}
	r.mustRestore(before, "etc/x", "srv")
}

// The owner of a link may be unable to write to its directory, which another service owns.
func TestSetConfigsRestoresLinksInForeignDirectories(t *testing.T) {
	testenv.Slow(t)
	testenv.Root(t) // only root can give a link another owner
	const owner = `, "owner": "keystone", "perm": "0660"`
	for name, config := range map[string]string{
		"top": entry("a", "/etc/x/sub/link", owner), "nested": entry("tree", "/etc/x/sub", owner),
	} {
		t.Run(name, func(t *testing.T) {
			r := configureLinks(t, config)
			r.serviceLink("etc/x/sub/link", "/etc/target")
			if err := os.Chown(r.path("etc/x/sub"), 42400, 42400); err != nil {
				t.Fatal(err)
			}
			before := r.tree("etc/x", "etc/target")
			r.mustConfigure()
			r.mustConfigure()
			r.mustRestore(before, "etc/x", "etc/target")
			if left := r.tree("etc/kolla/defaults"); strings.Contains(left, ".link-") {
				t.Errorf("a temporary directory is left:\n%s", left)
			}
		})
	}
}

func TestSetConfigsReplacesFilesOfServices(t *testing.T) {
	testenv.Root(t) // only root can give a link another owner
	r := setConfigs(t, `{"command": "c", "files": [
		{"path": "/srv/link", "owner": "keystone", "perm": "0660"},
		{"path": "/srv/dangling", "owner": "keystone", "perm": "0660"},
		{"path": "/srv/pipe", "owner": "keystone", "perm": "0660"}]}`)
	r.write("etc/target", "target")
	r.serviceLink("srv/link", "/etc/target")
	r.serviceLink("srv/dangling", "none")
	r.pipe("srv/pipe")
	if err := os.Lchown(r.path("srv/pipe"), 42425, 42425); err != nil {
		t.Fatal(err)
	}
	r.configureInTime(0)
	for _, name := range []string{"srv/link", "srv/dangling", "srv/pipe"} {
		if got := strings.TrimSpace(r.describe(name)); got != "-rw-rw----" {
			t.Errorf("%s is now %q", name, got)
		}
	}
	if got := r.describe("etc/target"); got != "-rw-r--r-- target" {
		t.Errorf("the target of the link is %q", got)
	}
	if err := os.Remove(r.path("srv/link")); err != nil {
		t.Fatal(err)
	}
	r.writeOrLink("srv/link", "->/etc/target")
	if out := r.configureInTime(1); !strings.Contains(out, "/srv/link exists, but is not a regular file") {
		t.Errorf("a link of root:\n%s", out)
	}
}

// --check follows the links that a start follows, and reports those of services.
func TestSetConfigsCheckOfLinks(t *testing.T) {
	testenv.Slow(t)
	testenv.Root(t) // only root can give a link another owner
	const config = `{"command": "c", "config_files": [
		{"source": "/config/a", "dest": "/srv/a", "owner": "keystone", "perm": "0660"},
		{"source": "/config/tree", "dest": "/srv/tree", "owner": "keystone", "perm": "0660"}]}`
	for name, test := range map[string]struct {
		change func(r *scratchRoot)
		want   string // "" if nothing differs
	}{
		"file": {func(r *scratchRoot) { r.serviceLink("srv/a", "copy") },
			"/srv/a: the link /srv/a belongs to uid 42425"},
		"middle": {func(r *scratchRoot) {
			rename(t, r.path("srv/tree/sub"), r.path("srv/moved"))
			r.serviceLink("srv/tree/sub", "../moved")
		}, "/srv/tree/sub/b: the link /srv/tree/sub belongs to uid 42425"},
		"dangling": {func(r *scratchRoot) { r.writeOrLink("srv/a", "->none") }, "/srv/a does not exist"},
		"to_itself": {func(r *scratchRoot) { r.writeOrLink("srv/a", "->a") },
			"/srv/a: Too many levels of symbolic links"},
		"of_root":       {func(r *scratchRoot) { r.writeOrLink("srv/a", "->copy") }, ""},
		"source_inside": {func(r *scratchRoot) { r.write("shared/c", "new") }, "the content of /srv/tree/link/c differs"},
	} {
		t.Run(name, func(t *testing.T) {
			r := setConfigs(t, config)
			r.write("config/a", "A")
			r.write("config/tree/sub/b", "B")
			r.write("shared/c", "C")
			r.writeOrLink("config/tree/link", "->/shared")
			r.mustConfigure()
			if out := r.configureInTime(0, "--check"); strings.Contains(out, "ERROR") {
				t.Fatal(out)
			}
			if name != "source_inside" && name != "middle" {
				rename(t, r.path("srv/a"), r.path("srv/copy"))
			}
			test.change(r)
			status := 0
			if test.want != "" {
				status = 1
			}
			if out := r.configureInTime(status, "--check"); !strings.Contains(out, test.want) {
				t.Errorf("--check does not contain %q:\n%s", test.want, out)
			}
			r.mustConfigure()
		})
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// chown -R gives links to the service. In the middle of a destination, they would end the
// container; macros.chown_tree leaves them to root. Scripts that run in containers may use it for
// directories whose content is not the image's.
func TestTemplatesLeaveLinksToRoot(t *testing.T) {
	exceptions := map[string]string{
		"base/extend_start_lib.sh":                                 "logs, in a volume",
		"ceilometer/ceilometer-notification/extend_start.sh":       "data, in a volume",
		"cinder/cinder-volume/extend_start.sh":                     "volumes that other containers write to",
		"letsencrypt/letsencrypt-lego/letsencrypt-certificates.sh": "certificates, in a volume",
	}
	templates, used := 0, map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == "testdata" {
			return cmp.Or(err, fs.SkipDir)
		}
		// The files for sudo allow commands, and run none.
		if d.IsDir() || filepath.Ext(path) == ".go" || strings.HasSuffix(path, "_sudoers") {
			return nil
		}
		if filepath.Ext(path) == ".j2" {
			templates++
		}
		content, err := os.ReadFile(path)
		for i, line := range strings.Split(string(content), "\n") {
			if !recursiveChown.MatchString(line) {
				continue
			}
			if exceptions[path] == "" {
				t.Errorf("%s:%d: use owned or macros.chown_tree: %s", path, i+1, line)
			}
			used[path] = true
		}
		return err
	})
	if err != nil || templates < 200 {
		t.Errorf("%d templates, %v", templates, err)
	}
	for path := range exceptions {
		if !used[path] {
			t.Errorf("%s does not use chown -R any more", path)
		}
	}
}

// recursiveChown matches the option anywhere in a command: chown -h -R, chown user: -R.
var recursiveChown = regexp.MustCompile(`\bchown\b[^;&|]*\s(-[a-zA-Z]*R|--recursive\b)`)

func TestRecursiveChown(t *testing.T) {
	for line, want := range map[string]bool{
		"chown -R a: /b": true, "RUN chown -h -R a: /b": true, "chown a: -R /b": true, "sudo chown -hR a /b": true,
		"chown --recursive a /b": true, "chown a /b && ls -R": false, "chown -h a /b": false, "chown a /b-R": false,
	} {
		if got := recursiveChown.MatchString(line); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

func TestChownTree(t *testing.T) {
	testenv.Root(t) // only root can give a file another owner
	_, files := renderTree(t, target{base: "debian", tag: "trixie", arch: "x86_64",
		installType: "source", release: "master"})
	command := ""
	for _, file := range files {
		if file.Name == "grafana" {
			command = regexp.MustCompile(`find /etc/grafana [^\n\\]*`).FindString(string(file.Content))
		}
	}
	r := newScratchRoot(t, "/usr/bin/find")
	r.write("etc/group", r.read("etc/group")+r.group("grafana", "42400"))
	r.write("etc/passwd", r.read("etc/passwd")+r.user("grafana", "42400"))
	r.write("etc/grafana/sub/file", "")
	r.writeOrLink("etc/grafana/sub/link", "->/etc/group")
	r.write("var/lib/grafana/file", "")
	if status, out := r.run(nil, "sh", "-c", command); command == "" || status != 0 {
		t.Fatalf("%q: exit status %d\n%s", command, status, out)
	}
	for _, name := range []string{"etc/grafana", "etc/grafana/sub", "etc/grafana/sub/file", "var/lib/grafana/file"} {
		r.wantOwner(name, 42400)
	}
	r.wantOwner("etc/group", 0)
	if link := r.tree("etc/grafana/sub/link"); !strings.Contains(link, " 0:0 ") {
		t.Errorf("the link is %s", link)
	}
}
