package raise

import (
	"strings"
	"testing"
)

// TestErrorText shows the texts of errors.
func TestErrorText(t *testing.T) {
	long := strings.Repeat("a", 500) + "X" + strings.Repeat("b", 500)
	step := Frame{Template: "t", Line: 2, Column: 4, What: "macro 'm'"}
	for _, c := range []struct {
		err  Error
		want string
	}{
		{Error{Message: "no place"}, "no place"},
		{Error{Template: "t", Message: "too long"}, "t: too long"},
		{Error{Template: "t", Line: 1, Column: 3, Message: "wrong", SourceLine: "\té x"},
			"t:1:3: wrong\n    \té x\n    \t ^"},
		{Error{Template: "t", Line: 1, Column: 1, Message: "wrong", SourceLine: "  "}, "t:1:1: wrong"},
		{Error{Template: "t", Line: 1, Column: 501, Message: "wrong", SourceLine: long},
			"t:1:501: wrong\n    " + strings.Repeat("a", 79) + "X" + strings.Repeat("b",
				80) + "\n    " + strings.Repeat(" ", 79) + "^"},
		{Error{Template: "t", Line: 1, Column: 5, Message: "wrong", SourceLine: "RUN curl https://user:secret@host/"},
			"t:1:5: wrong\n    RUN curl https://***********@host/\n        ^"},
		{Error{Message: "deep", Trace: []Frame{{Template: "main", Line: 1, Column: 1, What: "include"}, step, step, step},
			Hint: "less"},
			"deep\n  in macro 'm', at t:2:4\n  … 2 more like this\n  in include, at main:1:1\n  hint: less"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
	}
}

// TestClasses catches exceptions by their classes and the parents of these.
func TestClasses(t *testing.T) {
	for _, c := range []struct {
		raise func()
		class string
		is    bool
	}{
		{func() { Type("x") }, "TypeError", true},
		{func() { Named("KeyError", "x") }, "LookupError", true},
		{func() { Named("UnicodeError", "x") }, "ValueError", true},
		{func() { Value("x") }, "TypeError", false},
		{func() { Limit("x") }, "LimitError", true},
		{func() { Limit("x") }, "Exception", false}, // a template cannot catch a limit
		{func() { Template("x") }, "Exception", true},
	} {
		func() {
			defer func() {
				if e, ok := recover().(*Exception); !ok || e.Is(c.class) != c.is {
					t.Errorf("%v is %s: %t", e, c.class, !c.is)
				}
			}()
			c.raise()
		}()
	}
}
