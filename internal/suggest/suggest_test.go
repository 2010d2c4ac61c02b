package suggest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	names := []string{"nova-api", "nova-base", "base-tag", "push", "threads", "tag", "type"}
	for _, c := range []struct{ name, want string }{
		{"nova-apii", "nova-api"},
		{"nova-pai", "nova-api"}, // two letters exchanged
		{"nvoa-api", "nova-api"},
		{"NOVA_API", "nova-api"},
		{"base_tag", "base-tag"},
		{"psuh", "push"},
		{"treads", "threads"},
		{"tga", "tag"},
		{"threads", ""}, // the name itself is not suggested
		{"x", ""},       // no letter in common
		{"keystone", ""},
		{"", ""},
		{strings.Repeat("a", 500), ""},
	} {
		if got := Nearest(c.name, names); got != c.want {
			t.Errorf("Nearest(%q) = %q, want %q", c.name, got, c.want)
		}
	}
	variables := []string{"heka_packages_append", "nova_base_packages_append"}
	if got := Nearest("nova_pakages_append", variables); got != variables[1] {
		t.Errorf("a variable of the same service: %q", got)
	}
	if got := Nearest("ab", []string{"ad", "ac"}); got != "ac" {
		t.Errorf("equally similar names: %q, want the first in alphabetical order", got)
	}
}

func TestNear(t *testing.T) {
	names := []string{"neutron-server", "nova-api", "nova-apl", "nova-api-metadata", "api", "nova-api"}
	if got, want := Near("nova-apj", names, 3), []string{"nova-api", "nova-apl", "api"}; !slices.Equal(got, want[:2]) &&
		!slices.Equal(got, want) {
		t.Errorf("Near = %v", got)
	}
	if got, want := Near("neutron", names, 3), []string{"neutron-server"}; !slices.Equal(got, want) {
		t.Errorf("Near = %v, want %v", got, want)
	}
	if got := Near("nova-apk", names, 1); !slices.Equal(got, []string{"nova-api"}) {
		t.Errorf("Near with limit 1 = %v", got)
	}
	if got := Near("glance", names, 3); len(got) != 0 {
		t.Errorf("Near = %v, want nothing", got)
	}
}

func TestNearParts(t *testing.T) {
	names := []string{"neutron-server", "nova-api", "nova-base", "zun-api"}
	for name, want := range map[string][]string{
		"noova":    {"nova"},
		"nova-apj": {"nova-api"},
		"run":      nil,
		"launch":   nil,
	} {
		if got := NearParts(name, names, 3); !slices.Equal(got, want) {
			t.Errorf("NearParts(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	if got, want := DidYouMean("bse", []string{"base"}), `did you mean "base"?`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := DidYouMean("unknown", []string{"base"}); got != "" {
		t.Errorf("got %q, want no hint", got)
	}
}

// FuzzDistance compares with the textbook's algorithm, which has no exchanges.
func FuzzDistance(f *testing.F) {
	f.Add("nova", "nvoa", 2)
	f.Add("", "abc", 3)
	f.Fuzz(func(t *testing.T, a, b string, limit int) {
		if len(a) > 30 || len(b) > 30 || limit < 1 || limit > 10 {
			t.Skip()
		}
		got, want := distance([]rune(a), []rune(b), limit), plainLevenshtein([]rune(a), []rune(b))
		if got > want && got <= limit {
			t.Errorf("distance(%q, %q, %d) = %d, more than the %d edits without exchanges", a, b, limit, got, want)
		}
		if want <= limit && got > want {
			t.Errorf("distance(%q, %q, %d) = %d, want at most %d", a, b, limit, got, want)
		}
		if got <= limit && got < want-1 { // an exchange saves one edit
			t.Errorf("distance(%q, %q, %d) = %d, too small beside %d", a, b, limit, got, want)
		}
	})
}

func plainLevenshtein(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func TestDidYouMeanOfMany(t *testing.T) {
	packages := []string{"figlet", "chrony", "http", "httpd", "python3-openstackclient", "memcached", "vim", "vine"}
	for name, want := range map[string]string{
		"figglet": "figlet", "chrnoy": "chrony", "memcachd": "memcached", "python3-openstakclient": "python3-openstackclient",
		"pyton3-openstakclient": "python3-openstackclient", "vi": "vim", "figgletz": "", "mecachd": "", "nosuch": "", "": "",
	} {
		got := DidYouMeanOfMany(name, packages)
		if want != "" {
			want = fmt.Sprintf("did you mean %q?", want)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
