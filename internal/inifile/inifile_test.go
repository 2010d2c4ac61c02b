package inifile

import (
	"errors"
	"strings"
	"testing"
)

// FuzzParse checks that any bytes are either rejected with a place or yield entries
// with their places.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "# only\n", "[DEFAULT]\nbase = x\n", "[DEFAULT]\r\nbase: x\r",
		"[a]\nb = c\n  d\n\te\n", "[a]\nb = 'q'\nb = \"\"\n",
		"[a]\n`b` = \"\"\"c\"\"\"\n- = x\n", "[a]\nb = c\\\nd = e\n", "[a\n", "[]\n", "[a]\n= x\n", "[a]\nb\n", "b = c\n",
		"[a]\n\n  x\n", "[a.b]\nc = \xff\n"} {
		f.Add([]byte(text))
	}
	f.Add([]byte("\xef\xbb\xbf[DEFAULT]\nbase = x\n"))
	f.Add([]byte("[a]\nb = \x01\n\x01 = c\n[\x01]\nb =\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := Parse("f.conf", data)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Message == "" {
				t.Fatalf("an error without a place: %v", err)
			}
			return
		}
		lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data)), "\n")
		for _, e := range parsed.Entries {
			if e.Line < 1 || e.Line > len(lines) || !strings.Contains(lines[e.Line-1], e.Key) {
				t.Fatalf("%q is not in line %d of %q", e.Key, e.Line, data)
			}
			first, _, _ := strings.Cut(e.Value, "\n")
			if !strings.Contains(lines[e.Line-1], first) {
				t.Fatalf("the value %q is not in line %d of %q", first, e.Line, data)
			}
		}
	})
}
