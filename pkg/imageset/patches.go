package imageset

import (
	"bytes"
	"errors"
	"io"
	"path"
	"path/filepath"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// checkPatches gives an error to each image with a patch that has the name of a patch of an
// ancestor, and another content. kolla_patch keeps the names of the patches that were
// applied, so it would skip the second one.
func (s *Set) checkPatches(names []string) {
	if s.Config.PatchesPath == "" {
		return
	}
	for _, name := range names {
		f := s.byName[name]
		patches := patchesOf(f)
		if len(patches) == 0 {
			continue
		}
		for _, ancestor := range s.Graph.Ancestors(name) {
			for patch, inherited := range patchesOf(s.byName[ancestor.Name]) {
				imagePatch, ok := patches[patch]
				if !ok {
					continue
				}
				identical, err := sameContent(imagePatch, inherited)
				if err == nil && !identical {
					err = usererr.Errorf("rename one of them",
						"the patch %s has the name of another patch of %s, which is applied first: this one would not be applied",
						patch, ancestor.Name)
				}
				f.Patches = errors.Join(f.Patches, err)
			}
		}
	}
}

// patchesOf returns the patches in an image's series, by their names.
func patchesOf(f *render.Dockerfile) map[string]render.File {
	if len(f.Series) == 0 {
		return nil
	}
	files := map[string]render.File{}
	for _, file := range f.Context {
		files[file.Path] = file
	}
	patches := map[string]render.File{}
	for _, p := range f.Series {
		patches[p.Name] = files[path.Join("patches", filepath.ToSlash(p.Name))]
	}
	return patches
}

func sameContent(a, b render.File) (bool, error) {
	if a.Size != b.Size {
		return false, nil
	}
	first, err := contentOf(a)
	if err != nil {
		return false, err
	}
	second, err := contentOf(b)
	return bytes.Equal(first, second), err
}

func contentOf(file render.File) ([]byte, error) {
	r, err := file.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, file.Size))
}
