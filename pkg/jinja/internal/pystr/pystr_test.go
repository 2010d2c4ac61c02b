package pystr

import (
	"fmt"
	"math"
	"testing"
)

// TestPython compares the results of functions with those of Python 3.11.
func TestPython(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Repr("it's"), `"it's"`},
		{Repr(`a"b'c`), `'a"b\'c'`},
		{Repr("é\x00\u200b\U0001F600\U000E0001\n"), `'é\x00\u200b😀\U000e0001\n'`},
		{ASCIIRepr(Repr("é日😀")), `'\xe9\u65e5\U0001f600'`},
		{FloatRepr(1), "1.0"},
		{FloatRepr(math.Nextafter(0.3, 1)), "0.30000000000000004"},
		{FloatRepr(1e16), "1e+16"},
		{FloatRepr(1e-5), "1e-05"},
		{FloatRepr(math.Copysign(0, -1)), "-0.0"},
		{FloatRepr(math.Inf(-1)), "-inf"},
		{Upper("straße"), "STRASSE"},
		{Lower("ΟΔΟΣ Σ"), "οδος σ"},
		{Lower("İ"), "i̇"},
		{Title("they're ǆ"), "They'Re ǅ"},
		{TitleWords("they're a-b (c"), "They're A-B (C"},
		{Capitalize("ﬁRST"), "First"},
		{Swapcase("aB ß"), "Ab SS"},
		{Casefold("Straße"), "strasse"},
		{fmt.Sprintf("%q", Split(" a  b\u2003c ", -1, false)), `["a" "b" "c"]`},
		{fmt.Sprintf("%q", Split(" a  b c ", 1, false)), `["a" "b c "]`},
		{fmt.Sprintf("%q", Split(" a  b c ", 1, true)), `[" a  b" "c"]`},
		{fmt.Sprintf("%q", SplitLines("a\r\nb\vc\u2028", false)), `["a" "b" "c"]`},
		{fmt.Sprintf("%q", SplitLines("a\r\nb", true)), `["a\r\n" "b"]`},
		{Slice("aéüb", 3, -2, 2), "bé"},
		{StripTags("<p>a  <!-- <b> -->&amp; b</p>"), "a & b"},
		{Escape(`<a href="x">'&`), "&lt;a href=&#34;x&#34;&gt;&#39;&amp;"},
		{ASCIIDigits("٣.५"), "3.5"},
		{fmt.Sprint(IsIdentifier("é_1"), IsIdentifier("1a"), IsIdentifier("")), "true false false"},
		{fmt.Sprint(IsTitle("A B1c"), IsTitle("A B1C"), IsUpper("A1"), IsUpper("1"), IsLower("ª")),
			"false true true false true"},
		{fmt.Sprint(IsDigit('²'), IsNumeric('一'), IsNumeric('½'), IsPrintable('\u00a0'), IsSpace('\x1c')),
			"true true true false true"},
		{fmt.Sprintf("%q", (&Wrapper{Width: 8, BreakLong: true, Hyphens: true}).Wrap("well-known words, extraordinary")),
			`["well-" "known" "words, e" "xtraordi" "nary"]`},
		{fmt.Sprintf("%q", (&Wrapper{Width: 8}).Wrap("well-known words, extraordinary")),
			`["well-known" "words," "extraordinary"]`},
		{fmt.Sprintf("%q", (&Wrapper{Width: 0, BreakLong: true}).Wrap("  ")), `[]`},
		{fmt.Sprintf("%q", (&Wrapper{Width: 3, BreakLong: true}).Wrap("  ab    cdefg h ")), `["ab" "cde" "fg" "h"]`},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}
