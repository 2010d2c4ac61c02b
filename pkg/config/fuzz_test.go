package config

import (
	"strings"
	"testing"
)

// FuzzExpand checks that expansion ends, that text without a dollar sign stays, and
// that doubling every dollar sign undoes it.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "a", "$base", "${base}x", "$$base", `\$base`, "$", "a$-b", "${base", "${base-tag}",
		"$base.x", "${}", "$é"} {
		f.Add(s)
	}
	lookup := func(name string) (string, error) {
		if name == "no" {
			return "", &unknownName{name}
		}
		return "<" + name + ">", nil
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := expand(s, lookup); err != nil && !strings.Contains(s, "no") {
			t.Fatalf("expand(%q): %v", s, err)
		}
		if strings.Contains(s, `\$`) || strings.HasSuffix(s, `\`) {
			return // a backslash doubles the dollar sign itself
		}
		got, err := expand(strings.ReplaceAll(s, "$", "$$"), lookup)
		if err != nil || got != s {
			t.Fatalf("%q with dollar signs doubled gives %q, %v", s, got, err)
		}
	})
}
