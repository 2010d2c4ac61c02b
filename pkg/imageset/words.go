package imageset

import (
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"

	"github.com/kolla-build/kolla-build/dockerfiles"
)

var word = regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9+._-]+[A-Za-z0-9+]`)

// Words returns the words of all rendered Dockerfiles and of the built-in templates,
// sorted: the names of packages and programs are among them.
func (r *Rendered) Words() []string {
	words := map[string]bool{}
	add := func(text []byte) {
		for _, w := range word.FindAll(text, -1) {
			words[string(w)] = true
		}
	}
	for _, s := range r.Sets {
		for i := range s.Files {
			add(s.Files[i].Content)
		}
	}
	tree := dockerfiles.Tree()
	_ = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error { // embedded: there are no errors
		if err == nil && !d.IsDir() && path.Ext(name) == ".j2" {
			text, _ := fs.ReadFile(tree, name)
			add(text)
		}
		return nil
	})
	return slices.Sorted(maps.Keys(words))
}
