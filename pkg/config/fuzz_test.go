package config

import (
	"errors"
	"strings"
	"testing"
)

// FuzzINI holds that any bytes either are refused with a place or give entries
// that say where they stand.
func FuzzINI(f *testing.F) {
	for _, c := range osloCases {
		if text, ok := c.Files["kolla-build.conf"]; ok {
			f.Add([]byte(text))
		}
	}
	f.Add([]byte("\xef\xbb\xbf[DEFAULT]\nbase = x\n"))
	f.Add([]byte("[a]\nb = \x01\n\x01 = c\n[\x01]\nb =\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := parseINI("f.conf", data)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Message == "" {
				t.Fatalf("an error without a place: %v", err)
			}
			return
		}
		lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data)), "\n")
		for _, e := range parsed.entries {
			if e.line < 1 || e.line > len(lines) || !strings.Contains(lines[e.line-1], e.key) {
				t.Fatalf("%q is not in line %d of %q", e.key, e.line, data)
			}
			first, _, _ := strings.Cut(e.value, "\n")
			if !strings.Contains(lines[e.line-1], first) {
				t.Fatalf("the value %q is not in line %d of %q", first, e.line, data)
			}
		}
	})
}

// FuzzExpand holds that expansion ends, that text without a dollar sign stays, and
// that doubling every dollar sign undoes it.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "a", "$base", "${base}x", "$$base", `\$base`, "$", "a$-b", "${base", "${base-tag}", "$base.x", "${}", "$é"} {
		f.Add(s)
	}
	lookup := func(name string) (string, error) {
		if name == "no" {
			return "", &unknownName{name}
		}
		return "<" + name + ">", nil
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := expand(s, lookup); err != nil && !strings.Contains(s, "no") {
			t.Fatalf("expand(%q): %v", s, err)
		}
		if strings.Contains(s, `\$`) || strings.HasSuffix(s, `\`) {
			return // a backslash doubles the dollar sign itself
		}
		got, err := expand(strings.ReplaceAll(s, "$", "$$"), lookup)
		if err != nil || got != s {
			t.Fatalf("%q with dollar signs doubled gives %q, %v", s, got, err)
		}
	})
}

// FuzzArgs holds that no command line is fatal.
func FuzzArgs(f *testing.F) {
	for _, c := range osloCases {
		f.Add(strings.Join(c.Args, "\x00"))
	}
	f.Fuzz(func(t *testing.T, joined string) {
		_, err := parseArgs(Input{Args: strings.Split(joined, "\x00")})
		var e *Error
		if err != nil && err != ErrHelp && err != ErrVersion && !errors.As(err, &e) {
			t.Fatalf("%q: %v", joined, err)
		}
	})
}
