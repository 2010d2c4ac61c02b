package usererr

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

type missing struct{ hint string }

func (*missing) Error() string  { return "not found" }
func (m *missing) Hint() string { return m.hint }

func TestOneHint(t *testing.T) {
	inner := WithHint(io.EOF, "inner hint")
	for name, c := range map[string]struct {
		err  error
		hint string
	}{
		"no error":                    {nil, ""},
		"no hint":                     {io.EOF, ""},
		"own":                         {inner, "inner hint"},
		"wrapped":                     {fmt.Errorf("reading: %w", inner), "inner hint"},
		"outermost first":             {WithHint(fmt.Errorf("reading: %w", inner), "outer hint"), "outer hint"},
		"empty outer hint":            {&Error{Err: inner}, "inner hint"},
		"another type":                {fmt.Errorf("looking: %w", &missing{"build it"}), "build it"},
		"another type without a hint": {&Error{Err: &missing{}, Hint: "outer"}, "outer"},
		"joined":                      {errors.Join(io.EOF, inner), "inner hint"},
	} {
		if got := Hint(c.err); got != c.hint {
			t.Errorf("%s: hint %q, want %q", name, got, c.hint)
		}
		if c.err == nil {
			continue
		}
		if strings.Contains(c.err.Error(), "hint") {
			t.Errorf("%s: the message contains the hint: %q", name, c.err)
		}
		want := 1
		if c.hint == "" {
			want = 0
		}
		if text := Text(c.err); strings.Count(text, "hint: ") != want {
			t.Errorf("%s: not printed with %d hints: %q", name, want, text)
		}
	}
	if !errors.Is(Errorf("try again", "reading: %w", io.EOF), io.EOF) {
		t.Error("Errorf hides the cause")
	}
	if WithHint(nil, "hint") != nil || Usage(nil) != nil {
		t.Error("no error became one")
	}
	if err := io.EOF; WithHint(err, "") != err {
		t.Error("an empty hint wraps the error")
	}
}

func TestIsUsage(t *testing.T) {
	if IsUsage(nil) || IsUsage(io.EOF) || IsUsage(WithHint(io.EOF, "x")) {
		t.Error("an ordinary error counts as wrong usage")
	}
	if !IsUsage(fmt.Errorf("remove: %w", WithHint(Usage(io.EOF), "x"))) {
		t.Error("the mark is lost when wrapped")
	}
}

func TestTextWithPosition(t *testing.T) {
	err := &Error{Err: errors.New("no such option"), Hint: `did you mean "base"?`,
		Position: Position{File: "kolla-build.conf", LineNo: 3, Column: 2,
			Line: "\tbse = debian # https://user:secret@host/"}}
	want := "kolla-build.conf:3:2: no such option\n" +
		"    \tbse = debian # https://***********@host/\n" +
		"    \t^\n" +
		`  hint: did you mean "base"?`
	if got := Text(fmt.Errorf("%w", err)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for want, p := range map[string]Position{
		"":      {},
		"f":     {File: "f"},
		"f:2":   {File: "f", LineNo: 2},
		"f:2:7": {File: "f", LineNo: 2, Column: 7},
	} {
		if got := p.String(); got != want {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
}

// TestLongLines checks that an error does not contain a whole file.
func TestLongLines(t *testing.T) {
	line := strings.Repeat("a", 1_000_000) + "é=" + strings.Repeat("b", 1_000_000)
	for column, want := range map[int]string{
		0: "    aaa",
		1: "    ^",
		1_000_002: "…" + strings.Repeat("a", 198) + "é=" + strings.Repeat("b",
			198) + "…\n    " + strings.Repeat(" ", 200) + "^",
		2_000_002: "b\n    " + strings.Repeat(" ", 399) + "^",
		9_999_999: "b\n    " + strings.Repeat(" ", 400) + "^",
	} {
		got := Position{Line: line, Column: column}.Excerpt()
		if !strings.Contains(got, want) || len(got) > 1000 {
			t.Errorf("column %d: %s", column, got)
		}
	}
	got := Text(Errorf("short", "no such %s: reason\nnext", strings.Repeat("é", 1_000_000)))
	if len(got) > 9000 || !strings.Contains(got, " bytes) … ") ||
		!strings.HasSuffix(got, "é: reason\nnext\n  hint: short") ||
		!utf8.ValidString(got) {
		t.Errorf("%d bytes, which end in %q", len(got), got[len(got)-50:])
	}
}

// TestTextControlsNoTerminal checks that untrusted text cannot control a terminal.
func TestTextControlsNoTerminal(t *testing.T) {
	text := Text(Errorf("check \u202ethat", "reading %s:\n\tx", "\x1b[2J\u009b"))
	if strings.ContainsAny(text, "\x1b\u202e\u009b") || !strings.Contains(text, ":\n\tx") {
		t.Errorf("printed %q", text)
	}
}
