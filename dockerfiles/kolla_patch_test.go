package dockerfiles_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

func diffOf(file, from, to string) string {
	return "--- " + file + "\n+++ " + file + "\n@@ -1 +1 @@\n-" + from + "\n+" + to + "\n"
}

func TestKollaPatch(t *testing.T) {
	for name, script := range oursAndKollas("base/kolla_patch.sh", "base/kolla_patch.sh") {
		t.Run(name, func(t *testing.T) {
			r := newScratchRoot(t, "/usr/bin/patch", "/bin/bash")
			r.install(script, "opt/kolla_patch")
			for _, f := range []string{"a", "b", "c"} {
				r.write("srv/"+f, "one\n")
			}
			patch := func(want int) string {
				t.Helper()
				code, out := r.run(nil, "/bin/bash", "/opt/kolla_patch")
				if code != want {
					t.Fatalf("exit status %d, want %d:\n%s", code, want, out)
				}
				return out
			}
			if err := os.MkdirAll(r.path("etc/kolla"), 0o755); err != nil {
				t.Fatal(err)
			}
			patch(0) // no series, nothing to do

			// An image, then its child: each applies its own, none twice.
			r.write("patches/series", "# first\na.patch\nsub/b#1.patch\n")
			r.write("patches/a.patch", diffOf("srv/a", "one", "two"))
			r.write("patches/sub/b#1.patch", diffOf("srv/b", "one", "two"))
			r.write("patches/unused.patch", diffOf("srv/c", "one", "never"))
			patch(0)
			if r.read("srv/a")+r.read("srv/b")+r.read("srv/c") != "two\ntwo\none\n" {
				t.Errorf("%q %q %q", r.read("srv/a"), r.read("srv/b"), r.read("srv/c"))
			}
			if r.exists("patches/series") {
				t.Error("the series is left for the child to apply again")
			}
			r.write("patches/series", "a.patch\nc.patch\n")
			r.write("patches/c.patch", diffOf("srv/c", "one", "three"))
			patch(0)
			if r.read("srv/a") != "two\n" || r.read("srv/c") != "three\n" {
				t.Errorf("in the child: %q %q", r.read("srv/a"), r.read("srv/c"))
			}

			// A patch that does not apply fails the build and is named.
			r.write("patches/series", "bad.patch\n")
			r.write("patches/bad.patch", diffOf("srv/a", "something else", "four"))
			if out := patch(1); !strings.Contains(out, "bad.patch") {
				t.Errorf("the patch is not named: %s", out)
			}
		})
	}
}

// gitDiff is a patch as git makes it: a change of a file and a new file.
func gitDiff(prefix, file, from, to, added string) string {
	return "From 0123 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] fix\n\ndiff --git a/" + prefix + file + " b/" + prefix +
		file + "\n--- a/" + prefix + file + "\n+++ b/" + prefix + file +
		"\n@@ -1 +1 @@\n-" + from + "\n+" + to + "\n" + newFile(prefix+added)
}

func newFile(name string) string {
	return "diff --git a/" + name + " b/" + name + "\nnew file mode 100644\n--- /dev/null\n+++ b/" + name + "\n@@ -0,0 +1 @@\n+new\n"
}

