package dockerfiles_test

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

var (
	// earlyEnd matches a command at the end of a pipe that may end before its input. With pipefail,
	// SIGPIPE then fails the commands before it, if they write more than a pipe holds.
	earlyEnd = regexp.MustCompile(`(?:^|[^|])\|&?\s*(?:grep\s+(?:-\S+\s+)*-[a-zA-Z]*[qm]|head\b|awk\s[^|]*\bexit\b|sed\s[^|]*[0-9;{]q\b)`)
	// continued matches the end of a line whose command the next line continues.
	continued = regexp.MustCompile(`\\\n|(\|&?)[ \t]*(#.*)?\n`)
	// sourced matches the name of a file that a script sources, also after a condition.
	sourced = regexp.MustCompile(`(?m)(?:^|[;&|({]|\b(?:then|do|else))\s*(?:source|\.)[ \t]+["']?[^\s"';&|]*?([\w.-]+)["']?(?:[\s;&|)]|$)`)
)

func TestPipesReadTheirInput(t *testing.T) {
	all := shellFiles(t)
	scripts := withPipefail(all)
	for _, path := range slices.Sorted(maps.Keys(scripts)) {
		for _, end := range earlyEnds(scripts[path]) {
			t.Errorf("%s:%d: a pipe with pipefail ends before its input: %s", path, end.line, end.command)
		}
	}
	if len(scripts) < 20 {
		t.Errorf("%d scripts with pipefail", len(scripts))
	}
}

func TestEarlyEndsAreFound(t *testing.T) {
	for script, want := range map[string]int{ // the line, 0 for none
		"a | head -1\n":                        1,
		"a |& grep -q x\n":                     1,
		"a\na \\\n  | grep -q x\n":             3,
		"a |\n  head -1\n":                     2,
		"a | # why\n  grep -m1 x\n":            2,
		"a |\n  b\n\na \\\n b\nc | head -1\n":  6,
		"a || head -1 file\n":                  0,
		"a | grep x\nhead -1 file\n":           0,
		"a | sed -n 1p\n":                      0,
		"a | awk '{ print; exit }'\nb | cat\n": 1,
	} {
		found := earlyEnds([]byte(script))
		if len(found) != min(want, 1) || want > 0 && found[0].line != want {
			t.Errorf("%q: %v, want the line %d", script, found, want)
		}
	}
	files := map[string][]byte{"x/main.sh": []byte("set -o pipefail\n. /opt/lib.sh\n"),
		"y/lib.sh":  []byte("source \"$here/more.sh\"\n"),
		"y/more.sh": nil, "y/other.sh": nil}
	if got := slices.Sorted(maps.Keys(withPipefail(files))); !slices.Equal(got,
		[]string{"x/main.sh", "y/lib.sh", "y/more.sh"}) {
		t.Errorf("scripts with pipefail: %q", got)
	}
	for command, want := range map[string]bool{
		". /lib.sh": true, "[ -f /lib.sh ] && . /lib.sh": true,
		"a; source \"$here/lib.sh\" || exit": true, ". lib.sh arg": true,
		"if a; then . ./lib.sh; fi": true, "{ . lib.sh; }": true, "(. lib.sh)": true, "a || . '/x/lib.sh'": true,
		"cat lib.sh": false, "find . lib.sh": false, "# see . lib.sh": false, ". other.sh lib.sh": false, "./lib.sh": false,
	} {
		files := map[string][]byte{"main.sh": []byte("set -o pipefail\n" + command + "\n"), "lib.sh": nil}
		if _, got := withPipefail(files)["lib.sh"]; got != want {
			t.Errorf("%q sources lib.sh: %v", command, got)
		}
	}
}

type pipeEnd struct {
	line    int
	command string
}

// earlyEnds returns the commands of a script with a pipe whose end may not read its input.
func earlyEnds(script []byte) []pipeEnd {
	const joint = "\f" // in place of the end of a line that the next one continues
	var found []pipeEnd
	line := 1
	for command := range bytes.SplitSeq(continued.ReplaceAll(script, []byte("$1 "+joint)), []byte("\n")) {
		if end := earlyEnd.FindIndex(command); end != nil {
			text := bytes.ReplaceAll(command, []byte(joint), nil)
			found = append(found, pipeEnd{line + bytes.Count(command[:end[1]], []byte(joint)), string(text)})
		}
		line += 1 + bytes.Count(command, []byte(joint))
	}
	return found
}

// withPipefail returns the files that set pipefail, and those that these source.
func withPipefail(files map[string][]byte) map[string][]byte {
	scripts := map[string][]byte{}
	var add func(path string)
	add = func(path string) {
		if scripts[path] != nil {
			return
		}
		scripts[path] = append([]byte{}, files[path]...)
		for _, m := range sourced.FindAllSubmatch(files[path], -1) {
			for other := range files {
				if filepath.Base(other) == string(m[1]) {
					add(other)
				}
			}
		}
	}
	for path, content := range files {
		if bytes.Contains(content, []byte("pipefail")) {
			add(path)
		}
	}
	return scripts
}

// shellFiles returns the content of all files that may be scripts, by path.
func shellFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, dir := range []string{".", "../scripts", "../examples", "../testdata/deploy"} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || filepath.Ext(path) == ".go" {
				return err
			}
			files[path], err = os.ReadFile(path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}
