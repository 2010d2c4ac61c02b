package dockerfiles_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// patchScripts are our kolla_patch and, where KOLLA_CHECKOUT names a checkout of Kolla,
// its own: both are to leave the same files.
func patchScripts(t *testing.T) map[string]string {
	scripts := map[string]string{"ours": "base/kolla_patch.sh"}
	if dir := os.Getenv("KOLLA_CHECKOUT"); dir != "" {
		for _, p := range []string{"kolla/docker/base/kolla_patch.sh", "docker/base/kolla_patch.sh"} {
			if _, err := os.Stat(filepath.Join(dir, p)); err == nil {
				scripts["upstream's"] = filepath.Join(dir, p)
			}
		}
	}
	return scripts
}

func diffOf(file, from, to string) string {
	return "--- " + file + "\n+++ " + file + "\n@@ -1 +1 @@\n-" + from + "\n+" + to + "\n"
}

func TestKollaPatch(t *testing.T) {
	for name, script := range patchScripts(t) {
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

			// One that does not apply fails the build, and says which it is.
			r.write("patches/series", "bad.patch\n")
			r.write("patches/bad.patch", diffOf("srv/a", "something else", "four"))
			if out := patch(1); !strings.Contains(out, "bad.patch") {
				t.Errorf("it does not say which patch: %s", out)
			}
		})
	}
}
