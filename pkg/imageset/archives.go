package imageset

import (
	"regexp"
	"slices"
	"strings"

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

// Triggers returns the ONBUILD instructions, without that word, that the stages of a
// Dockerfile run: those of the images of the tree in their FROM lines. Images that only
// COPY or a mount name run none.
func (s *Set) Triggers(f *render.Dockerfile) []string {
	if !s.refersToOnBuild(f) {
		return nil // parsing takes long
	}
	var triggers []string
	dockerfile.TriggeredReferences(f.Content, dockerfile.Options{Platform: s.Platform, BuildArgs: s.Config.BuildArgs},
		func(base dockerfile.Image) []string {
			onBuild := s.OnBuild(base.Reference)
			triggers = append(triggers, onBuild...)
			return onBuild
		})
	return triggers
}

// refersToOnBuild reports whether a Dockerfile refers to an image with ONBUILD instructions.
func (s *Set) refersToOnBuild(f *render.Dockerfile) bool {
	return len(s.OnBuild(f.From)) > 0 ||
		slices.ContainsFunc(f.Needs, func(n render.Need) bool { return len(s.OnBuild(n.Reference)) > 0 })
}

// CopiesArchive reports whether an image copies an archive of sources, so that it is made.
// used and everything are the result of ContextPaths with the image's Triggers. In templates
// for packages only a name selects an archive: their patterns mean other files, even if sources
// are configured.
func (s *Set) CopiesArchive(archive string, used []string, everything bool) bool {
	source := s.Config.InstallType == "source"
	if everything {
		return source
	}
	if !source {
		used = slices.DeleteFunc(slices.Clone(used), func(path string) bool { return strings.ContainsAny(path, `*?[\`) })
	}
	return len(used) > 0 && dockerfile.NamesPath(used, archive)
}
