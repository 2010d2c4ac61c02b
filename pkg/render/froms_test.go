package render

import (
	"fmt"
	"strings"
	"testing"
)

func TestBases(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "FROM kolla/base:t\nRUN x", "kolla/base:t@1"},
		{"none", "RUN x", "@0"},
		{"empty", "", "@0"},
		{"comments and blanks first", "\n# FROM no:1\n\nFROM yes:1\n", "yes:1@4"},
		{"lower case", "from a:1", "a:1@1"},
		{"indented", "  FROM a:1", "a:1@1"},
		{"platform", "FROM --platform=linux/arm64 a:1", "a:1@1"},
		{"ARG first", "ARG X=1\nFROM a:1", "a:1@2"},
		{"variable stays as it is", "ARG X=1\nFROM a:${X}", "a:${X}@2"},
		{"digest", "FROM a@sha256:00 AS x", "a@sha256:00@1"},
		{"stages", "FROM a:1 AS build\nFROM b:1 as two\nCOPY --from=build /x /\nFROM build\nFROM Two", "a:1@1 b:1@2"},
		{"stages by number", "FROM a:1\nFROM b:1\nCOPY --from=0 /x /", "a:1@1 b:1@2"},
		{"copy from an image", "FROM a:1\nCOPY --chown=1 --from=tool:2 /x /\nCOPY --from=tool:2 /y /", "a:1@1 tool:2@2"},
		{"mount from an image", "FROM a:1\nRUN --mount=type=bind,from=tool:2,target=/t true", "a:1@1 tool:2@2"},
		{"scratch", "FROM a:1\nFROM scratch", "a:1@1"},
		{"the parent again", "FROM a:1\nFROM a:1", "a:1@1"},
		{"continued", "FROM \\\n  # why\n\n  a:1 \\\n  AS x\nFROM x", "a:1@1"},
		{"FROM within a RUN", "FROM a:1\nRUN mysql -e 'SELECT x \\\nFROM user'\n", "a:1@1"},
		{"FROM within a heredoc", "FROM a:1\nRUN <<EOF\nFROM b:1\nEOF\nFROM c:1", "a:1@1 c:1@5"},
		{"two heredocs", "FROM a:1\nRUN <<-\"A\" cat; <<'B' cat\nFROM b:1\n\tA\nFROM b:1\nB\nFROM c:1", "a:1@1 c:1@7"},
		{"here string", "FROM a:1\nRUN cat <<<EOF\nFROM c:1", "a:1@1 c:1@3"},
		{"escape directive", "# escape=`\nFROM `\na:1\nRUN dir c:\\\nFROM b:1", "a:1@2 b:1@5"},
		{"CRLF", "FROM a:1\r\nRUN x \\\r\n y\r\nFROM b:1\r\n", "a:1@1 b:1@4"},
		{"FROM with nothing", "FROM\nFROM a:1", "a:1@2"},
	} {
		from, line, needs := bases([]byte(c.in))
		got := fmt.Sprintf("%s@%d", from, line)
		for _, n := range needs {
			got += fmt.Sprintf(" %s@%d", n.Reference, n.Line)
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// FuzzBases checks that lines lie within the file and that a first line FROM is
// always found.
func FuzzBases(f *testing.F) {
	for _, s := range []string{"FROM a:1", "RUN <<EOF\nx\nEOF\nFROM b", "# escape=`\nFROM `\na", "FROM \\", "<<A", "RUN <<\"", "COPY --from= x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		from, line, needs := bases([]byte(s))
		lines := 1 + strings.Count(s, "\n")
		if (from == "") != (line == 0) || line > lines {
			t.Errorf("FROM %q on line %d of %d", from, line, lines)
		}
		for _, n := range needs {
			if n.Line < line || n.Line > lines || n.Reference == "" {
				t.Errorf("need %+v", n)
			}
		}
		if from, line, _ := bases([]byte("FROM base:1\n" + s)); from != "base:1" || line != 1 {
			t.Errorf("first line not found: %q %d", from, line)
		}
	})
}
