package dockerfiles_test

import (
	"strings"
	"testing"
)

// added is a patch without a prefix of git that adds a file.
func added(from, to string) string {
	return "--- " + from + "\n+++ " + to + "\n@@ -0,0 +1 @@\n+new\n"
}

// TestKollaPatchLevels applies patches in the forms of several tools. Those that add files belong
// to the source with their directories.
func TestKollaPatchLevels(t *testing.T) {
	const epoch = "\t1970-01-01 01:00:00.000000000 +0100"
	const today = "\t2026-11-29 08:00:00.000000000 +0100"
	for name, test := range map[string]struct{ patch, option, file, want string }{
		"quilt":                 {added("/dev/null", "nova-1.0/nova/new.py"), "", "nova/nova/new.py", "new\n"},
		"quilt_of_plugin":       {added("/dev/null", "plug-2/plug/new.py"), "", "plugins/plug/plug/new.py", "new\n"},
		"no_prefix":             {added("/dev/null", "plug/new.py"), "", "plugins/plug/plug/new.py", "new\n"},
		"no_prefix_of_plugin":   {added("/dev/null", "plug/doc/new.py"), "", "plugins/plug/plug/doc/new.py", "new\n"},
		"installed":             {added("/dev/null", "opt/nova/new.py"), "", "opt/nova/new.py", "new\n"},
		"diff_N":                {added("x.orig/plug/new.py"+epoch, "x/plug/new.py"+today), "", "plugins/plug/plug/new.py", "new\n"},
		"diff_N_in_America":     {added("x.orig/plug/new.py\t1969-12-31 19:00:00 -0500", "x/plug/new.py"+today), "", "plugins/plug/plug/new.py", "new\n"},
		"git_into_no_directory": {newFile("new.cfg"), "", "nova/new.cfg", "new\n"},
		"option":                {added("/dev/null", "nova-1.0/new.cfg"), " -p1", "nova/new.cfg", "new\n"},
		"two_levels":            {added("/dev/null", "b/plug-2/plug/new.py"), " -p2", "plugins/plug/plug/new.py", "new\n"},
		"sql": {"--- a/plug/schema.sql\n+++ b/plug/schema.sql\n@@ -1,2 +1,2 @@\n--- comment\n+++ text\n keep\n" + newFile("plug/new.py"), "",
			"plugins/plug/plug/schema.sql", "++ text\nkeep\n"},
		"sql_in_new_directory": {newFile("plug/new.py") + "--- a/plug/schema.sql\n+++ b/plug/schema.sql\n@@ -1,2 +1 @@\n--- comment\n keep\n", "",
			"plugins/plug/plug/schema.sql", "keep\n"},
		"windows": {strings.ReplaceAll(added("/dev/null", "nova-1.0/nova/new.py"), "\n", "\r\n"), "", "nova/nova/new.py", "new\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newScratchRoot(t, "/usr/bin/patch", "/bin/bash")
			r.install("base/kolla_patch.sh", "opt/kolla_patch")
			r.write("nova/nova/api.py", "one\n")
			r.write("nova/doc/index", "one\n")
			r.write("plugins/plug/plug/schema.sql", "-- comment\nkeep\n")
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
			if got := r.read(test.file); got != test.want {
				t.Errorf("%s is %q, want %q", test.file, got, test.want)
			}
		})
	}
}

// TestKollaPatchAddsToNoSource fails, because no source has the directory of the new file.
func TestKollaPatchAddsToNoSource(t *testing.T) {
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
