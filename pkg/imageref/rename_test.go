package imageref

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// TestRenameAsSed compares substitutions with those of sed -E.
func TestRenameAsSed(t *testing.T) {
	sed := testenv.Program(t, "sed", "sed")
	for _, name := range []string{"kolla/nova-api:2025.1", "lokolla/debian-nova-api:t", "nova:latest"} {
		for _, text := range []string{"s/nova/neutron/", "s|kolla/|site/|", "s,^,team/,", "s/a/b/g", "s/[ab]/x/2",
			"s/([a-z]+)-api/\\1-server/",
			`s/\//-/`, "s/-api:/&x/", "s/A/b/I", "s/o/0/2g", `s#:.*#:new#`, "s/x*/-/", `s/a/\&/`} {
			r, err := ParseRename(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			cmd := exec.Command(sed, "-E", text)
			cmd.Stdin = strings.NewReader(name)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("sed -E %s: %v", text, err)
			}
			if got := r.replace(name); got != strings.TrimSuffix(string(out), "\n") {
				t.Errorf("%s of %s: %q, sed %q", text, name, got, out)
			}
		}
	}
}

func TestRename(t *testing.T) {
	for _, c := range []struct{ text, name, want string }{
		{"s/kolla/site/", "kolla.example:5000/kolla/nova:t", "kolla.example:5000/site/nova:t"},
		{"s/^/team\\//", "debian:trixie", "team/debian:trixie"},
		{"s/t$/u/", "localhost:4000/kolla/nova:t", "localhost:4000/kolla/nova:u"},
		{"s/nothing/x/", "kolla/nova:t", "kolla/nova:t"},
	} {
		ref, err := ParseTag(c.name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ParseRename(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Apply(ref); err != nil || got.Familiar() != c.want {
			t.Errorf("%s of %s: %s, %v", c.text, c.name, got.Familiar(), err)
		}
	}
	ref, _ := ParseTag("kolla/nova:t")
	for _, text := range []string{"s/nova/NOVA/", "s/.*//", "s/:t/:!/", "s/nova:t/x@sha256:1/", "s|^|evil.example/|"} {
		r, err := ParseRename(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Apply(ref); err == nil {
			t.Errorf("%s gives %s", text, got)
		}
	}
	for _, text := range []string{"", "s", "s/", "s/a/", "s/a/b", "y/a/b/", "s/(/x/", "s/a/\\1/", "s/a/b/x", "s/a/b/0",
		"s//b/", "s/a/b/c/", "s\\a\\b\\", "s/a/b\\"} {
		if _, err := ParseRename(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func FuzzRename(f *testing.F) {
	f.Add("s/a(b)*/\\1&/g2", "kolla/nova:t")
	f.Fuzz(func(t *testing.T, text, name string) {
		r, err := ParseRename(text)
		if err != nil {
			return
		}
		ref, err := ParseTag(name)
		if err != nil {
			return
		}
		if out, err := r.Apply(ref); err == nil {
			if reparsed, err := ParseTag(out.Familiar()); err != nil || reparsed != out {
				t.Errorf("%s of %s: %s is not a name: %v", text, name, out, err)
			}
		}
	})
}

// An error contains the beginning of a value only, since what should be a name may be a
// whole file.
func TestErrorsAreShort(t *testing.T) {
	long := strings.Repeat("x/", 1<<20)
	_, asRename := ParseRename(long)
	_, asTag := ParseTag(long)
	for _, err := range []error{asRename, asTag} {
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("%.2000v", err)
		}
	}
}