// TestKollaPatchSources applies patches to unpacked sources before they are installed,
// with the strip level of the series or the one that fits, and makes files that a
// patch adds part of the package.
func TestKollaPatchSources(t *testing.T) {
	testenv.Slow(t)
	r := newScratchRoot(t, "/usr/bin/patch", "/bin/bash", "/usr/bin/git")
	r.install("base/kolla_patch.sh", "opt/kolla_patch")
	kollaPatch := func(want int, args ...string) string {
		t.Helper()
		code, out := r.run(nil, append([]string{"/bin/bash", "/opt/kolla_patch"}, args...)...)
		if code != want {
			t.Fatalf("exit status %d, want %d:\n%s", code, want, out)
		}
		return out
	}
	r.write("src/nova-1/nova/api.py", "one\n")
	r.write("src/nova-1/nova.egg-info/SOURCES.txt", "nova/api.py\n")
	if err := os.Symlink("src/nova-1", r.path("nova")); err != nil {
		t.Fatal(err)
	}
	r.write("plugins/plug/plug/main.py", "one\n")
	if code, out := r.run(nil, "/bin/bash", "-c",
		"cd /plugins/plug && git init -q . && git add -A && git -c user.name=t -c user.email=t@localhost commit -qm one"); code != 0 {
		t.Fatalf("git: %s", out)
	}
	r.write("var/lib/kolla/venv/site.py", "one\n")
	r.write("patches/git.patch", gitDiff("", "nova/api.py", "one", "two", "nova/data.json"))
	r.write("patches/explicit.patch", strings.ReplaceAll(gitDiff("x/", "nova/api.py", "two", "three", "nova/more.json"),
		"\n+++", "\n+++"))
	r.write("patches/plugin.patch", gitDiff("", "plug/main.py", "one", "two", "plug/data.json"))
	r.write("patches/only-adds.patch", newFile("nova/added.py"))
	r.write("patches/reverse.patch", diffOf("nova/api.py", "four", "three"))
	r.write("patches/installed.patch", diffOf("var/lib/kolla/venv/site.py", "one", "two"))
	r.write("patches/installed1.patch", gitDiff("", "var/lib/kolla/venv/site.py", "two", "three",
		"var/lib/kolla/venv/new.py"))
	// Line ends of Windows, a comment, and no end of the last line.
	r.write("patches/series", "# fixes\ngit.patch -p1\r\nexplicit.patch -p2 # two "+
		"levels\nplugin.patch\nonly-adds.patch\nreverse.patch -R\ninstalled.patch\ninstalled1.patch")
	if out := kollaPatch(0, "sources", "/nova", "/plugins/plug", "/none"); !strings.Contains(out,
		"trying installed.patch on the installed files later: no source has its files") {
		t.Errorf("sources: %s", out)
	}
	for name, want := range map[string]string{
		"src/nova-1/nova/api.py": "four\n", "src/nova-1/nova/data.json": "new\n", "src/nova-1/nova/more.json": "new\n",
		"src/nova-1/nova/added.py": "new\n", "plugins/plug/plug/main.py": "two\n", "var/lib/kolla/venv/site.py": "one\n",
	} {
		if got := r.read(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := r.read("src/nova-1/nova.egg-info/SOURCES.txt"); !strings.Contains(got, "nova/data.json\n") ||
		!strings.Contains(got, "nova/more.json\n") {
		t.Errorf("SOURCES.txt lacks the new files: %s", got)
	}
	if code, out := r.run(nil, "/bin/bash", "-c", "git -C /plugins/plug -c safe.directory='*' ls-files"); code != 0 ||
		!strings.Contains(out, "plug/data.json") {
		t.Errorf("git lacks the new file: %s", out)
	}

	// The build stage has applied its patches; the others apply to installed files.
	if err := os.MkdirAll(r.path("mnt/etc/kolla"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(r.path("etc/kolla/patched"), r.path("mnt/etc/kolla/patched")); err != nil {
		t.Fatal(err)
	}
	kollaPatch(0, "adopt", "/mnt")
	kollaPatch(0)
	if got := r.read("var/lib/kolla/venv/site.py") + r.read("var/lib/kolla/venv/new.py"); got != "three\nnew\n" {
		t.Errorf("installed files: %q", got)
	}

	// A patch that applies to nothing fails the build, also as the last one.
	r.write("patches/nowhere.patch", gitDiff("", "cinder/api.py", "one", "two", "cinder/new.py"))
	r.write("patches/series", "git.patch\nnowhere.patch -p1")
	kollaPatch(0, "sources", "/nova")
	if out := kollaPatch(1); !strings.Contains(out, "nowhere.patch does not apply") {
		t.Errorf("a patch of nothing: %s", out)
	}
	for patch, reason := range map[string]string{
		gitDiff("", "nova/api.py", "never there", "two",
			"nova/x.py"): "nova/api.py: Hunk #1 FAILED at 1. (in /src/nova-1, with -p1)",
		gitDiff("", "nova/gone.py", "one", "two", "nova/x.py"):      "no file b/nova/gone.py (in /src/nova-1, with -p1)",
		newFile("plug/main.py"):                                     "plug/main.py already exists (in /plugins/plug, with -p1)",
		gitDiff("", "cinder/api.py", "one", "two", "cinder/new.py"): "no source and no installed file a/cinder/api.py",
		"--- a/nova/api.py\n+++ b/nova/api.py\n@@ -1 +1 @@\n-one\n": "nova/api.py: patch: **** malformed patch at line",
		diffOf("var/lib/kolla/venv/site.py", "never there",
			"two"): "var/lib/kolla/venv/site.py: Hunk #1 FAILED at 1. (in /, with -p0)",
	} {
		r.write("patches/failing.patch", patch)
		r.write("patches/series", "failing.patch")
		kollaPatch(0, "sources", "/nova", "/plugins/plug")
		if out := kollaPatch(1); !strings.Contains(out, "kolla_patch: failing.patch does not apply: "+reason) {
			t.Errorf("%s: the reason is not %q: %s", patch, reason, out)
		}
	}
	r.write("patches/series", "other.patch --binary\n")
	if out := kollaPatch(2); !strings.Contains(out, "unknown option --binary") {
		t.Errorf("an unknown option: %s", out)
	}
}

// TestKollaPatchWithoutGit patches a source with a .git directory where git is not installed.
func TestKollaPatchWithoutGit(t *testing.T) {
	testenv.Slow(t)
	r := newScratchRoot(t, "/usr/bin/patch", "/bin/bash")
	r.install("base/kolla_patch.sh", "opt/kolla_patch")
	r.write("nova/.git/HEAD", "ref: refs/heads/master\n")
	r.write("nova/nova/api.py", "one\n")
	r.write("patches/series", "change.patch\nadd.patch\n")
	r.write("patches/change.patch", diffOf("nova/api.py", "one", "two"))
	r.write("patches/add.patch", newFile("nova/added.py"))
	// A directory with the programs that it needs, without git.
	for _, program := range strings.Fields("bash cat dirname find grep head mkdir patch realpath rm sed sleep sort touch tr") {
		target, err := os.Readlink(filepath.Join("/usr/bin", program))
		if err != nil || filepath.IsAbs(target) {
			target = program
		}
		if err := os.MkdirAll(r.path("programs"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/usr/bin/"+target, r.path("programs/"+program)); err != nil {
			t.Fatal(err)
		}
	}
	code, out := r.run(nil, "/bin/bash", "-c", "PATH=/programs; . /opt/kolla_patch sources /nova")
	if code != 0 || r.read("nova/nova/api.py")+r.read("nova/nova/added.py") != "two\nnew\n" {
		t.Fatalf("exit status %d:\n%s", code, out)
	}
	if strings.Count(out, "git is not installed: the files that add.patch adds may be missing in the package of /nova") != 1 ||
		strings.Contains(out, "change.patch adds") {
		t.Errorf("about git: %s", out)
	}
}

// TestKollaPatchOfManyFiles applies patches whose list of files is longer than a pipe holds.
func TestKollaPatchOfManyFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes thousands of files")
	}
	r := newScratchRoot(t, "/usr/bin/patch", "/bin/bash")
	r.install("base/kolla_patch.sh", "opt/kolla_patch")
	var change, add strings.Builder
	for i := range 3000 {
		file := fmt.Sprintf("nova/%0100d.py", i)
		r.write("src/"+file, "one\n")
		change.WriteString(diffOf(file, "one", "two"))
		if i%2 == 0 {
			add.WriteString("--- /dev/null\n+++ " + file + ".new\n@@ -0,0 +1 @@\n+new\n")
		}
	}
	r.write("patches/series", "change.patch\nadd.patch\n")
	r.write("patches/change.patch", change.String())
	r.write("patches/add.patch", add.String())
	code, out := r.run(nil, "/bin/bash", "/opt/kolla_patch", "sources", "/src")
	if code != 0 || r.read("etc/kolla/patched") != "change.patch\nadd.patch\n" {
		t.Errorf("exit status %d, applied %q:\n%.2000s", code, r.read("etc/kolla/patched"), out)
	}
}
