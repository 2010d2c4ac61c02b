package define

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// patchesDir is the directory of patches in build contexts.
const patchesDir = "patches"

const patchesHint = "a template applies patches with {{ macros.kolla_patch_sources() }}, after COPY patches /patches"

// patches sets the patches that an image must have when it is built. It returns an error if
// its Dockerfile cannot apply them. everything says that it may use any file of its context.
func (d *definer) patches(f *render.Dockerfile, im *Image, everything bool) error {
	if f.Patches == nil && !render.HasPatches(d.set.Config.PatchesPath, f.Name) {
		return nil
	}
	access := im.Dockerfile.StepsAfter(patchesDir)
	copied := access.Line > 0 || everything
	switch {
	case f.Patches != nil && copied:
		return fmt.Errorf("patches of %s: %w", f.Name, f.Patches)
	case f.Patches != nil:
		return nil
	case !copied:
		return usererr.Errorf(patchesHint, "patches of %s: its template does not copy them, so they would not be applied", f.Name)
	case len(access.Steps) == 0 && !everything:
		err := usererr.WithHint(errors.New("no RUN instruction after this one applies the patches"), patchesHint)
		return inTemplate(dockerfile.At(f.Template, f.Content, access.Line, err), f.PlaceOf)
	}
	im.Patches = slices.DeleteFunc(slices.Clone(f.Series), func(p render.Patch) bool { return appliedBySteps(p.Name, access) })
	return nil
}

// patchCommand matches the start of a command that applies patches: at the beginning of a
// command of a shell, with variables before it, or after the name of a program that runs
// another.
var patchCommand = regexp.MustCompile(`(?m)(?:^|[;&|({!"'` + "`" + `]|\b(?:do|then|else|exec|sudo|env|time)\s|\bxargs\s(?:[^;&|]*\s)?)\s*` +
	`(?:\w+=\S*\s+)*(?:[\w./-]*/)?(?:patch|quilt|git\s(?:[^;&|]*\s)?(?:apply|am))(?:\s|$)`)

// allPatches matches an argument that names several patches, besides a directory.
var allPatches = regexp.MustCompile(`[*?\]]\.(?:patch|diff)\b|\bseries\b|\bquilt\s+push\b`)

// appliedBySteps reports whether a step runs a program that applies patches, and names a
// patch or several at once.
func appliedBySteps(name string, access dockerfile.Access) bool {
	directories := append([]string{patchesDir}, access.Targets...)
	return slices.ContainsFunc(access.Steps, func(step string) bool {
		if !patchCommand.MatchString(step) {
			return false
		}
		return allPatches.MatchString(step) || namesFile(step, path.Base(name)) ||
			slices.ContainsFunc(directories, func(dir string) bool { return namesDirectory(step, dir) })
	})
}

// namesFile reports whether a command contains the name of a file.
func namesFile(command, name string) bool {
	return regexp.MustCompile(`(?:^|[^\w.-])` + regexp.QuoteMeta(name) + `(?:$|[^\w.-])`).MatchString(command)
}

// namesDirectory reports whether a command contains the path of a directory, or of files in
// it by a pattern or a variable.
func namesDirectory(command, dir string) bool {
	dir = regexp.QuoteMeta(strings.TrimRight(strings.TrimPrefix(dir, "./"), "/"))
	return regexp.MustCompile(`(?:^|[^\w.-])` + dir + `(?:/?(?:$|[^\w./-])|/[^\s;&|]*[*?$\[{` + "`" + `])`).MatchString(command)
}
