package apt

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParagraphs(t *testing.T) {
	text := "# comment\nPackage: a\nDescription: short\n long\nSHA256:\n x 1\n y 2\nno field\n z 3\r\n\n\nPackage : b\n"
	var got []Paragraph
	Paragraphs([]byte(text), []string{"sha256"}, func(p Paragraph) { got = append(got, p) })
	want := []Paragraph{{"package": "a", "description": "short", "sha256": "\nx 1\ny 2"}, {"package": "b"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestParseSources(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []Source
	}{
		{"etc/apt/sources.list", "deb http://a trixie main # comment\ndeb-src http://a trixie main\n# deb http://b x main\ndeb\ndeb [arch=amd64,arm64 signed-by=/k.gpg,/l.gpg] http://c ./\n", []Source{
			{URIs: []string{"http://a"}, Suites: []string{"trixie"}, Components: []string{"main"}},
			{URIs: []string{"http://c"}, Suites: []string{"./"}, Components: []string{},
				Architectures: []string{"amd64", "arm64"}, SignedBy: "/k.gpg"},
		}},
		{"etc/apt/sources.list.d/x.sources", "Types: deb deb-src\nURIs: http://a\n http://b\nSuites: s t\nComponents: main\nSigned-By: /k\n\nTypes: deb\nURIs: http://c\nSuites: u\nEnabled: no\n\nTypes: deb\nURIs: http://d\n", []Source{
			{URIs: []string{"http://a", "http://b"}, Suites: []string{"s", "t"}, Components: []string{"main"},
				Architectures: []string{}, SignedBy: "/k"},
		}},
	} {
		if !IsSourcesFile(c.name) {
			t.Errorf("%s is not a list of sources", c.name)
		}
		if got := ParseSources(c.name, c.text); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
	if IsSourcesFile("etc/apt/sources.list.d/x.list.save") {
		t.Error("apt does not read .save files")
	}
}

// TestParagraphsLargeField reads a hostile file: a field of a million lines. A
// quadratic reader would copy terabytes.
func TestParagraphsLargeField(t *testing.T) {
	text := "Conffiles:" + strings.Repeat("\n x", 1<<20)
	Paragraphs([]byte(text), []string{"conffiles"}, func(p Paragraph) {
		if n := strings.Count(p["conffiles"], "\n"); n != 1<<20 {
			t.Errorf("%d lines", n)
		}
	})
}

// TestParagraphsManyFields reads a hostile file: a paragraph of countless fields, each of which takes
// much more memory than text.
func TestParagraphsManyFields(t *testing.T) {
	var text strings.Builder
	text.WriteString("Package: x\n")
	for i := range 2 * maxFields {
		fmt.Fprintf(&text, "f%d:\n", i)
	}
	text.WriteString("\nPackage: y\n")
	var names []string
	Paragraphs([]byte(text.String()), nil, func(p Paragraph) {
		if names = append(names, p["package"]); len(p) > maxFields {
			t.Errorf("%d fields", len(p))
		}
	})
	if want := []string{"x", "y"}; !slices.Equal(names, want) {
		t.Errorf("packages %q", names)
	}
}

func FuzzParseSources(f *testing.F) {
	f.Add("deb [a=b] http://x y z\n")
	f.Add("Types: deb\nURIs: a\n b\nSuites: c\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range []string{"x.list", "x.sources"} {
			for _, s := range ParseSources(name, text) {
				if len(s.URIs) == 0 || len(s.Suites) == 0 {
					t.Errorf("%s: incomplete source %+v", name, s)
				}
			}
		}
	})
}
