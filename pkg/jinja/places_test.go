package jinja

import (
	"fmt"
	"strings"
	"testing"
)

// Each line of the output comes from the line of the template that wrote it.
func TestRenderPlaces(t *testing.T) {
	cases := []struct {
		name      string
		templates Map
		want      string // template:line of each line of the output
	}{
		{"text", Map{"t": "a\nb\n\nc"}, "t:1 t:2 t:3 t:4"},
		{"trimmed statements", Map{"t": "{% if true %}\na\n{% endif %}\n{% if false %}\nb\n{% endif %}\nc\n"}, "t:2 t:7"},
		{"removed white space", Map{"t": "{% if true -%}\n\n\n  a\n{%- endif %}\nb"}, "t:4"},
		{"an expression of several lines", Map{"t": "a\n{{ 'x\\ny' ~ v }}\nb"}, "t:1 t:2 t:2 t:3"},
		{"an expression within a line", Map{"t": "{# note #}\nRUN {{ v }} &&\\\n  {{ v }}"}, "t:2 t:3"},
		{"a loop", Map{"t": "{% for i in [1, 2] %}\n- {{ i }}\n{% endfor %}\nb"}, "t:2 t:2 t:4"},
		{"a macro", Map{"t": "{% import 'm' as m %}\na\n{{ m.two() }}\n", "m": "{% macro two() %}\nx\ny\n{% endmacro %}"},
			"t:2 t:3 t:3"},
		{"an include", Map{"t": "a\n{% include 'i' %}\nb", "i": "x\ny\n\n"}, "t:1 i:1 i:2 t:3"},
		{"an include without context", Map{"t": "a\n{% include 'i' without context %}\nb", "i": "x\ny\n\n"},
			"t:1 t:2 t:2 t:3"},
		{"a block that is replaced", Map{"p": "a\n{% block b %}\nx\n{% endblock %}\nc\n",
			"t": "{% extends 'p' %}\n\n{% block b %}\ny\nz\n{% endblock %}\n"}, "p:1 t:4 t:5 p:5"},
		{"super", Map{"p": "{% block b %}\nx\n{% endblock %}\n",
			"t": "{% extends 'p' %}\n{% block b %}\n{{ super() }}z\n{% endblock %}\n"}, "t:3 t:3"},
		{"a filter block", Map{"t": "a\n{% filter upper %}\nx\ny\n{% endfilter %}\nb"}, "t:1 t:2 t:2 t:6"},
		{"a set block", Map{"t": "{% set s %}\nx\n{% endset %}\na\n{{ s }}"}, "t:4 t:5"},
		{"constants among text", Map{"t": "a\n{{ 'x' }} b\nc\n"}, "t:1 t:2 t:3"},
		{"nothing", Map{"t": ""}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			env := New(Config{TrimBlocks: true, LstripBlocks: true, Loader: c.templates})
			tpl, err := env.Template("t")
			if err != nil {
				t.Fatal(err)
			}
			vars := map[string]any{"v": "v"}
			r, err := tpl.RenderPlaces(t.Context(), vars)
			text := r.Text
			if err != nil {
				t.Fatal(err)
			}
			if plain, err := tpl.Render(t.Context(), vars); err != nil || plain != text {
				t.Errorf("RenderPlaces returns %q, Render %q, %v", text, plain, err)
			}
			var got []string
			for _, p := range r.Places {
				got = append(got, fmt.Sprintf("%s:%d", p.Template, p.Line))
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("%q\ngot  %s\nwant %s", text, s, c.want)
			}
		})
	}
}
