package imageset

import (
	"regexp"
	"slices"

	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// hasOnBuild matches Dockerfiles that may have ONBUILD instructions. Parsing all of them
// takes longer than rendering them.
var hasOnBuild = regexp.MustCompile(`(?im)^\s*onbuild\s`)

// OnBuild returns the ONBUILD instructions, without that word, of the image of the tree
// with a reference.
func (s *Set) OnBuild(reference string) []string {
	onBuild := s.onBuild()
	if len(onBuild) == 0 {
		return nil // as in most trees
	}
	return onBuild[dockerfile.Familiar(reference)]
}

// readOnBuild returns the ONBUILD instructions of all images that have some, by familiar name.
func (s *Set) readOnBuild() map[string][]string {
	found := map[string][]string{}
	for i := range s.Files {
		f := &s.Files[i]
		if !hasOnBuild.Match(f.Content) {
			continue
		}
		if file, err := dockerfile.Parse(f.Place, f.Content); err == nil { // a mistake fails the image
			found[dockerfile.Familiar(f.Reference)] = file.OnBuild()
		}
	}
	return found
}

// Triggers returns the ONBUILD instructions, without that word, of the images of the tree that
// a Dockerfile refers to.
func (s *Set) Triggers(f *render.Dockerfile) []string {
	triggers := slices.Clone(s.OnBuild(f.From))
	for _, n := range f.Needs {
		if n.Reference != f.From {
			triggers = append(triggers, s.OnBuild(n.Reference)...)
		}
	}
	return triggers
}

// CopiesArchive reports whether an image copies an archive of sources, so that it is made.
// used and everything are the result of ContextPaths with the image's Triggers. Templates
// for packages copy none, even if sources are configured.
func (s *Set) CopiesArchive(archive string, used []string, everything bool) bool {
	if everything {
		return s.Config.InstallType == "source"
	}
	return len(used) > 0 && dockerfile.NamesPath(used, archive)
}
