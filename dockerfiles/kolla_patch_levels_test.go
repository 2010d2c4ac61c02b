package dockerfiles_test

import (
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// added is a patch without a prefix of git that adds a file.
func added(from, to string) string {
	return "--- " + from + "\n+++ " + to + "\n@@ -0,0 +1 @@\n+new\n"
}

// emptyFile is a patch as git makes it for a new file without content, which has no names but those in its first line.
func emptyFile(name string) string {
	return "diff --git a/" + name + " b/" + name + "\nnew file mode 100644\nindex 0000000..e69de29\n"
}

const mail = "From 0123 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] fix\n\n"

// TestKollaPatchLevels applies patches in the forms of several tools. Those that add files belong
// to the source with their directories.
func TestKollaPatchLevels(t *testing.T) {
	testenv.Slow(t)
	const epoch = "\t1970-01-01 01:00:00.000000000 +0100"
	const today = "\t2026-11-29 08:00:00.000000000 +0100"
	for name, test := range map[string]struct{ patch, option, file, want string }{
		"quilt":               {added("/dev/null", "nova-1.0/nova/new.py"), "", "nova/nova/new.py", "new\n"},
		"quilt_of_plugin":     {added("/dev/null", "plug-2/plug/new.py"), "", "plugins/plug/plug/new.py", "new\n"},
		"no_prefix":           {added("/dev/null", "plug/new.py"), "", "plugins/plug/plug/new.py", "new\n"},
		"no_prefix_of_plugin": {added("/dev/null", "plug/doc/new.py"), "", "plugins/plug/plug/doc/new.py", "new\n"},
		"installed":           {added("/dev/null", "opt/nova/new.py"), "", "opt/nova/new.py", "new\n"},
		"diff_N": {added("x.orig/plug/new.py"+epoch, "x/plug/new.py"+today), "",
			"plugins/plug/plug/new.py", "new\n"},
		"diff_N_in_America": {added("x.orig/plug/new.py\t1969-12-31 19:00:00 -0500", "x/plug/new.py"+today), "",
			"plugins/plug/plug/new.py", "new\n"},
		"git_into_no_directory": {newFile("new.cfg"), "", "nova/new.cfg", "new\n"},
		"option":                {added("/dev/null", "nova-1.0/new.cfg"), " -p1", "nova/new.cfg", "new\n"},
		"two_levels":            {added("/dev/null", "b/plug-2/plug/new.py"), " -p2", "plugins/plug/plug/new.py", "new\n"},
		"sql": {"--- a/plug/schema.sql\n+++ b/plug/schema.sql\n@@ -1,2 +1,2 @@\n--- comment\n+++ text\n keep\n" + newFile("plug/new.py"), "",
			"plugins/plug/plug/schema.sql", "++ text\nkeep\n"},
		"sql_in_new_directory": {newFile("plug/new.py") + "--- a/plug/schema.sql\n+++ b/plug/schema.sql\n@@ -1,2 +1 @@\n--- comment\n keep\n", "",
			"plugins/plug/plug/schema.sql", "keep\n"},
		"git_empty_file": {emptyFile("nova/sub/__init__.py"), "", "nova/nova/sub/__init__.py", ""},
		"git_empty_file_of_plugin": {emptyFile("plug/sub/__init__.py") + newFile("plug/sub/new.py"), "",
			"plugins/plug/plug/sub/__init__.py", ""},
		"git_empty_file_last": {gitDiff("", "plug/main.py", "one", "two", "plug/new.py") + emptyFile("plug/last.py"),
			"", "plugins/plug/plug/last.py", ""},
		"hunk_in_message": {strings.Replace(mail+newFile("plug/new.py"), "\n\n", "\n\n@@ -1,30 +1,30 @@\n\n", 1),
			"", "plugins/plug/plug/new.py", "new\n"},
		"hunk_in_second_message": {mail + newFile("a.cfg") + "-- \n2.43\n\n" +
			strings.Replace(mail+newFile("plug/new.py"), "\n\n", "\n\n@@ -1,30 +1,30 @@\n\n",
				1), "", "plugins/plug/plug/new.py", "new\n"},
		"new_directory": {gitDiff("", "nova/api.py", "one", "two", "releasenotes/notes/x.yaml"), "",
			"nova/releasenotes/notes/x.yaml", "new\n"},
		"new_directory_first": {newFile("more/x.yaml") + gitDiff("", "plug/main.py", "one", "two", "notes/x.yaml"), "",
			"plugins/plug/notes/x.yaml", "new\n"},
		"reverse": {"diff --git a/plug/new.py b/plug/new.py\ndeleted file mode 100644\n--- a/plug/new.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-new\n", " -R", "plugins/plug/plug/new.py", "new\n"},
		"empty_file_changed": {"--- a/nova/empty.py\n+++ b/nova/empty.py\n@@ -0,0 +1 @@\n+new\n", "",
			"plugins/z/nova/empty.py", "new\n"},
		"epoch": {"--- nova/api.py" + epoch + "\n+++ nova/api.py" + epoch + "\n@@ -1 +1 @@\n-one\n+two\n" +
			added("notes/x"+epoch, "notes/x"+epoch), "", "nova/notes/x", "new\n"},
		"epoch_before": {"--- x/y/nova/api.py" + epoch + "\n+++ x/y/nova/api.py" + today + "\n@@ -1 +1 @@\n-one\n+two\n",
			"", "nova/nova/api.py", "two\n"},
		"absolute": {"diff --git a/plug/main.py /opt/plug/main.py\ndeleted file mode 100644\nindex ab4f9c2..052dd34 100644\n" +
			"--- a/plug/main.py\n+++ /opt/plug/main.py\n@@ -1 +1 @@\n-one\n+two\n", "", "opt/plug/main.py", "two\n"},
		"absolute_before": {"--- /opt/plug/main.py\n+++ plug/main.py\n@@ -1 +1 @@\n-one\n+two\n", "", "opt/plug/main.py", "two\n"},
		"absolute_new":    {added("/dev/null", "/opt/new.py"), "", "opt/new.py", "new\n"},
		"absolute_reverse": {"--- /opt/plug/main.py\n+++ /opt/plug/main.py\n@@ -1 +1 @@\n-two\n+one\n", " -R",
			"opt/plug/main.py", "two\n"},
		"windows": {strings.ReplaceAll(added("/dev/null", "nova-1.0/nova/new.py"), "\n", "\r\n"), "",
			"nova/nova/new.py", "new\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newScratchRoot(t, "/usr/bin/patch", "/bin/bash")
			r.install("base/kolla_patch.sh", "opt/kolla_patch")
			r.write("nova/nova/api.py", "one\n")
			r.write("nova/doc/index", "one\n")
			r.write("plugins/plug/plug/schema.sql", "-- comment\nkeep\n")
			r.write("plugins/plug/plug/main.py", "one\n")
			r.write("plugins/z/nova/empty.py", "")
			r.write("opt/plug/main.py", "one\n")
			r.write("patches/series", "a.patch"+test.option+"\n")
			r.write("patches/a.patch", test.patch)
			for _, args := range [][]string{{"sources", "/nova", "/plugins/*"}, nil} {
				command := "/opt/kolla_patch " + strings.Join(args, " ")
				if code, out := r.run(nil, "/bin/bash", "-c", "/bin/bash "+command); code != 0 {
					t.Fatalf("%s: exit status %d:\n%s", command, code, out)
				}
			}
			if !r.exists(test.file) {
				t.Fatalf("%s was not written:\n%s", test.file, r.tree("nova", "plugins", "opt"))
			}
			if r.exists("nova/a") || r.exists("nova/b") {
				t.Errorf("a prefix of git was written:\n%s", r.tree("nova", "plugins", "opt"))
			}
			if got := r.read(test.file); got != test.want {
				t.Errorf("%s is %q, want %q", test.file, got, test.want)
			}
		})
	}
}

// TestKollaPatchAddsToNoSource fails, because no source has the directory of the new file.
func TestKollaPatchAddsToNoSource(t *testing.T) {
	testenv.Slow(t)
	r := newScratchRoot(t, "/usr/bin/patch", "/bin/bash")
	r.install("base/kolla_patch.sh", "opt/kolla_patch")
	r.write("nova/nova/api.py", "one\n")
	r.write("patches/series", "a.patch\n")
	for _, file := range []string{"cinder/new.py", "cinder-1.0/cinder/new.py"} {
		r.write("patches/a.patch", added("/dev/null", file))
		r.write("patches/series", "a.patch\n")
		if code, out := r.run(nil, "/bin/bash", "/opt/kolla_patch", "sources", "/nova"); code != 0 {
			t.Fatalf("exit status %d:\n%s", code, out)
		}
		code, out := r.run(nil, "/bin/bash", "/opt/kolla_patch")
		if code != 1 || !strings.Contains(out, "a.patch does not apply: no source and no installed file "+file) {
			t.Errorf("exit status %d:\n%s", code, out)
		}
	}
}
