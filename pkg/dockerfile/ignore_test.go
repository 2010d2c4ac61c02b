package dockerfile

import (
	"errors"
	"path"
	"strings"
	"testing"
)

func TestIgnoreErrors(t *testing.T) {
	for content, want := range map[string]string{
		"a\n# b\n[\n":                            "i:3: pattern \"[\"",
		"ok\n!bad[\n":                            "i:2: pattern \"!bad[\"",
		"!\n":                                    "i:1: ",
		"x\n\\\n":                                "i:2: pattern",
		"**/[a-\nx\n\n":                          "i:1: pattern",
		"x\n" + strings.Repeat("*a", 600) + "\n": "i:2: a pattern of 1201 bytes",
		strings.Repeat("*a\n", 2001):             "i:2001: more than 2000 lines",
		strings.Repeat("# comment of a line\n", 4000): "i: larger than",
	} {
		_, err := ParseIgnore("i", []byte(content))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
}

// FuzzIgnore checks that the kept files are a subset of the files, with their
// directories.
func FuzzIgnore(f *testing.F) {
	for _, s := range []string{"*.key\n!a/b", "**\n!**/*.md", "\xef\xbb\xbfa\r\n", "[\n", "!", "a/../..\n/"} {
		f.Add(s)
	}
	names := []string{"a", "a/b", "a/b/c.md", "d.key", "e f/g"}
	f.Fuzz(func(t *testing.T, s string) {
		i, err := ParseIgnore("i", []byte(s))
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line > strings.Count(s, "\n")+1 {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		for name := range i.Kept(names) {
			if dir := path.Dir(name); dir != "." && !i.Kept(names)[dir] {
				t.Errorf("%q: %s without its directory", s, name)
			}
		}
	})
}
