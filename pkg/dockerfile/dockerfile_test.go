package dockerfile

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

func TestDownloads(t *testing.T) {
	d, err := Parse("Dockerfile", []byte(`FROM scratch
ARG V=1
ADD https://host/a.tar.gz /a
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://host/pinned /b
ADD https://host/$V/c file /c
ADD https://host/repo.git#stable /d
ADD git@host:x/y.git /e
ADD https://host/repo.git#0123456789012345678901234567890123456789 /f
COPY https /g
`))
	if err != nil {
		t.Fatal(err)
	}
	want := "[{https://host/a.tar.gz false } {https://host/repo.git true stable} {git@host:x/y.git true }]"
	if got := fmt.Sprint(d.Downloads()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestParseErrorsNameTheLine(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"empty", " \n", "d: the rendered Dockerfile is empty"},
		{"unknown instruction", "FROM a\nRUNN x\n", "d:2: unknown instruction: RUNN (did you mean RUN?)"},
		{"exchanged letters", "FROM a\nrnu x\n", "d:2: unknown instruction: rnu (did you mean RUN?)"},
		{"nothing similar", "FROM a\nINSTALL x\n", "d:2: unknown instruction: INSTALL\n"},
		{"wrong mount", "FROM a\n\nRUN --mount=type=nosuch x\n", "d:3: "},
		{"variable in a mount's from", "FROM a\nRUN --mount=from=$x,target=/x y\n", "d:2: "},
		{"heredoc without an end", "FROM a\nRUN <<E\nx\n", "d:2: "},
		{"no value", "ARG X\nFROM $X\n", "d:2: FROM $X: no value for X\n  FROM $X"},
		{"countless lines", "FROM a\n" + strings.Repeat("a\n", 1_000_000), "d: 1000001 lines, more than 50000"},
		{"countless instructions", "FROM a\n" + strings.Repeat("RUN x\n", 3000), "d:2001: 3001 instructions, more than 2000"},
		{"another platform", "FROM --platform=linux/arm64 a\n", "d:1: FROM --platform=linux/arm64: "},
	} {
		d, err := Parse("d", []byte(c.content))
		if err == nil {
			err = d.Resolve(amd64)
		}
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// TestHintsOfUncalledNames parses what Jinja2 prints for {{ super }} and the like.
func TestHintsOfUncalledNames(t *testing.T) {
	for line, want := range map[string]string{
		"<jinja2.runtime.BlockReference object at 0x7f14a23db640>": "super()",
		"<Macro 'install_packages'>":                               "parentheses",
		"RUNN x":                                                   "",
	} {
		_, err := Parse("d", []byte("FROM a\n"+line+"\n"))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Hint(), want) || (want == "") != (e.Hint() == "") {
			t.Errorf("%s: %v, want a hint with %q", line, err, want)
		}
	}
}

func TestContextPaths(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"COPY, ADD and mounts", "FROM a\nCOPY b/ ./c /x/\nADD ../d http://h/e /x/\nRUN --mount=type=bind,source=f,target=/f x\n", "[b c d f http:/h/e] false"},
		{"other stages' files", "FROM a AS s\nFROM a\nCOPY --from=s x /\nRUN --mount=type=bind,from=s,source=y,target=/y x\n", "[] false"},
		{"everything", "FROM a\nCOPY . /\n", "[] true"},
		{"variable", "FROM a\nARG V=1\nCOPY x-$V /\n", "[] true"},
		{"parents", "FROM a\nCOPY --parents a/./b /\n", "[] true"},
		{"ONBUILD", "FROM a\nONBUILD COPY x /\n", "[] true"},
	} {
		d, err := Parse("d", []byte(c.content))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		paths, all := d.ContextPaths()
		if got := fmt.Sprint(paths, all); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestTriggers(t *testing.T) {
	triggers, err := Triggers([]string{"COPY x y /z/", "COPY --from=tool:1 /a /", "RUN true"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse("d", []byte("FROM scratch\nFROM a:1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if paths, all := d.ContextPaths(triggers...); all || fmt.Sprint(paths) != "[x y]" {
		t.Errorf("context paths %v, all %v", paths, all)
	}
	_, images, err := d.Triggered(func(Image) ([]instructions.Command, error) { return triggers, nil })
	if got := fmt.Sprint(images, err); got != "[{tool:1 tool:1 2}] <nil>" {
		t.Errorf("images %s", got)
	}
	for _, bad := range []string{"", "RUNN x", "COPY", "RUN --mount=type=nosuch x"} {
		if _, err := Triggers([]string{bad}); err == nil {
			t.Errorf("no error for the trigger %q", bad)
		}
	}
}

func TestRuns(t *testing.T) {
	for content, want := range map[string]bool{
		"FROM a\nCOPY b /":                              false,
		"FROM a\nRUN x":                                 true,
		"FROM a\n  run <<E\nx\nE\n":                     true,
		"FROM a AS s\nRUN x\nFROM a\nCOPY b /":          false,
		"FROM a AS s\nRUN x\nFROM a\nCOPY --from=s b /": true,
		"FROM a\nCOPY <<E /f\nRUN x\nE\n":               false,
		"FROM a\nENTRYPOINT x \\\n RUN y\n":             false,
	} {
		d, err := Parse("d", []byte(content))
		if err != nil {
			t.Fatalf("%q: %v", content, err)
		}
		if d.Runs() != want {
			t.Errorf("%q: Runs is %v", content, !want)
		}
	}
}

// FuzzParse checks that no Dockerfile makes a reader panic, and that errors
// name a line of the file.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"FROM a:1\nRUN --mount=from=b,target=/x y", "ARG X=1\nFROM a:$X", "FROM a\nCOPY <<E /\nE\n",
		"FROM a\nONBUILD COPY x /", "FROM a\nADD https://h/x.git#main /"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Parse("d", []byte(s))
		if err == nil {
			err = d.Resolve(amd64)
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line > strings.Count(s, "\n")+2 {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		d.ContextPaths()
		d.CopiedPaths()
		d.Downloads()
		d.Images()
		d.Runs()
	})
}
