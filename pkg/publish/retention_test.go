package publish

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

var tonight = time.Date(2026, 11, 22, 21, 0, 0, 0, time.UTC)

func TestDatedTags(t *testing.T) {
	for tag, shape := range map[string]string{
		"2026-11-22":              "####-##-##",
		"20261122":                "########",
		"nightly-20261122":        "nightly-########",
		"2026.11.22-debian":       "####.##.##-debian",
		"2026-11-22.2":            "####-##-##",
		"t-2026-11-22-2":          "t-####-##-##",
		"2026-11-22.12-debian":    "####-##-##-debian",
		"20261122-0300":           "########-####",
		"20261122T030000Z":        "########T######Z",
		"202611220300":            "############",
		"2025.2-debian-2026-11-2": "",
		"2025.2-debian-20261122":  "2025.2-debian-########",
		"master-debian-trixie":    "",
		"2026-13-22":              "",
		"2026-02-30":              "",
		"2026-11.22":              "",
		"120261122":               "",
		"v1.2.3":                  "",
	} {
		d, ok := parseDated(tag)
		if ok != (shape != "") || d.shape != shape {
			t.Errorf("%s: shape %q (%v), want %q", tag, d.shape, ok, shape)
		}
	}
}

func TestRetention(t *testing.T) {
	for _, c := range []struct{ retain, own, have, removed string }{
		{"2", "2026-11-22", "2026-11-20 2026-11-21 2026-11-22 latest v1", "2026-11-20"},
		{"2", "2026-11-22", "2026-11-20 2026-11-21", "2026-11-20"}, // the run's own tag counts even if it does not exist yet
		{"1", "2026-11-22", "2026-11-21 20261101 nightly-2026-11-01 2026-11-21-debian", "2026-11-21"},
		{"3", "2026-11-22.2", "2026-11-22.1 2026-11-22.10 2026-11-21.9 2026-11-01", "2026-11-01 2026-11-21.9"},
		{"2", "2026-11-22.2", "2026-11-22 2026-11-21.1 2026-11-21", "2026-11-21 2026-11-21.1"},
		{"2", "2026-11-22", "2026-11-22-2 2026-11-21.1 2026-11-21", "2026-11-21 2026-11-21.1"},
		{"2", "t-2026-11-22-2", "t-2026-11-22 t-2026-11-21-3 t-2026-11-21", "t-2026-11-21 t-2026-11-21-3"},
		{"1", "2026-01-01", "2026-11-21 2026-11-22", "2026-11-21"}, // an old set that is published again is kept
		{"2d", "2026-11-22", "2026-11-19 2026-11-20 2026-11-21 2027-01-01", "2026-11-19"},
		{"1w", "2026-11-22", "2026-11-15 2026-11-14", "2026-11-14"},
		{"36h", "2026-11-22", "2026-11-20 2026-11-21", "2026-11-20"},
		{"1", "nightly-20261122 2026-11-22", "nightly-20261121 2026-11-21 weekly-20261121", "2026-11-21 nightly-20261121"},
	} {
		k, err := ParseRetention(c.retain, strings.Fields(c.own), tonight)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(slices.Sorted(maps.Keys(k.expired(strings.Fields(c.have)))), " ")
		if got != c.removed {
			t.Errorf("--retain %s --tag %s, with %s: %q are removed, want %q", c.retain, c.own, c.have, got, c.removed)
		}
	}
	for _, bad := range []string{"0", "0d", "14x", "-1", "all", "1.5d"} {
		if _, err := ParseRetention(bad, []string{"2026-11-22"}, tonight); err == nil {
			t.Errorf("--retain %s is accepted", bad)
		}
	}
	// With a mistyped year, all sets would be too old.
	for retain, ok := range map[string]bool{"30d": false, "8w": false, "14": true} {
		if _, err := ParseRetention(retain, []string{"nightly-2062-11-22"}, tonight); (err == nil) != ok {
			t.Errorf("--retain %s with a date in the future: %v", retain, err)
		}
	}
	if _, err := ParseRetention("30d", []string{"2026-11-23"}, tonight); err != nil {
		t.Error(err)
	}
}

// A set is removed from all repositories or from none, even if one has fewer tags.
func TestRetentionIsOfSets(t *testing.T) {
	k, err := ParseRetention("2", []string{"2026-11-22"}, tonight)
	if err != nil {
		t.Fatal(err)
	}
	inv := inventory{
		"h/kolla/a": {"2026-11-19", "2026-11-20", "2026-11-21", "2026-11-22", "nightly"},
		"h/kolla/b": {"2026-11-19", "2026-11-22"},
	}
	if got := strings.Join(inv.expired(k), " "); got != "h/kolla/a:2026-11-19 h/kolla/a:2026-11-20 h/kolla/b:2026-11-19" {
		t.Error(got)
	}
}

func TestUndatedTag(t *testing.T) {
	for _, c := range []struct {
		tag    string
		others []string
		want   string
	}{
		{"t", []string{"u"}, "t"},
		{"t-2026-11-22", []string{"20261122", "t"}, "t"},
		{"t-2026-11-22", nil, "t-2026-11-22"},
		{"t-2026-11-22", []string{"20261122"}, "t-2026-11-22"},
	} {
		if got := UndatedTag(c.tag, c.others); got != c.want {
			t.Errorf("%s %v: %s, want %s", c.tag, c.others, got, c.want)
		}
	}
}
