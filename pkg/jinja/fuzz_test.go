package jinja

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// seedSources returns the templates of the corpus as seeds.
func seedSources(f *testing.F) []string {
	// The corpus has no invalid UTF-8, which the original cannot read.
	seeds := []string{"{{ '\x9f0'|title }}", "{{ '\x9f\xffa\x80'.title()|capitalize|wordwrap(1)|truncate(1) }}\x80{{ \x9f }}"}
	files, _ := filepath.Glob(testdata("lines", "*.txt"))
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			seeds = append(seeds, strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "⏎", "\n"))
		}
	}
	cases, _ := filepath.Glob(testdata("cases", "*.txt"))
	for _, file := range cases {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range ar.Files {
			seeds = append(seeds, string(part.Data))
		}
	}
	if len(seeds) < 100 {
		f.Fatalf("only %d seeds in testdata/jinja", len(seeds))
	}
	return seeds
}

// FuzzParser checks that a source compiles, or that its error has a place in it.
func FuzzParser(f *testing.F) {
	for _, s := range seedSources(f) {
		f.Add(s)
	}
	env := New(Config{Extensions: Extensions{Do: true, LoopControls: true}})
	f.Fuzz(func(t *testing.T, src string) {
		tmpl, err := env.Parse("t", src)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Class == "RuntimeError" {
				t.Fatalf("error without a place, or internal: %#v", err)
			}
			return
		}
		tmpl.Analyze()
	})
}

// FuzzRender checks that a template renders within its limits, or fails with an *Error
// that is not an internal one.
func FuzzRender(f *testing.F) {
	for _, s := range seedSources(f) {
		f.Add(s)
	}
	limits := Limits{Steps: 200_000, Memory: 8 << 20, Output: 1 << 20, Depth: 100}
	f.Fuzz(func(t *testing.T, src string) {
		env := New(Config{
			Loader: Map{"main": src, "inc": "{{ i }}", "base": "{% block a %}{% endblock %}",
				"lib": "{% macro m() %}{% endmacro %}"},
			Extensions: Extensions{Do: true, LoopControls: true}, Limits: limits,
		})
		tmpl, err := env.Template("main")
		if err == nil {
			var text string
			if text, err = tmpl.Render(context.Background(), lineVars()); len(text) > limits.Output {
				t.Fatalf("%d bytes of output", len(text))
			}
		}
		var e *Error
		if err != nil && (!errors.As(err, &e) || strings.HasPrefix(e.Message, "internal error") ||
			strings.HasPrefix(e.Message, "panic:")) {
			t.Fatalf("internal error: %v", err)
		}
	})
}
