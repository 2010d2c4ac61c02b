package syntax

import (
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var everything = Options{Do: true, LoopControls: true, LineStatementPrefix: "%%", LineCommentPrefix: "##"}

// TestParse shows the trees of sources: one line per node type and rule of precedence.
func TestParse(t *testing.T) {
	for _, c := range []struct{ source, tree string }{
		{"", ""},
		{"a{# b #}c", "(Output 'a' 'c')"},
		{"{{ a }}", "(Output a)"},
		{"{{ 'a\\n' 'b' }}", `(Output "a\nb")`},
		{"{{ 0x1F + 1_000 - 2.5e1 }}", "(Output (- (+ 31 1000) 25))"},
		{"{{ 99999999999999999999 }}", "(Output 99999999999999999999)"},
		{"{{ [true, False, none] }}", "(Output (List true false none))"},
		{"{{ (), (1,), {'a': 1} }}", "(Output (Tuple (Tuple) (Tuple 1) (Dict (Pair \"a\" 1))))"},
		{"{{ -a ** 2 }}", "(Output (** (Unary - a) 2))"},
		{"{{ a + b * c ~ d }}", "(Output (+ a (Concat (* b c) d)))"},
		{"{{ not a and b or c }}", "(Output (or (and (Not a) b) c))"},
		{"{{ a < b <= c not in d }}", "(Output (Compare a < b <= c not in d))"},
		{"{{ a if b else c if d }}", "(Output (Conditional b a (Conditional d c -)))"},
		{"{{ a.b.0[c][1:2, ::3] }}", "(Output (Getitem (Getitem (Getitem (Getattr a b) 0) c) (Tuple (Slice 1 2 -) (Slice - - 3))))"},
		{"{{ f(1, *a, b=2, **c) }}", "(Output (Call f 1 *a b=2 **c))"},
		{"{{ a|b(1)|c.d is e and f is not g 2 }}", "(Output (and (Test (Filter (Filter a b 1) c.d) e) (Not (Test f g 2))))"},
		{"{% set a, b = 1, 2 %}", "(Assign (Tuple a b) (Tuple 1 2))"},
		{"{% set a.b = 1 %}", "(Assign a.b 1)"},
		{"{% set a|upper %}x{% endset %}", "(AssignBlock a (Filter - upper) [(Output 'x')])"},
		{"{% if a %}1{% elif b %}2{% else %}3{% endif %}",
			"(If a [(Output '1')] [(If b [(Output '2')] [] [])] [(Output '3')])"},
		{"{% for a in b if c recursive %}1{% else %}2{% endfor %}", "(For a b [(Output '1')] [(Output '2')] c Recursive)"},
		{"{% macro m(a, b=1) %}{% endmacro %}", "(Macro m (a b) (1) [])"},
		{"{% call(a) m(1) %}x{% endcall %}", "(CallBlock (Call m 1) (a) () [(Output 'x')])"},
		{"{% filter upper|trim %}x{% endfilter %}", "(FilterBlock [(Output 'x')] (Filter (Filter - upper) trim))"},
		{"{% with a=1, b=2 %}x{% endwith %}", "(With (a b) (1 2) [(Output 'x')])"},
		{"{% block a scoped required %}{# #}{% endblock a %}", "(Block a [] Scoped Required)"},
		{"{% extends a %}", "(Extends a)"},
		{"{% include [a] ignore missing without context %}", "(Include (List a) IgnoreMissing)"},
		{"{% import 'a' as b %}", `(Import "a" b)`},
		{"{% from 'a' import b, c as d with context %}", `(FromImport "a" (b=b c=d) WithContext)`},
		{"{% autoescape a %}x{% endautoescape %}", "(Scope [(Autoescape a [(Output 'x')])])"},
		{"{% print a, b %}", "(Output a b)"},
		{"{% do a %}{% break %}{% continue %}", "(ExprStatement a) (LoopControl break) (LoopControl continue)"},
		{"{% raw %}{{ a }}{% endraw %}", "(Output '{{ a }}')"},
		{"a  {{- b -}}  c", "(Output 'a' b 'c')"},
		{"%% if a:\nb ## c\n%% endif", "(If a [(Output 'b' '\\n')] [] [])"},
	} {
		tree, err := Parse("t", c.source, &everything)
		if err != nil {
			t.Errorf("%q: %v", c.source, err)
			continue
		}
		var parts []string
		for _, n := range tree.Body {
			parts = append(parts, dump(n))
		}
		if got := strings.Join(parts, " "); got != c.tree {
			t.Errorf("%q:\n  got  %s\n  want %s", c.source, got, c.tree)
		}
	}
}

// TestParseErrors shows where errors are, what they name, and their hints.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		source       string
		line, column int
		message      string
		hint         string
	}{
		{"{{ a b }}", 1, 6, "expected token 'end of print statement', got 'b'", ""},
		{"x\n{{ a +}}", 2, 7, "unexpected 'end of print statement'", ""},
		{"{{ 'é', ! }}", 1, 9, "unexpected char '!'", ""},
		{"{{ (1] }}", 1, 6, "unexpected ']', expected ')'", ""},
		{"{{ ) }}", 1, 4, "unexpected ')'", ""},
		{"{{ '\\xZZ' }}", 1, 4, "truncated \\xXX escape", ""},
		{"{# a", 1, 1, "Missing end of comment tag", ""},
		{"{% raw %}a", 1, 1, "Missing end of raw directive", ""},
		{"{% if a %}\n{% endfor %}", 2, 4, "Encountered unknown tag 'endfor'", "`if` was opened at line 1, column 4"},
		{"{% for a in b %}", 1, 17, "Unexpected end of template", "`for` was opened at line 1, column 4"},
		{"{% inclde 'a' %}", 1, 4, "Encountered unknown tag 'inclde'", "include"},
		{"{% break %}", 1, 4, "Encountered unknown tag 'break'", ""},
		{"{% set none = 1 %}", 1, 8, "can't assign to 'const'", ""},
		{"{% set a + 1 = 1 %}", 1, 10, "expected token 'end of statement block', got '+'", ""},
		{"{% macro m(a=1, b) %}{% endmacro %}", 1, 18, "non-default argument follows default argument", ""},
		{"{{ f(a=1, 2) }}", 1, 5, "invalid syntax for function call expression", ""},
		{"{% block a required %}x{% endblock %}", 1, 36, "Required blocks can only contain comments or whitespace", ""},
		{"{% block a-b %}{% endblock %}", 1, 11, "may not contain hyphens", ""},
		{"{% block {{ a }}_b %}{% endblock %}", 1, 10, "expected token 'name', got '{'", "is written as it is"},
		{"{{ a is b is c }}", 1, 11, "You cannot chain multiple tests with is", ""},
		{"{% from 'a' import _b %}", 1, 20, "names starting with an underline", ""},
		{"{{ " + strings.Repeat("(", 300) + " }}", 1, 129, "nested too deep", ""},
	} {
		_, err := Parse("t", c.source, &Options{})
		if err == nil {
			t.Errorf("%q parses", c.source)
			continue
		}
		if err.Line != c.line || err.Column != c.column || !strings.Contains(err.Message, c.message) ||
			!strings.Contains(err.Hint, c.hint) {
			t.Errorf("%q:\n  got  %d:%d: %s (%s)\n  want %d:%d: %s (%s)", c.source, err.Line, err.Column, err.Message,
				err.Hint, c.line, c.column, c.message, c.hint)
		}
	}
}

