package dockerfiles_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// earlyEnd matches a command at the end of a pipe that may end before its input. With pipefail,
// SIGPIPE then fails the commands before it, if they write more than a pipe holds.
var earlyEnd = regexp.MustCompile(`[^|]\|\s*(?:grep\s+(?:-\S+\s+)*-[a-zA-Z]*[qm]|head\b|awk\s[^|]*\bexit\b|sed\s[^|]*[0-9;{]q\b)`)

func TestPipesReadTheirInput(t *testing.T) {
	scripts := 0
	for _, dir := range []string{".", "../scripts", "../examples", "../testdata/deploy"} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || filepath.Ext(path) == ".go" {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil || !bytes.Contains(content, []byte("pipefail")) {
				return err
			}
			scripts++
			for i, line := range bytes.Split(content, []byte("\n")) {
				if earlyEnd.Match(line) {
					t.Errorf("%s:%d: a pipe with pipefail ends before its input: %s", path, i+1, line)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if scripts < 20 {
		t.Errorf("%d scripts with pipefail", scripts)
	}
}
