package dockerfile

import (
	"fmt"
	"testing"
)

func TestStepsAfter(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"not used", "FROM a\nCOPY patch /\nRUN x\n", "0 [] [] []"},
		{"a step before and one after", "FROM a\nRUN x\nCOPY patches /p\nRUN y\n", "3 [/p] [y] [y]"},
		{"no step after it", "FROM a\nRUN x\nCOPY patches /patches/\n", "3 [/patches/] [] []"},
		{"one file, a pattern, a variable", "FROM a\nCOPY ./patches/x /\nADD p* ./\nCOPY $x /y/\nRUN y\n", "2 [/y/] [y] [y]"},
		{"the whole context", "FROM a\nCOPY . /src\nRUN y\n", "2 [/src] [y] [y]"},
		{"another stage", "FROM a AS s\nCOPY patches /p\nFROM a\nRUN x\nCOPY --from=s /p /q\nRUN y\n", "2 [/p /q] [y] []"},
		{"a stage that is based on it", "FROM a AS s\nCOPY patches /p\nFROM s\nRUN y\n", "2 [/p] [y] [y]"},
		{"a stage that is not built", "FROM a AS s\nCOPY patches /p\nRUN y\nFROM a\nRUN x\n", "0 [] [] []"},
		{"mounts", "FROM a AS s\nCOPY patches /p\nFROM a\nRUN --mount=type=bind,from=s,target=/m y\nRUN x\n" +
			"RUN --mount=type=bind,source=patches,target=/n z\n", "2 [/p /m /n] [y z] [z]"},
		{"here-document", "FROM a\nCOPY patches /p\nRUN <<EOF\ny\nz\nEOF\n", "2 [/p] [<<EOF\ny\nz\n] [<<EOF\ny\nz\n]"},
		{"exec form", "FROM a\nCOPY patches /p\nRUN [\"patch\", \"-p1\"]\n", "2 [/p] [patch -p1] [patch -p1]"},
	} {
		d, err := Parse("d", []byte(c.content))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		a := d.StepsAfter("patches")
		if got := fmt.Sprint(a.Line, a.Targets, a.Steps, a.ResultSteps); got != c.want {
			t.Errorf("%s: got  %s\nwant %s", c.name, got, c.want)
		}
	}
}
