package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/units"
)

func TestSanitize(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"", ""},
		{"ends\r\n", "ends"},
		{"\x1b[31mred\x1b[0m", "red"},
		{"\x1b[38;2;1;2;3mtrue colour\x1b[m", "true colour"},
		{"\x1b]0;title\x07text", "text"},
		{"\x1b]8;;http://x.test\x1b\\link\x1b]8;;\x1b\\", "link"},
		{"\x1b]52;c;never ends", "52;c;never ends"}, // the hidden text is shown
		{"\x1bPq#0\x1b\\after", "after"},
		{"\x1b(Bcharset", "charset"},
		{"\x1b7save\x1b8", "save"},
		{"\x1b", ""},
		{"\x1b[", ""},
		{"\x1b[12", ""},
		{"\x1b[1\x01mtext", "mtext"}, // malformed: ends at the invalid character
		{"\u009b31mC1", "C1"},
		{"\u0085next", "next"},
		{" 5%\r 50%\r100%\r\n", "100%"},
		{"abc\b\bX", "aX"},
		{"\b\bX", "X"},
		{"a\tb", "a       b"},
		{"12345678\tb", "12345678        b"},
		{"bell\x07", "bell"},
		{"nul\x00del\x7f", "nuldel"},
		{"\xff\xfe", "\ufffd\ufffd"},
		{"\xc3", "\ufffd"},
		{"\u202etxt.exe", "txt.exe"},
		{"zero\u200bwidth\ufeff", "zerowidth"},
		{"a\u2028b", "a b"},
		{"日本語 ✓", "日本語 ✓"},
		{strings.Repeat("x", MaxLine), strings.Repeat("x", MaxLine)},
		{strings.Repeat("x", MaxLine+1), strings.Repeat("x", MaxLine) + " …"},
		{strings.Repeat("\t", 1e5), strings.Repeat(" ", MaxLine)},
	} {
		if got := Sanitize([]byte(c.in)); got != c.want {
			t.Errorf("Sanitize(%.60q) = %.80q, want %.80q", c.in, got, c.want)
		}
	}
}

func TestLineSplitter(t *testing.T) {
	join := func(chunks ...string) string {
		var l lineSplitter
		var out []string
		emit := func(s string) { out = append(out, s) }
		for _, c := range chunks {
			l.write([]byte(c), emit)
		}
		l.flush(emit)
		return strings.Join(out, "|")
	}
	for _, c := range []struct {
		in   []string
		want string
	}{
		{[]string{"a\nb\n"}, "a|b"},
		{[]string{"a", "b", "\nc"}, "ab|c"},
		{[]string{"a\r", "\nb\r\n"}, "a|b"},
		{[]string{"5%\r10%\r", "100%", "\n"}, "100%"},
		{[]string{"5%\r10%\r"}, "10%"},
		{[]string{"\n\n"}, "|"},
		{[]string{"\x1b[3", "1mred\n"}, "red"}, // a sequence cut between two writes
		{[]string{"\xe6\x97", "\xa5\n"}, "日"},
	} {
		if got := join(c.in...); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
	var l lineSplitter
	for range 1000 {
		l.write([]byte(strings.Repeat("progress\r#", 1000)), func(string) { t.Error("a line out of nothing") })
		if len(l.buf) > maxRaw {
			t.Fatalf("holds %d bytes of one line", len(l.buf))
		}
	}
	l.write([]byte(strings.Repeat("x", 1<<20)), func(string) {})
	if len(l.buf) > maxRaw {
		t.Fatalf("holds %d bytes of one line", len(l.buf))
	}
}

// outputs are recorded outputs of build steps.
func outputs(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/output/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded output in testdata/output: %v", err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = b
	}
	return out
}

func TestSanitizeRecordedOutput(t *testing.T) {
	for name, raw := range outputs(t) {
		var l lineSplitter
		var b strings.Builder
		emit := func(s string) { b.WriteString(s + "\n") }
		l.write(raw, emit)
		l.flush(emit)
		golden(t, "output_"+name, b.String())
	}
}

func FuzzSanitize(f *testing.F) {
	for _, raw := range outputs(f) {
		f.Add(raw)
		for _, line := range strings.SplitAfter(string(raw), "\n") {
			f.Add([]byte(line))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		check := func(s string) {
			if !utf8.ValidString(s) {
				t.Fatalf("%q is not UTF-8", s)
			}
			for _, r := range s {
				if !printable.Rune(r) {
					t.Fatalf("%q is left in %q", r, s)
				}
			}
			if n := utf8.RuneCountInString(s); n > MaxLine+2 {
				t.Fatalf("%d characters are left", n)
			}
		}
		once := Sanitize(raw)
		check(once)
		if utf8.RuneCountInString(once) <= MaxLine {
			if second := Sanitize([]byte(once)); second != once {
				t.Fatalf("sanitising twice gives %q, once %q", second, once)
			}
		}
		// The lines do not depend on how the bytes are split.
		lines := func(size int) string {
			var l lineSplitter
			var b strings.Builder
			emit := func(s string) { check(s); b.WriteString(s + "\n") }
			for rest := raw; len(rest) > 0; {
				n := min(size, len(rest))
				l.write(rest[:n], emit)
				rest = rest[n:]
			}
			l.flush(emit)
			return b.String()
		}
		if a, b := lines(1), lines(len(raw)+1); a != b {
			t.Fatalf("by bytes %q, whole %q", a, b)
		}
	})
}

func TestUnits(t *testing.T) {
	for n, want := range map[int64]string{-1: "0 B", 0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1048575: "1.0 MiB",
		51 << 20: "51.0 MiB", 1 << 40: "1.0 TiB", 1<<63 - 1: "8.0 EiB"} {
		if got := units.Bytes(n); got != want {
			t.Errorf("units.Bytes(%d) = %q, want %q", n, got, want)
		}
	}
	for _, c := range []struct {
		ms         int64
		want, abut string
	}{
		{-5, "0.0s", "0s"}, {400, "0.4s", "0s"}, {9949, "9.9s", "10s"}, {9960, "10s", "10s"}, {59400, "59s", "1m00s"},
		{59600, "1m00s", "1m00s"}, {65000, "1m05s", "1m10s"}, {3599600, "1h00m", "1h00m"}, {7380000, "2h03m", "2h05m"},
		{1500000, "25m00s", "25m"},
	} {
		d := ms(c.ms)
		if got := units.Duration(d); got != c.want {
			t.Errorf("units.Duration(%v) = %q, want %q", d, got, c.want)
		}
		if got := units.Estimate(d); got != c.abut {
			t.Errorf("units.Estimate(%v) = %q, want %q", d, got, c.abut)
		}
	}
}

// TestSanitizeMasksLogins checks that the login of a URL is not shown, also if it is
// colored, or cut at the end of a long line.
func TestSanitizeMasksLogins(t *testing.T) {
	for _, line := range []string{
		"fatal: unable to access 'https://user:pass-word@host/x'", "https:\x1b[1m//user:pass-word@host/x",
		"https://user:pa\x1b[0mss-word@host/x",
		strings.Repeat("x", MaxLine-20) + "https://user:pass-word@host/x", strings.Repeat("x",
			MaxLine-12) + "https://user:pass-word@host/x",
	} {
		if got := Sanitize([]byte(line)); strings.Contains(got, "pass") || strings.Contains(got, "user") {
			t.Errorf("%q", got[max(0, len(got)-60):])
		}
	}
	if got, want := Sanitize([]byte("see https://host/a@b and a@b")), "see https://host/a@b and a@b"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
