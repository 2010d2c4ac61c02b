package jinja

import (
	"context"
	"errors"
	"fmt"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"os"
	"strings"
	"testing"
	"time"
)

// chain repeats a link until the source has some 200 KB, or n times.
func chain(head, link, tail string, n int) string {
	first := head + strings.Repeat(link, n) + tail
	return strings.Repeat(first, 1+(200<<10)/len(first))
}

// numbered joins n copies of a format with their numbers.
func numbered(n int, format string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(format, "@", fmt.Sprint(i)))
	}
	return b.String()
}

// TestLargeSources compiles long and deeply nested sources of every construct of the
// grammar. Each compiles or ends with a clear error, in a time that excludes quadratic
// steps: 100,000 links of a chain would be 5,000,000,000 of them. An ordinary run
// compiles shorter chains; make fuzz-jinja compiles the long ones and checks the time.
func TestLargeSources(t *testing.T) {
	testenv.Slow(t)
	all := os.Getenv("JINJA_FUZZ_N") != ""
	many := 10_000
	if all {
		many = 100_000
	}
	for name, src := range map[string]string{
		"literals":        "{{ " + strings.Repeat("'ab' ", many) + "|length }}",
		"tilde":           "{{ x" + strings.Repeat(" ~ 'ab'", many) + " }}",
		"tilde constants": "{{ 'a'" + strings.Repeat(" ~ 'ab'", many) + " }}",
		"compare":         "{{ x" + strings.Repeat(" < 1", many) + " }}",
		"plus":            "{{ 1" + strings.Repeat(" + 1", many) + " }}",
		"plus names":      chain("{{ x", " + 1", " }}", 3000),
		"plus wrong":      chain("{{ 'a'", " + 1", " }}", 3000),
		"filters":         "{{ x" + strings.Repeat("|e", many) + " }}",
		"filters deep":    chain("{{ 'x'", "|e", " }}", 3000),
		"filters wrong":   chain("{{ [1]", "|int|join(1|length)", " }}", 1500),
		"attributes":      chain("{{ x", ".a", " }}", 3000),
		"calls":           chain("{{ x", "(1)", " }}", 3000),
		"and":             chain("{{ 1", " and 1", " }}", 3000),
		"tests":           chain("{{ x", "|e is eq 1", " }}", 1),
		"inline if":       strings.Repeat("{{ 1 if x }}\n", many),
		"ifs":             strings.Repeat("{% if x %}{% endif %}", many),
		"elifs":           "{% if x %}" + strings.Repeat("{% elif x %}", many) + "{% endif %}",
		"names":           numbered(many, "{{ n@ }}"),
		"sets":            numbered(many, "{% set n@ = 1 %}"),
		"sets in ifs":     numbered(many/2, "{% if x %}{% set n@ = 1 %}{% endif %}"),
		"blocks":          numbered(many, "{% block b@ %}{% endblock %}"),
		"macros":          numbered(many/2, "{% macro b@(x) %}{{ x }}{% endmacro %}"),
		"parameters":      "{% macro m(" + numbered(many, "n@, ") + ") %}{% endmacro %}",
		"keywords":        "{{ dict(" + numbered(many, "n@=1, ") + ") }}",
		"dict":            "{{ {" + numbered(many, "'n@': x, ") + "} }}",
		"list":            "{{ [" + strings.Repeat("x, ", many) + "] }}",
		"loops":           strings.Repeat("{% for i in x %}{{ loop.index }}{% endfor %}", many/2),
		"comments":        strings.Repeat("{# x #}", many),
		"unclosed":        strings.Repeat("{{ '", many),
		"braces":          "{{ " + strings.Repeat("{", many),
		"tags":            strings.Repeat("{% ", many),
		"raw":             strings.Repeat("{% raw %}", many),
		"spaces":          strings.Repeat(" ", 1<<20) + "{{ 1 }}" + strings.Repeat("\n ", 1<<19),
		"dashes":          strings.Repeat("{{- 1 -}} ", many),
		"digits":          "{{ " + strings.Repeat("9", 1<<20) + " }}",
		"hex digits":      "{{ 0x" + strings.Repeat("f", 1<<20) + " }}",
		"float":           "{{ 1." + strings.Repeat("9", 1<<20) + " }}",
		"too long":        strings.Repeat("x", 5<<20),
	} {
		configs := []Config{{}, {LineStatementPrefix: "%", LineCommentPrefix: "##", TrimBlocks: true, LstripBlocks: true}}
		if n := strings.Count(src, "{% if") + strings.Count(src, "{{ "); n > 0 && name != "dashes" {
			configs = configs[:1] // the other settings concern the lexer only
		}
		for _, cfg := range configs {
			start := time.Now()
			tmpl, err := New(cfg).Parse("t", src)
			parsed := time.Since(start)
			outcome := "compiles"
			if err == nil {
				tmpl.Analyze()
				_, err = tmpl.Render(context.Background(), map[string]any{"x": "1"})
			}
			var e *Error
			if err != nil {
				if !errors.As(err, &e) || e.Class == "RuntimeError" {
					t.Errorf("%s: %v", name, err)
				}
				outcome = string(e.Kind) + ": " + e.Message
			}
			t.Logf("%-16s %7d bytes, %6v parsed, %6v all: %.70s", name, len(src), parsed.Round(time.Millisecond),
				time.Since(start).Round(time.Millisecond), outcome)
			if d := time.Since(start); all && d > 20*time.Second {
				t.Errorf("%s took %v", name, d)
			}
		}
	}
}