// dump prints a tree on one line. Text is in single quotes, strings in double ones.
func dump(n any) string {
	switch n := n.(type) {
	case nil:
		return "-"
	case *Name:
		return n.Name
	case *NamespaceRef:
		return n.Name + "." + n.Attr
	case *TemplateData:
		return "'" + strings.ReplaceAll(n.Data, "\n", `\n`) + "'"
	case *Const:
		switch v := n.Value.(type) {
		case nil:
			return "none"
		case string:
			return fmt.Sprintf("%q", v)
		case *big.Int:
			return v.String()
		}
		return fmt.Sprint(n.Value)
	case *Binary:
		return "(" + tokenNames[n.Op] + " " + dump(n.Left) + " " + dump(n.Right) + ")"
	case *Logical:
		return "(" + map[bool]string{true: "or", false: "and"}[n.Or] + " " + dump(n.Left) + " " + dump(n.Right) + ")"
	case *Unary:
		return "(Unary " + map[bool]string{true: "-", false: "+"}[n.Negative] + " " + dump(n.Expr) + ")"
	case *LoopControl:
		return "(LoopControl " + map[bool]string{true: "break", false: "continue"}[n.Break] + ")"
	case *Compare:
		s := "(Compare " + dump(n.Expr)
		for _, o := range n.Ops {
			s += " " + [...]string{"==", "!=", ">", ">=", "<", "<=", "in", "not in"}[o.Op] + " " + dump(o.Expr)
		}
		return s + ")"
	case Keyword:
		return n.Name + "=" + dump(n.Value)
	case ImportedName:
		return n.Name + "=" + n.Alias
	case Pair:
		return "(Pair " + dump(n.Key) + " " + dump(n.Value) + ")"
	}
	v := reflect.Indirect(reflect.ValueOf(n))
	parts := fields(v, v.Type().Name())
	return "(" + strings.Join(parts, " ") + ")"
}

