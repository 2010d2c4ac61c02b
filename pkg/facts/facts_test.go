package facts

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/inifile"
)

// TestDataFiles checks that every data file can be read and has the required content.
func TestDataFiles(t *testing.T) {
	err := fs.WalkDir(files, "data", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := parse(name)
		if err != nil {
			t.Error(err)
			return nil
		}
		seen := map[string]bool{}
		for _, h := range f.Headers {
			if seen[h.Name] {
				t.Errorf("%s:%d: [%s] is there twice", name, h.Line, h.Name)
			}
			seen[h.Name] = true
			if user := strings.HasSuffix(h.Name, userSuffix); user != strings.HasSuffix(name, "/users.conf") &&
				!strings.Contains(name, "/releases/") && !strings.HasSuffix(name, "/users-extra.conf") {
				t.Errorf("%s:%d: [%s] does not belong there", name, h.Line, h.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestIDsAreUnique checks that no two users share an id.
func TestIDsAreUnique(t *testing.T) {
	owner := map[string]string{}
	master, _ := LookupRelease(Master)
	for _, e := range master.Users() {
		if e.Key != "uid" || e.Value == "" {
			continue
		}
		if other := owner[e.Value]; other != "" {
			t.Errorf("%s and %s have the uid %s", other, e.Section, e.Value)
		}
		owner[e.Value] = e.Section
	}
}

func TestReleases(t *testing.T) {
	entries, err := files.ReadDir("data/releases")
	if err != nil {
		t.Fatal(err)
	}
	names := Releases()
	if len(names) != len(entries) || names[0] != Master || names[1] != "2026.1" || names[len(names)-1] != "ussuri" {
		t.Errorf("%d files, in their order %v", len(entries), names)
	}
	for _, name := range names {
		r, ok := LookupRelease(name)
		if !ok || r.Codename == "" || r.Branch == "" {
			t.Errorf("%s: %+v", name, r)
		}
		for _, d := range Distros() {
			if _, ok := d.Release(r.BaseTag(d.Name)); !ok {
				t.Errorf("%s: the default tag %q of %s is of no release", name, r.BaseTag(d.Name), d.Name)
			}
		}
	}
	if r, ok := LookupRelease("2099.1"); ok || r.Branch != "stable-2099.1" || r.BaseTag("debian") != "trixie" {
		t.Errorf("%+v, %v", r, ok)
	}
}

func TestBaseTags(t *testing.T) {
	for release, want := range map[string]string{
		"master": "debian trixie rocky 10 centos stream10 ubuntu 24.04 oraclelinux 10",
		"2026.1": "debian trixie rocky 10 centos stream10 ubuntu 24.04 oraclelinux 10",
		"2025.2": "debian bookworm rocky 10 centos stream10 ubuntu 24.04",
		"2025.1": "debian bookworm rocky 9 centos stream9 ubuntu 24.04 oraclelinux 9",
		"2024.2": "debian bookworm rocky 9 centos stream9 ubuntu 24.04",
		"2024.1": "debian bookworm rocky 9 centos stream9 ubuntu 22.04",
		"2023.1": "debian bullseye rocky 9 centos stream9 ubuntu 22.04",
	} {
		r, _ := LookupRelease(release)
		words := strings.Fields(want)
		for i := 0; i < len(words); i += 2 {
			if got := r.BaseTag(words[i]); got != words[i+1] {
				t.Errorf("%s on %s: tag %q, want %q", release, words[i], got, words[i+1])
			}
		}
	}
}

// TestTags checks which release a tag of a base image contains.
func TestTags(t *testing.T) {
	for _, c := range []struct{ distro, tag, pretty, python string }{
		{"rocky", "9", "Rocky Linux 9.* (Blue Onyx)", "3.9"},
		{"rocky", "9.6", "Rocky Linux 9.* (Blue Onyx)", "3.9"},
		{"rocky", "9.5.20241118", "Rocky Linux 9.* (Blue Onyx)", "3.9"},
		{"rocky", "9-minimal", "Rocky Linux 9.* (Blue Onyx)", "3.9"},
		{"rocky", "10.0", "Rocky Linux 10.* (Red Quartz)", "3.12"},
		{"ubuntu", "jammy-20240627.1", "Ubuntu 22.04.* LTS", "3.10"},
		{"ubuntu", "24.04@sha256:" + strings.Repeat("0", 64), "Ubuntu 24.04.* LTS", "3.12"},
		{"debian", "bookworm-20250428", "Debian GNU/Linux 12 (bookworm)", "3.11"},
		{"debian", "12.10-slim", "Debian GNU/Linux 12 (bookworm)", "3.11"},
		{"debian", "trixie-slim", "Debian GNU/Linux 13 (trixie)", "3.13"},
		{"centos", "9", "CentOS Stream 9", "3.9"},
		{"centos", "stream10-minimal", "CentOS Stream 10", "3.12"},
		{"oraclelinux", "9-slim-fips", "Oracle Linux Server 9.*", "3.9"},
		{"debian", "mine", "Debian GNU/Linux 12 (bookworm)", "3.11"}, // not understood: that of the OpenStack release
		{"debian", "120", "Debian GNU/Linux 12 (bookworm)", "3.11"},
		{"rocky", "latest", "Rocky Linux 9.* (Blue Onyx)", "3.9"},
	} {
		r, _ := LookupRelease("2025.1")
		if got := r.DistroRelease(c.distro, c.tag); got.PrettyName != c.pretty || got.Python != c.python {
			t.Errorf("%s:%s is %+v, want %q with Python %s", c.distro, c.tag, got, c.pretty, c.python)
		}
	}
	debian, _ := LookupDistro("debian")
	for tag, want := range map[string]bool{"trixie": true, "13": true, "13-slim": true, "13.1": false,
		"trixie-20250428": false} {
		if r, ok := debian.Release(tag); !ok || r.Current(tag) != want {
			t.Errorf("debian:%s: %+v, current %v, want %v", tag, r, r.Current(tag), want)
		}
	}
	if _, ok := LookupDistro("gentoo"); ok {
		t.Error("there is no gentoo")
	}
}

func TestUnbuildable(t *testing.T) {
	const el = "hacluster-pcs nova-spicehtml5proxy ovsdpdk tgtd"
	for _, c := range []struct {
		target Target
		marked string
		absent string
	}{
		{Target{Master, "rocky", "10", "aarch64", "source", false}, "bifrost-base collectd " + el, "zun-base"},
		{Target{Master, "debian", "trixie", "x86_64", "source", false}, "", "tgtd bifrost-base zun-base"},
		{Target{Master, "debian", "trixie", "x86_64", "binary", false}, "zun-base", "tgtd"},
		{Target{Master, "debian", "bookworm", "x86_64", "source", true}, "valkey-base", "tgtd"},
		{Target{"2025.1", "debian", "bookworm", "x86_64", "source", false}, "openvswitch-netcontrold", "valkey-base"},
		{Target{"2025.2", "rocky", "10", "x86_64", "source", false}, "collectd redis-base telegraf " + el, "bifrost-base"},
		{Target{"2025.1", "rocky", "9.6", "x86_64", "source", false}, "collectd " + el, "redis-base telegraf"},
		{Target{"2025.1", "centos", "stream9", "x86_64", "source", false}, el, "collectd redis-base telegraf"},
		{Target{"2025.1", "centos", "stream10", "x86_64", "source", false}, "collectd redis-base telegraf " + el, ""},
		{Target{"2025.1", "debian", "bookworm", "x86_64", "source", false}, "openvswitch-netcontrold", "tgtd"},
		{Target{"2024.2", "centos", "stream9", "aarch64", "source", false}, "telegraf bifrost-base " + el, "collectd"},
		{Target{"2024.1", "ubuntu", "22.04", "aarch64", "source", false},
			"barbican-base bifrost-base prometheus-msteams prometheus-mtail", "tgtd openvswitch-netcontrold"},
	} {
		got := Unbuildable(c.target)
		for image := range strings.FieldsSeq(c.marked) {
			if got[image] == "" {
				t.Errorf("%+v: %s is not marked with a reason", c.target, image)
			}
		}
		for image := range strings.FieldsSeq(c.absent) {
			if got[image] != "" {
				t.Errorf("%+v: %s is marked: %s", c.target, image, got[image])
			}
		}
	}
}

// TestUnbuildableMarks checks that each mark has known words and, in the file of
// master, a reason, and that releases remove only existing marks.
func TestUnbuildableMarks(t *testing.T) {
	words := []string{"any", "builtin", "deb", "rpm", "x86_64", "aarch64", "binary", "source"}
	for _, d := range Distros() {
		words = append(words, d.Name)
		for _, r := range d.Releases {
			words = append(words, r.Name)
		}
	}
	check := func(file string, e *inifile.Entry) {
		for word := range strings.SplitSeq(e.Key, "+") {
			if !slices.Contains(words, word) {
				t.Errorf("%s:%d: unknown word %q", file, e.Line, word)
			}
		}
	}
	f, err := parse("data/unbuildable.conf")
	if err != nil {
		t.Fatal(err)
	}
	kolla := strings.Fields("bifrost-base collectd hacluster-pcs nova-spicehtml5proxy ovsdpdk tgtd") // marked by Kolla's master
	marked := map[string]bool{}
	var images []string
	for _, e := range f.Entries {
		if condition := strings.Split(e.Key, "+"); !slices.Contains(kolla, e.Section) &&
			!slices.Contains(condition, "binary") && !slices.Contains(condition, "builtin") {
			t.Errorf("unbuildable.conf:%d: Kolla builds %s: add builtin+ to the condition", e.Line, e.Section)
		}
		check("unbuildable.conf", e)
		if e.Value == "" {
			t.Errorf("unbuildable.conf:%d: no reason", e.Line)
		}
		marked[e.Section+" "+e.Key] = true
		images = append(images, e.Section)
	}
	if !slices.IsSorted(images) {
		t.Error("unbuildable.conf: the sections are not sorted")
	}
	for _, name := range Releases() {
		r, _ := LookupRelease(name)
		for _, e := range r.unbuildable {
			check(name, e)
			if e.Value == "" && !marked[e.Section+" "+e.Key] {
				t.Errorf("%s.conf:%d: newer releases have no %s for %s", name, e.Line, e.Key, e.Section)
			}
			marked[e.Section+" "+e.Key] = e.Value != ""
		}
	}
}

// sections returns the resulting values of assignments, by section.
func sections(entries []*inifile.Entry) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, e := range entries {
		name := strings.ToLower(e.Section)
		if out[name] == nil {
			out[name] = map[string]string{}
		}
		out[name][e.Key] = e.Value
		if (e.Key == "type" || e.Key == "uid") && e.Value == "" {
			delete(out, name)
		}
	}
	return out
}
