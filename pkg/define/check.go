package define

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/kolla-build/kolla-build/pkg/source"
)

// needsParents is a warning that depends on the variables of an image's parents, which
// Check does not have.
const needsParents = "UndefinedVar"

// Check looks for mistakes in the Dockerfiles of a set's selected images, without their
// base images, sources and a builder: instructions that do not exist, copies of files
// that a context does not have, archives of sources that are not configured, parents
// outside of the tree, and what BuildKit's linter warns of.
func Check(ctx context.Context, set *imageset.Set) []render.Finding {
	var findings []render.Finding
	base := render.BaseReference(set.Config)
	known := map[string]bool{"scratch": true, dockerfile.Familiar(base): true}
	for i := range set.Files {
		known[dockerfile.Familiar(set.Files[i].Reference)] = true
	}
	for _, im := range set.Selection.Order() {
		f := set.File(im.Name)
		warn := func(line int, text string) {
			file, at := f.PlaceOf(line)
			if file == "" {
				file, at = f.Place, line
			}
			findings = append(findings, render.Finding{File: file, Line: at, Message: text, Warning: true})
		}
		findings = append(findings, f.Undefined...)
		if f.Err != nil {
			findings = append(findings, findingOf(f.Err, f))
			if f.Content == nil {
				continue
			}
		}
		from := dockerfile.FinalBase(f.Content, dockerfile.Options{Platform: set.Platform, BuildArgs: set.Config.BuildArgs})
		if f.Err == nil && from.Name != "" && !known[from.Name] {
			warn(from.Line, fmt.Sprintf("FROM %s is neither an image of the tree nor the base image %s", from.Reference, base))
		}
		findings = append(findings, sourceMistakes(set, f)...)
		def, mistakes := convertWithoutMistakes(ctx, set, f)
		for _, err := range mistakes {
			findings = append(findings, findingOf(inTemplate(err, f.PlaceOf), f))
		}
		if def == nil {
			continue
		}
		for _, w := range def.Warnings {
			if w.Rule != needsParents {
				warn(w.Line, w.String())
			}
		}
	}
	return findings
}

// maxMistakes is how many mistakes of a Dockerfile are looked for.
const maxMistakes = 20

// convertWithoutMistakes converts a Dockerfile without the instructions that have mistakes,
// because a conversion ends with the first one. The definition is nil if that is not
// possible.
func convertWithoutMistakes(ctx context.Context, set *imageset.Set, f *render.Dockerfile) (
	*buildkit.Definition, []error) {
	var mistakes []error
	remaining := *f
	for {
		def, err := convertAlone(ctx, set, &remaining)
		if err == nil {
			return def, mistakes
		}
		mistakes = append(mistakes, err)
		var mistake *dockerfile.Error
		if !errors.As(err, &mistake) || len(mistakes) == maxMistakes {
			return nil, mistakes
		}
		if remaining.Content = withoutInstruction(remaining.Content, mistake.Line); remaining.Content == nil {
			return nil, mistakes
		}
	}
}

