package define

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// patchesDir is the directory of patches in build contexts.
const patchesDir = "patches"

const patchesHint = "a template applies patches with {{ macros.kolla_patch_sources() }}, after COPY patches /patches"

// preparePatches sets the patches that an image must have when it is built. It returns an error
// for mistakes in its series, and if nothing can apply the patches.
func (d *definer) preparePatches(ctx context.Context, f *render.Dockerfile, im *Image) error {
	if f.Patches != nil {
		return fmt.Errorf("patches of %s: %w", f.Name, f.Patches)
	}
	if !render.HasPatches(d.set.Config.PatchesPath, f.Name) {
		return nil
	}
	file, err := d.parse(f)
	if err != nil {
		return nil // the conversion reports it
	}
	access := file.StepsAfter(patchesDir)
	im.PatchedElsewhere = d.patchedElsewhere(ctx, f, file, access)
	switch {
	case im.PatchedElsewhere == "" && access.Line == 0:
		return usererr.Errorf(patchesHint, "patches of %s: its template does not copy them, so they would not be applied",
			f.Name)
	case im.PatchedElsewhere == "" && len(access.Steps) == 0:
		err := usererr.WithHint(errors.New("no RUN instruction after this one applies the patches"), patchesHint)
		return inTemplate(dockerfile.At(f.Template, f.Content, access.Line, err), f.PlaceOf)
	}
	im.Patches = slices.DeleteFunc(slices.Clone(f.Series), func(p render.Patch) bool {
		return appliedBySteps(p.Name, access)
	})
	return nil
}

func (d *definer) parse(f *render.Dockerfile) (*dockerfile.Dockerfile, error) {
	file, err := dockerfile.Parse(f.Template, f.Content)
	if err != nil {
		return nil, err
	}
	return file, file.Resolve(dockerfile.Options{Platform: d.set.Platform, BuildArgs: d.set.Config.BuildArgs})
}

// mayPatch matches commands that may apply patches: the names of programs, patches and scripts.
var mayPatch = regexp.MustCompile(`(?i)patch|quilt|apply|\bam\b|\.(?:diff|sh|py|pl)\b`)

// patchedElsewhere returns what may apply an image's patches without adding them to
// /etc/kolla/patched of the image, see Image.PatchedElsewhere.
func (d *definer) patchedElsewhere(ctx context.Context, f *render.Dockerfile, file *dockerfile.Dockerfile,
	access dockerfile.Access) string {
	if slices.ContainsFunc(access.ResultSteps, runsKollaPatch) {
		return "" // it adds all that it applies to the list
	}
	for _, step := range access.Steps {
		namesTarget := func(dir string) bool { return namesDirectory(step, dir) }
		if mayPatch.MatchString(step) || slices.ContainsFunc(access.Targets, namesTarget) {
			return "a step of its Dockerfile"
		}
	}
	if _, onBuild := file.Commands(); len(onBuild) > 0 {
		return "an ONBUILD instruction"
	}
	for _, other := range d.set.Graph.Images() {
		isAncestor := func(ancestor *graph.Image) bool { return ancestor.Name == f.Name }
		if slices.ContainsFunc(d.set.Graph.Ancestors(other.Name), isAncestor) && d.mayApplyPatches(other.Name) {
			return "its descendant " + other.Name
		}
	}
	for _, im := range file.Images() {
		if d.hasTriggers(ctx, im) {
			return "an ONBUILD instruction of " + im.Reference
		}
	}
	return ""
}

// kollaPatch matches a command that runs kolla_patch. The group is its argument.
var kollaPatch = regexp.MustCompile(`(?m)(?:^|[\s;&|(/])kolla_patch(?:[ \t]+(\w+)|\s|[;&|)]|$)`)

// runsKollaPatch reports whether a step runs kolla_patch to apply patches.
func runsKollaPatch(step string) bool {
	for _, match := range kollaPatch.FindAllStringSubmatch(step, -1) {
		if match[1] != "adopt" {
			return true
		}
	}
	return false
}

// hasTriggers reports whether an image that a Dockerfile refers to has ONBUILD instructions.
func (d *definer) hasTriggers(ctx context.Context, im dockerfile.Image) bool {
	for i := range d.set.Files {
		if f := &d.set.Files[i]; dockerfile.Familiar(f.Reference) == im.Name {
			file, err := d.parse(f)
			if err != nil {
				return false // it fails, and so does the image
			}
			_, onBuild := file.Commands()
			return len(onBuild) > 0
		}
	}
	external, err := d.external(ctx, im.Reference)
	return err == nil && external.HasTriggers() // the conversion reports the error
}

// mayApplyPatches reports whether the Dockerfile of an image may apply patches.
func (d *definer) mayApplyPatches(name string) bool {
	file, err := d.parse(d.set.File(name))
	if err != nil {
		return false
	}
	steps, onBuild := file.Commands()
	return slices.ContainsFunc(slices.Concat(steps, onBuild), mayPatch.MatchString)
}

// patchCommand matches the start of a command that applies patches: at the beginning of a
// command of a shell, with variables before it, or after the name of a program that runs
// another, and its options.
var patchCommand = regexp.MustCompile(
	`(?m)(?:^|[;&|({!"'` + "`" + `]|\b(?:do|then|else|if|while|exec|time)\s|\bxargs\s(?:[^;&|]*\s)?|` +
		`\b(?:sudo|env|timeout|nice|busybox|parallel|python3?)\s+(?:-\S+\s+\S+\s+|-\S+\s+|\d\S*\s+)*)\s*` +
		`(?:\w+=\S*\s+)*(?:[\w./-]*/)?(?:g?patch|quilt|git\s(?:[^;&|]*\s)?(?:apply|am))(?:\s|$)`)

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
	return regexp.MustCompile(`(?:^|[^\w.-])` + dir + `(?:/?(?:$|[^\w./-])|/[^\s;&|]*[*?$\[{` + "`" + `])`).MatchString(
		command)
}