// fields dumps the fields of a node: bodies in brackets, lists of other things in
// parentheses or, where the node has nothing else, in line.
func fields(v reflect.Value, name string) []string {
	parts := []string{name}
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		switch {
		case field.Type == reflect.TypeFor[pos](), field.Type == reflect.TypeFor[NameContext]():
		case field.Type == reflect.TypeFor[Arguments]():
			a := value.Interface().(Arguments)
			for _, arg := range a.Positional {
				parts = append(parts, dump(arg))
			}
			if a.Star != nil {
				parts = append(parts, "*"+dump(a.Star))
			}
			for _, k := range a.Keywords {
				parts = append(parts, dump(k))
			}
			if a.StarStar != nil {
				parts = append(parts, "**"+dump(a.StarStar))
			}
		case value.Kind() == reflect.Bool:
			if value.Bool() {
				parts = append(parts, field.Name)
			}
		case value.Kind() == reflect.String:
			parts = append(parts, value.String())
		case value.Kind() == reflect.Slice:
			var items []string
			for j := range value.Len() {
				items = append(items, dump(value.Index(j).Interface()))
			}
			list := strings.Join(items, " ")
			switch field.Name {
			case "Body", "OrElse", "Elifs":
				parts = append(parts, "["+list+"]")
			case "Items":
				parts = append(parts, items...)
			default:
				parts = append(parts, "("+list+")")
			}
		case value.IsNil():
			parts = append(parts, "-")
		default:
			parts = append(parts, dump(value.Interface()))
		}
	}
	return parts
}

// FuzzParse checks that tokens are in the order of the source, and that a source
// parses or its error has a place in it.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob(filepath.Join("..", "..", "..", "..", "testdata", "jinja", "lines", "*.txt"))
	seeds := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			f.Add(strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "⏎", "\n"), "", "", byte(0))
			seeds++
		}
	}
	if seeds < 100 {
		f.Fatalf("only %d seeds in testdata/jinja/lines", seeds)
	}
	f.Add("# for x in y\n## c\n# endfor", "#", "##", byte(7))
	f.Fuzz(func(t *testing.T, source, statement, comment string, flags byte) {
		if strings.ContainsAny(statement+comment, "\n\r") || statement == comment {
			statement, comment = "", ""
		}
		opts := &Options{
			TrimBlocks: flags&1 != 0, LstripBlocks: flags&2 != 0, KeepTrailingNewline: flags&4 != 0,
			LineStatementPrefix: statement, LineCommentPrefix: comment, Do: flags&8 != 0, LoopControls: flags&16 != 0,
		}
		src := normalizeSource(source, opts.KeepTrailingNewline)
		last := 0
		for _, tok := range lex(opts, src) {
			if tok.pos < last || tok.pos > len(src) {
				t.Fatalf("token at %d after one at %d, in %d bytes", tok.pos, last, len(src))
			}
			last = tok.pos
		}
		tree, err := Parse("t", source, opts)
		if err != nil {
			if err.Line < 1 || err.Column < 1 || err.Message == "" {
				t.Fatalf("error without a place: %#v", err)
			}
			return
		}
		Walk(tree, func(n Node) bool {
			if n.Pos() < 0 || n.Pos() > len(tree.Source) {
				t.Fatalf("node at %d, in %d bytes", n.Pos(), len(tree.Source))
			}
			return true
		})
	})
}