// withoutInstruction returns a Dockerfile with blank lines instead of the instruction that
// begins at a line. It returns nil for what other lines depend on: FROM and
// here-documents.
func withoutInstruction(content []byte, line int) []byte {
	lines := strings.Split(string(content), "\n")
	if line < 1 || line > len(lines) {
		return nil
	}
	first := strings.TrimSpace(lines[line-1])
	if word, _, _ := strings.Cut(first, " "); word == "" || strings.EqualFold(word, "FROM") {
		return nil
	}
	for i := line - 1; i < len(lines); i++ {
		text := strings.TrimSpace(lines[i])
		if strings.Contains(text, "<<") {
			return nil
		}
		lines[i] = ""
		if continued := strings.HasSuffix(text, `\`) || text == "" || strings.HasPrefix(text, "#"); !continued {
			break
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

// convertAlone converts a Dockerfile as if its parents had no environment.
func convertAlone(ctx context.Context, set *imageset.Set, f *render.Dockerfile) (*buildkit.Definition, error) {
	c := buildkit.NewConverter(buildkit.ConvertOptions{
		ForKeys:   true,
		Platform:  set.Platform,
		BuildArgs: set.Config.BuildArgs,
		External:  func(_ context.Context, reference string) (buildkit.External, error) { return standIn(set, reference) },
	})
	d := buildkit.Dockerfile{Name: f.Name, Reference: f.Reference, Path: f.Place, Content: f.Content,
		SourceDisabled: sourceDisabled(set.Config, f.Name)}
	ignore, err := ignoreFile(f, &d)
	if err != nil {
		return nil, err
	}
	kept := ignore.Kept(contextPaths(f))
	for _, file := range f.Context {
		if path := filepath.ToSlash(file.Path); kept[path] {
			d.Context = append(d.Context, buildkit.ContextFile{Path: path, Mode: file.Mode})
		} else {
			d.Ignored = append(d.Ignored, path)
		}
	}
	sources, err := requestFor(set, f, &d)
	if err != nil {
		return nil, fmt.Errorf("sources of %s: %w", f.Name, err)
	}
	for _, archive := range sources.Names() {
		if ignore.Kept([]string{archive})[archive] {
			d.Context = append(d.Context, buildkit.ContextFile{Path: archive, Mode: 0o644})
		} else {
			d.Ignored = append(d.Ignored, archive)
		}
	}
	return c.Convert(ctx, d)
}

// requestFor returns the sources of an image whose archives its Dockerfile copies.
func requestFor(set *imageset.Set, f *render.Dockerfile, d *buildkit.Dockerfile) (source.Request, error) {
	used, usesAll := d.ContextPaths(set.Triggers(f)...)
	return archiveRequest(set.Config, f.Name, func(archive string) bool {
		return set.CopiesArchive(archive, used, usesAll)
	})
}

// sourceMistakes finds mistakes in the configuration of an image's sources. Their place is
// the section.
func sourceMistakes(set *imageset.Set, f *render.Dockerfile) []render.Finding {
	sources, err := requestFor(set, f, &buildkit.Dockerfile{Path: f.Place, Content: f.Content})
	if err != nil {
		return nil // the conversion has it too
	}
	var findings []render.Finding
	for _, mistake := range sources.Check(set.Config.LocalsBase) {
		x := findingOf(fmt.Errorf("sources of %s: %w", f.Name, mistake), f)
		var in *source.Error
		if errors.As(mistake, &in) {
			if origin := set.Config.Sources[in.Section].Origin; origin.Kind == config.OriginFile {
				x.File, x.Line, x.Source = origin.File, origin.Line, origin.Text
			}
			// Many sites download archives, or clone repositories, in a later step. But no step
			// creates a path that begins with ~, which is not expanded.
			x.Warning = errors.Is(in, fs.ErrNotExist) && !strings.HasPrefix(in.Location, "~")
		}
		findings = append(findings, x)
	}
	return findings
}

// standIn returns an empty image in place of a parent, with the parent's ONBUILD
// instructions if it is an image of the tree.
func standIn(set *imageset.Set, reference string) (buildkit.External, error) {
	var image struct {
		OS     string `json:"os"`
		Config struct {
			OnBuild []string `json:",omitempty"`
		} `json:"config"`
	}
	image.OS = "linux"
	image.Config.OnBuild = set.OnBuild(reference)
	config, err := json.Marshal(image)
	return buildkit.External{Digest: digest.FromString(""), Config: config}, err
}

// findingOf returns an error as a finding, at its own place if it has one.
func findingOf(err error, f *render.Dockerfile) render.Finding {
	x := render.ErrorFinding(err, f.Place)
	var in *dockerfile.Error
	var missing *graph.MissingParentError
	switch {
	case errors.As(err, &in):
		x.File, x.Line, x.Message, x.Source = in.Path, in.Line, in.Message(), in.Source
	case errors.As(err, &missing):
		x.File, x.Line, x.Message = missing.Place.File, missing.Place.Line, fmt.Sprintf(
			"parent image %s not found in the tree",
			missing.Reference)
		if missing.Near != "" {
			x.Hint = "did you mean " + missing.Near + "?"
		}
	}
	return x
}
