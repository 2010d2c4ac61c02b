package config

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestUnbuildable(t *testing.T) {
	got := Unbuildable(Target{"rocky", "el10", "aarch64", "source"})
	for _, image := range []string{"bifrost-base", "collectd", "tgtd"} {
		if got[image] == "" {
			t.Errorf("rocky, aarch64, source: %s is not marked with a reason", image)
		}
	}
	if got["zun-base"] != "" {
		t.Error("zun-base is marked for source")
	}
	got = Unbuildable(Target{"debian", "trixie", "x86_64", "binary"})
	if got["zun-base"] == "" || got["tgtd"] != "" {
		t.Errorf("debian, x86_64, binary: zun-base must be marked and tgtd must not: %v", got)
	}
}

// Each mark has known words and a reason.
func TestUnbuildableMarksAreWellFormed(t *testing.T) {
	ini, err := parseINI("unbuildable.conf", unbuildableFile)
	if err != nil {
		t.Fatal(err)
	}
	words := []string{"any", "deb", "rpm", "x86_64", "aarch64", "binary", "source"}
	for _, d := range Distros() {
		words = append(words, d.Name)
		for _, r := range d.Releases {
			words = append(words, ReleaseName(d.Name, r.Tags[0]))
		}
	}
	var sections []string
	for _, e := range ini.entries {
		sections = append(sections, e.section)
		if e.value == "" {
			t.Errorf("line %d: no reason", e.line)
		}
		for word := range strings.SplitSeq(e.key, "+") {
			if !slices.Contains(words, word) {
				t.Errorf("line %d: unknown word %q", e.line, word)
			}
		}
	}
	if !slices.IsSorted(sections) {
		t.Error("the sections are not sorted")
	}
	headers := map[string]bool{}
	for _, h := range ini.headers {
		if headers[h.name] {
			t.Errorf("line %d: [%s] occurs twice", h.line, h.name)
		}
		headers[h.name] = true
	}
	if len(ini.entries) == 0 || len(slices.Compact(slices.Sorted(maps.Keys(headers)))) == 0 {
		t.Fatal("no marks")
	}
}

func TestReleaseName(t *testing.T) {
	for _, c := range [][3]string{{"debian", "", "trixie"}, {"debian", "bookworm-slim", "bookworm"}, {"ubuntu", "22.04", "jammy"},
		{"centos", "stream9", "el9"}, {"rocky", "latest", "el10"}, {"debian", "mine", "trixie"}} {
		if got := ReleaseName(c[0], c[1]); got != c[2] {
			t.Errorf("ReleaseName(%s, %s) is %s, not %s", c[0], c[1], got, c[2])
		}
	}
}
