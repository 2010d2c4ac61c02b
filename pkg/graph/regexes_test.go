package graph

import (
	"errors"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/usererr"
)

func TestRegexErrors(t *testing.T) {
	for _, c := range []struct{ pattern, want, hint string }{
		{"nova-(api", "missing closing ) at character 6\n    nova-(api\n         ^", ""},
		{"nova)", "unexpected ) at character 5\n    nova)\n        ^", ""},
		{"*nova", "missing argument to repetition operator at character 1\n    *nova\n    ^",
			"a regex is not a shell pattern"},
		{"nova[", "missing closing ] at character 5\n    nova[\n        ^", ""},
		{"nova-(?!api)", "this look-around is not valid at character 6\n    nova-(?!api)\n         ^",
			"write it as Python does"},
		{"(?<=nova)x", "this look-around is not valid at character 1\n", "write it as Python does"},
		{`é(`, "missing closing ) at character 3\n    é(\n     ^", ""},
		{`a\`, "trailing backslash at end of expression at character 2\n", ""},
		{`a{2000}`, "invalid repeat count at character 2\n", ""},
		{`(a)\1`, "invalid escape sequence at character 4\n", ""},
		{`x[)](`, "missing closing ) at character 5\n", ""},
	} {
		_, err := CompileRegexes([]string{"fine", c.pattern}, nil)
		var re *RegexError
		if !errors.As(err, &re) || !strings.Contains(err.Error(), c.want) || !strings.Contains(re.Hint(), c.hint) {
			t.Errorf("%s: %v\nwant %s", c.pattern, err, c.want)
		}
	}
}

func TestRegexesFromPython(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{`nova-api\Z`, "nova-api", true},
		{`^nova-\w+\Z`, "nova-api-x", false},
		{`^a{,2}$`, "aa", true},
		{`^a{,2}$`, "aaa", false},
		{`a\{,2`, "a{,2", true},
		{`(?P<x>nova|glance)-api`, "glance-api", true},
		{`(?i)NOVA`, "nova-base", true},
		{`va-`, "nova-base", true},
		{``, "anything", true},
	} {
		r, err := CompileRegexes([]string{c.pattern}, nil)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
		} else if r.Match(c.name) != c.want {
			t.Errorf("%s on %s: %v", c.pattern, c.name, !c.want)
		}
	}
}

func TestRegexesCheck(t *testing.T) {
	g := mustNew(t, small)
	for _, c := range []struct {
		patterns []string
		none     bool
		want     string
	}{
		{[]string{"nova"}, false, ""},
		{nil, false, ""},
		{[]string{"nova", "corn"}, false, `"corn" matches none of the 7 images` + "\n  hint: did you mean cron?"},
		{[]string{"^nvoa-api$"}, true, `"^nvoa-api$" matches none of the 7 images` + "\n  hint: did you mean nova-api?"},
		{[]string{"zzzzz"}, true, `"zzzzz" matches none of the 7 images` + "\n  hint: --list-images lists them"},
	} {
		r, err := CompileRegexes(c.patterns, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := r.Check(g); err != nil {
			got = usererr.Text(err)
		}
		if got != c.want || r.NoneMatches(g) != c.none {
			t.Errorf("%v: %v %q, want %v %q", c.patterns, r.NoneMatches(g), got, c.none, c.want)
		}
	}
}

// FuzzCompileRegexes checks that any pattern either compiles or returns an error with a
// position inside the pattern.
func FuzzCompileRegexes(f *testing.F) {
	for _, s := range []string{"", "nova", "(", ")", "[", "a{,3}", `\Z`, `\`, "(?<=x)", "*", "é[^]]("} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		r, err := CompileRegexes([]string{pattern}, nil)
		if err == nil {
			r.Match("nova-api")
			return
		}
		var re *RegexError
		if !errors.As(err, &re) || re.Offset < 0 || re.Offset > len(pattern) || re.Reason == "" {
			t.Errorf("%q: %#v", pattern, err)
		}
		_ = err.Error()
	})
}
