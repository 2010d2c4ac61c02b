package deps

import (
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// TestPackageComments checks that each package has one comment, which says what the package
// owns and what it must not know.
func TestPackageComments(t *testing.T) {
	root := testenv.RepoRoot(t)
	comments := map[string][]string{} // by directory
	packages := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := e.Name(); e.IsDir() && (name == "testdata" || path != root && strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if e.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		packages[dir] = true
		if f.Doc != nil {
			comments[dir] = append(comments[dir], f.Doc.Text())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 100 {
		t.Errorf("only %d packages were found", len(packages))
	}
	for dir := range packages {
		if len(comments[dir]) != 1 {
			t.Errorf("%s has %d package comments", dir, len(comments[dir]))
			continue
		}
		text := strings.Join(strings.Fields(comments[dir][0]), " ")
		if problem := commentProblem(filepath.Base(dir), text); problem != "" {
			t.Errorf("the comment of %s %s: %s", dir, problem, new(doc.Package).Synopsis(text))
		}
	}
}

// commentProblem returns what a package comment lacks, "" for nothing.
func commentProblem(name, text string) string {
	switch {
	case !strings.HasPrefix(text, "Package "+name+" ") && !strings.HasPrefix(text, "Command "+name+" "):
		return "does not begin with the name"
	case strings.Count(text, ". ")+1 < 2:
		return "has only one sentence"
	case !strings.Contains(text, "must not"):
		return "does not say what the package must not know"
	}
	return ""
}

func TestCommentProblem(t *testing.T) {
	for text, want := range map[string]string{
		"Package x owns y. It must not know z.": "",
		"Command x does y. It must not know z.": "",
		"Package y owns y. It must not know z.": "does not begin with the name",
		"Package x owns y and must not know z.": "has only one sentence",
		"Package x owns y. It is small.":        "does not say what the package must not know",
	} {
		if got := commentProblem("x", text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
