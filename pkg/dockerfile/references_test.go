package dockerfile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var amd64 = Options{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}

func TestReferences(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "FROM kolla/base:t\nRUN x", "kolla/base:t@1"},
		{"none", "RUN x", "@0"},
		{"empty", "", "@0"},
		{"comments and blanks first", "\n# FROM no:1\n\nFROM yes:1\n", "yes:1@4"},
		{"lower case", "from a:1", "a:1@1"},
		{"indented", "  FROM a:1", "a:1@1"},
		{"platform", "FROM --platform=linux/arm64 a:1", "a:1@1"},
		{"ARG first", "ARG X=1\nFROM a:1", "a:1@2"},
		{"variable", "ARG X=1\nFROM a:${X}", "a:1@2"},
		{"variable of a variable", "ARG N=b\nARG X=${N}:${V:-2}\nFROM $X AS s\nFROM c-$N:1", "b:2@3 c-b:1@4"},
		{"build argument", "ARG G=1\nFROM a:${G}", "a:given@2"},
		{"variable without a value", "ARG X\nFROM a:${X}", "a:${X}@2"},
		{"default", "ARG X\nFROM a:${X:-1}", "a:1@2"},
		{"default without a colon", "FROM a:${X-1}", "a:1@1"},
		{"alternative", "ARG X=y\nARG Z\nFROM ${X:+a}:1${Z:+no}", "a:1@3"},
		{"default that is a variable", "ARG N=1\nFROM a:${X:-$N}", "a:1@2"},
		{"default beside a variable without a value", "FROM ${Y}a:${X:-1}", "${Y}a:${X:-1}@1"},
		{"pattern", "ARG X=v1.2\nFROM a:${X#v}", "a:1.2@2"},
		{"variable of a stage is not one of FROM", "FROM b:1\nARG X=1\nFROM a:${X}", "b:1@1"},
		{"platform variables", "FROM a:$TARGETARCH-$BUILDOS", "a:amd64-linux@1"},
		{"copy from an image with a variable", "ARG X=1\nFROM a:1\nCOPY --from=b:$X /x /\nCOPY --from=c:1 /x /",
			"a:1@2 c:1@4"},
		{"escape directive and a variable", "# escape=`\nARG X=a`-b\nFROM $X:1", "a-b:1@3"},
		{"mistake after FROM", "FROM a:1\nENV novalue\nCOPY --from=b:1 / /", "a:1@1"},
		{"unknown instruction", "FROM a:1\nRUNN x\nCOPY --from=b:1 / /", "a:1@1 b:1@3"},
		{"wrong flag", "FROM a:1\nCOPY --nosuch=1 x /\nCOPY --from=b:1 / /", "a:1@1 b:1@3"},
		{"FROM with too much", "FROM a:1 b c d\n", "a:1@1"},
		{"heredoc without an end", "FROM a:1\nRUN <<EOF\nx\n", "a:1@1"},
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
		{"ONBUILD of the result", "FROM a:1\nONBUILD COPY --from=b:1 x /\nRUN x", "a:1@1"},
		{"ONBUILD of a stage", "FROM a:1 AS s\nONBUILD COPY --from=b:1 x /\nRUN x\nFROM s", "a:1@1 b:1@4"},
		{"tags that differ by case", "FROM a:1\nCOPY --from=b:rc /x /\nCOPY --from=b:RC /x /", "a:1@1 b:rc@2 b:RC@3"},
		{"FROM with nothing", "FROM\nFROM a:1", "a:1@2"},
	} {
		o := amd64
		o.BuildArgs = map[string]string{"G": "given"}
		base, others, _ := References([]byte(c.in), o)
		got := fmt.Sprintf("%s@%d", base.Reference, base.Line)
		for _, n := range others {
			got += fmt.Sprintf(" %s@%d", n.Reference, n.Line)
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestTriggeredReferences(t *testing.T) {
	for _, c := range []struct{ name, base, child, want string }{
		{"COPY", "FROM scratch\nONBUILD COPY --from=tool:1 /x /\nONBUILD COPY y /", "FROM base:1\nRUN x",
			"[COPY --from=tool:1 /x /] tool:1@1"},
		{"RUN", "FROM scratch\nonbuild run --mount=type=bind,from=tool:1,target=/x y", "\nFROM base:1",
			"[run --mount=type=bind,from=tool:1,target=/x y] tool:1@2"},
		{"nothing from elsewhere", "FROM scratch\nONBUILD COPY x /\nONBUILD RUN from=y", "FROM base:1", "[]"},
		{"those of another stage", "FROM scratch AS s\nONBUILD COPY --from=tool:1 /x /\nFROM s", "FROM base:1", "[]"},
		{"a stage of the child", "FROM scratch\nONBUILD COPY --from=build /x /\nONBUILD COPY --from=0 /y /",
			"FROM other:1 AS Build\nFROM base:1", "[COPY --from=build /x / COPY --from=0 /y /]"},
		{"named by the child too", "FROM scratch\nONBUILD COPY --from=tool:1 /x /", "FROM base:1\nCOPY --from=tool:1 /y /",
			"[COPY --from=tool:1 /x /]"},
		{"a stage that is not built", "FROM scratch\nONBUILD COPY --from=tool:1 /x /", "FROM base:1 AS s\nFROM other:1",
			"[COPY --from=tool:1 /x /]"},
		{"a stage that a trigger needs", "FROM scratch\nONBUILD COPY --from=build /x /\nONBUILD COPY --from=tool:1 /x /",
			"FROM golang:1 AS build\nFROM base:1",
			"[COPY --from=build /x / COPY --from=tool:1 /x /] tool:1@2 of-golang:1@1"},
		{"variables", "FROM scratch\nONBUILD COPY --from=tool:1 /x /", "ARG B=base\nFROM ${B}:1",
			"[COPY --from=tool:1 /x /] tool:1@2"},
		{"a wrong trigger", "FROM scratch\nONBUILD COPY --from=tool:1\nONBUILD COPY --from=tool:2 /x /", "FROM base:1",
			"[COPY --from=tool:2 /x /] tool:2@1"},
	} {
		_, _, onBuild := References([]byte(c.base), amd64)
		got := fmt.Sprint(onBuild)
		for _, im := range TriggeredReferences([]byte(c.child), amd64, func(im Image) []string {
			switch im.Name {
			case "base:1":
				return onBuild
			case "golang:1":
				return []string{"COPY --from=of-golang:1 /x /"}
			}
			return nil
		}) {
			got += fmt.Sprintf(" %s@%d", im.Reference, im.Line)
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// FuzzReferences checks that lines are within the file, that a FROM on the first
// line is always found, and that the short cut for one reference changes nothing.
func FuzzReferences(f *testing.F) {
	for _, s := range []string{"FROM a:1", "\n\nFROM a:1\nCOPY --From=b x /", "FROM a\n\u00a0FROM b",
		"FROM a\nRUN x \\\n  FROM b", "RUN <<EOF\nx\nEOF\nFROM b", "FROM a AS s\nONBUILD COPY --from=s x /\nFROM s",
		"# escape=`\nFROM `\na", "FROM \\", "<<A", "RUN <<\"", "COPY --from= x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		base, others, onBuild := References([]byte(s), amd64)
		for _, im := range TriggeredReferences([]byte(s), amd64,
			func(Image) []string { return append(onBuild, "COPY --from=tool:1 /x /") }) {
			if im.Line < 1 || im.Line > 1+strings.Count(s, "\n") || im.Reference == "" {
				t.Errorf("%q: triggered image %+v", s, im)
			}
		}
		from, line := base.Reference, base.Line
		if b, o := parseTolerant([]byte(s)).references(amd64); b != base || !slices.Equal(o, others) {
			t.Errorf("%q: %v %v, in full %v %v", s, base, others, b, o)
		}
		lines := 1 + strings.Count(s, "\n")
		if (from == "") != (line == 0) || line > lines {
			t.Errorf("FROM %q on line %d of %d", from, line, lines)
		}
		for _, n := range others {
			if n.Line < line || n.Line > lines || n.Reference == "" {
				t.Errorf("image %+v", n)
			}
		}
		if base, _, _ := References([]byte("FROM base:1\n"+s), amd64); base.Reference != "base:1" || base.Line != 1 {
			t.Errorf("first line not found: %+v", base)
		}
	})
}
