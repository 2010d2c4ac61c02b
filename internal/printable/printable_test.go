package printable

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// Texts are quoted only if a terminal cannot show them, so that quotations in them are not quoted
// again.
func TestQuoted(t *testing.T) {
	for _, text := range []string{"", "a b", `image reference "../x:1": it begins with a dot`, `back\slash`, "café"} {
		if got := Quoted(text); got != text {
			t.Errorf("%s: %s", text, got)
		}
	}
	for text, want := range map[string]string{
		"a\x1b[2J": `"a\x1b[2J"`, "\u202ea": `"\u202ea"`, "\u2067a": `"\u2067a"`, "a\xff": `"a\xff"`,
		"a\nb": `"a\nb"`, "a\u009b": `"a\u009b"`,
	} {
		if got := Quoted(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestField(t *testing.T) {
	for text, want := range map[string]string{"": "", "/v2/a": "/v2/a", "a b": `"a b"`, "é": `"é"`,
		"a\n": `"a\n"`, "\xff": `"\xff"`} {
		if got := Field(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestVisible(t *testing.T) {
	if got, want := Visible("a\tb\nc\x1b[2J\u009b\u202e\u2066é\x7f"),
		"a\tb\nc\ufffd[2J\ufffd\ufffd\ufffdé\ufffd"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRune(t *testing.T) {
	for _, r := range "aé \u200d\u200c世" {
		if !Rune(r) {
			t.Errorf("%q is not shown", r)
		}
	}
	for _, r := range "\x1b\n\x7f\u009b\u200b\u202e\u2066\ufeff\U000e0001" {
		if Rune(r) {
			t.Errorf("%q is shown", r)
		}
	}
}

func TestShortened(t *testing.T) {
	for limit := range 12 {
		for _, text := range []string{"", "a", "abcdefghij", "ééééé", "世界世界"} {
			if got := Bytes(text, limit); limit >= 3 && len(got) > limit || !utf8.ValidString(got) || got != text &&
				!strings.HasSuffix(got, "…") {
				t.Errorf("Bytes(%q, %d) is %q", text, limit, got)
			}
			if got := Characters(text, limit); limit >= 1 && utf8.RuneCountInString(got) > limit || got != text &&
				!strings.HasSuffix(got, "…") {
				t.Errorf("Characters(%q, %d) is %q", text, limit, got)
			}
		}
	}
	if got := Bytes("abcdef", 5) + Characters("ééé", 2) + Bytes("abc", 3) + Characters("ééé", 3); got != "ab…é…abcééé" {
		t.Errorf("shortened: %s", got)
	}
}

// JSON is the same data as Go's encoder writes, without characters that control a terminal.
func TestEncodeJSON(t *testing.T) {
	want := map[string]any{"a\u202eb": "\u2066\u009b\x1b\x7f<é>\n", "list": []any{"\u200f", "世"}}
	var b bytes.Buffer
	if err := EncodeJSON(&b, want, "", "  "); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.ContainsAny(text, "\u202e\u2066\u009b\x1b\x7f\u200f") ||
		!strings.Contains(text, `"a\u202eb": "\u2066`) ||
		!strings.Contains(text, "<é>") || !strings.HasSuffix(text, "\n}\n") {
		t.Errorf("%q", text)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for key := range want {
		if g, w := toJSON(t, got[key]), toJSON(t, want[key]); g != w {
			t.Errorf("%q: %s, want %s", key, g, w)
		}
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
