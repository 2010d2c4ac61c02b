package profiles

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/dockerfiles"
)

func images(t *testing.T) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(dockerfiles.Tree(), ".", func(name string, _ fs.DirEntry, err error) error {
		if path.Base(name) == "Dockerfile.j2" {
			names = append(names, path.Base(path.Dir(name)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Each profile selects images of the tree. Only upstream's profiles may name images
// that the tree lacks, which further trees may have.
func TestProfilesSelectImages(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"infra", "main", "aux", "default", "quickstart"} {
		if all[name] == nil {
			t.Errorf("there is no profile %s", name)
		}
	}
	names := images(t)
	for profile, expressions := range all {
		var idle []string
		for _, expression := range expressions {
			if !slices.ContainsFunc(names, regexp.MustCompile(expression).MatchString) {
				idle = append(idle, expression)
			}
		}
		if len(idle) == len(expressions) {
			t.Errorf("profile %s selects no image", profile)
		}
		if profile == "quickstart" && len(idle) > 0 {
			t.Errorf("profile %s: %s match no image", profile, idle)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for content, want := range map[string]string{
		"nova":                   `profiles.conf:1: "nova" is not NAME = EXPRESSION`,
		"# x\nmain = nova,,heat": "profiles.conf:2: profile main has an empty expression",
		"main =":                 "empty expression",
		"main = neu(tron":        "error parsing regexp",
		"a = b\na = c":           "profiles.conf:2: there are two profiles a",
	} {
		_, err := parse(content)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
}
