package setcopy

import (
	"errors"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/usererr"
)

func TestParseLocation(t *testing.T) {
	for _, tc := range []struct{ text, want, wrong string }{
		{"localhost:4000/kolla:2026.1", "localhost:4000/kolla:2026.1", ""},
		{"site.example/team/kolla", "site.example/team/kolla", ""},
		{"[::1]:4000/kolla:t", "[::1]:4000/kolla:t", ""},
		{"localhost/kolla", "localhost/kolla", ""},
		{"kolla", "", "registry"},
		{"kolla:2026.1", "", "registry"},
		{"team/kolla", "", "host"},
		{"localhost:4000", "", "namespace"},
		{"localhost:4000/", "", "namespace"},
		{"https://site.example/kolla", "", "scheme"},
		{"site.example/Kolla", "", "upper-case"},
		{"site.example/kolla:a b", "", "tag"},
		{"site.example/kolla@sha256:" + strings.Repeat("0", 64), "", "digest"},
		{"", "", "registry"},
	} {
		l, err := ParseLocation(tc.text)
		switch {
		case tc.wrong == "" && (err != nil || l.String() != tc.want):
			t.Errorf("%q is %v (%v), want %s", tc.text, l, err, tc.want)
		case tc.wrong != "" && (err == nil || !strings.Contains(err.Error(), tc.wrong)):
			t.Errorf("%q: error %v does not mention %s", tc.text, err, tc.wrong)
		}
		var usage *usererr.Error
		if err != nil && (!errors.As(err, &usage) || !usage.Usage) {
			t.Errorf("%q: %v is not a mistake on the command line", tc.text, err)
		}
	}
}

func TestParseTarget(t *testing.T) {
	set := Location{"localhost:4000", "kolla", "candidate"}
	for _, tc := range []struct{ text, want, wrong string }{
		{"2026.1", "localhost:4000/kolla:2026.1", ""},
		{":2026.1", "localhost:4000/kolla:2026.1", ""},
		{"localhost:4000/other", "localhost:4000/other:candidate", ""},
		{"localhost:4000/other:t", "localhost:4000/other:t", ""},
		{"site.example/kolla:t", "", "another registry"},
		{"kolla:t", "", "registry is missing"},
		{"a b", "", "tag"},
	} {
		l, err := parseTarget(set, tc.text)
		switch {
		case tc.wrong == "" && (err != nil || l.String() != tc.want):
			t.Errorf("%q is %v (%v), want %s", tc.text, l, err, tc.want)
		case tc.wrong != "" && (err == nil || !strings.Contains(err.Error(), tc.wrong)):
			t.Errorf("%q: error %v does not mention %s", tc.text, err, tc.wrong)
		}
	}
}
