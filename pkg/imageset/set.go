package imageset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// Options are the inputs of Render.
type Options struct {
	Config  *config.Config // registry and namespace normalized
	Console *console.Console
	// Exists reports which images --skip-existing leaves out. It may be nil.
	Exists func(reference string) bool
	// KeepMistakes returns sets in which every selected image has a mistake, instead of
	// an error.
	KeepMistakes bool
}

// Rendered is the configured tree, rendered for each platform of a run.
type Rendered struct {
	Sets []*Set // in the order of --platform
}

// Set is the rendered tree for one platform, with what is selected of it.
type Set struct {
	Config    *config.Config // for this platform
	Platform  ocispecs.Platform
	Tree      *render.Tree
	Options   render.Options
	Files     []render.Dockerfile // all of the tree, by path
	Graph     *graph.Graph
	Selection *graph.Selection

	idPlatform string // of image.IDs, "" in runs for a single platform
	byName     map[string]*render.Dockerfile
	requested  map[string]bool
	onBuild    func() map[string][]string // ONBUILD instructions by reference
	mistakes   error                      // in the templates of all images
}

// Render renders the template tree for each platform of the configuration and
// selects from it. Warnings are printed once. The result must be closed.
func Render(ctx context.Context, opts Options) (*Rendered, error) {
	selected, err := Platforms(opts.Config)
	if err != nil {
		return nil, err
	}
	rendered := &Rendered{}
	for i, p := range selected {
		s := &Set{Config: ForPlatform(opts.Config, p), Platform: p}
		s.onBuild = sync.OnceValue(s.readOnBuild)
		if len(selected) > 1 {
			s.idPlatform = platforms.Format(platforms.Normalize(p))
		}
		if s.Tree, err = OpenTree(s.Config); err != nil {
			rendered.Close()
			return nil, err
		}
		rendered.Sets = append(rendered.Sets, s)
		warn := opts.Console.Notice
		if i > 0 {
			warn = func(string, ...any) {}
		}
		for _, err := range s.Tree.Broken() {
			warn("warning: %v: images that use it cannot be built", err)
		}
		if err := s.fill(ctx, opts, warn); err != nil {
			rendered.Close()
			return nil, err
		}
	}
	return rendered, nil
}

// Close releases the directories that the files are read from.
func (r *Rendered) Close() {
	for _, s := range r.Sets {
		s.Tree.Close()
	}
}

// First returns the set of the first platform, which represents all where only
// one can be shown.
func (r *Rendered) First() *Set { return r.Sets[0] }

// Several reports whether there are several platforms.
func (r *Rendered) Several() bool { return len(r.Sets) > 1 }

// Of returns the set that an image belongs to.
func (r *Rendered) Of(id image.ID) *Set {
	for _, s := range r.Sets {
		if s.idPlatform == id.Platform {
			return s
		}
	}
	return r.Sets[0]
}

// IDs returns the identities of the images with a name, one for each platform.
func (r *Rendered) IDs(name string) []image.ID {
	var ids []image.ID
	for _, s := range r.Sets {
		ids = append(ids, s.ID(name))
	}
	return ids
}

// LeftOut is an image of the tree that a run does not build.
type LeftOut struct {
	Image     image.ID // without a platform if it is left out for all
	Reference string
	Status    graph.Status // Unmatched, Skipped or Unbuildable
	Reason    string
	Requested bool // an expression or a profile names it
}

// LeftOut returns the images that are left out: of every platform those that it
// cannot build, of the first one the others too.
func (r *Rendered) LeftOut() []LeftOut {
	var out []LeftOut
	for i, s := range r.Sets {
		for _, im := range s.Graph.Images() {
			st := s.Selection.Status(im.Name)
			if st == graph.Matched || i > 0 && st != graph.Unbuildable {
				continue
			}
			id := image.ID{Name: im.Name}
			if st == graph.Unbuildable {
				id = s.ID(im.Name)
			}
			out = append(out, LeftOut{Image: id, Reference: im.Reference, Status: st, Reason: s.Selection.Reason(im.Name),
				Requested: s.Requested(im.Name)})
		}
	}
	return out
}

// ID returns the identity of an image of the set in its run.
func (s *Set) ID(name string) image.ID { return image.ID{Name: name, Platform: s.idPlatform} }

// Requested reports whether an expression or a profile names an image, or
// whether there are none, so that all are requested.
func (s *Set) Requested(name string) bool { return s.requested[name] }

// File returns the rendered Dockerfile of an image, nil if the tree has none.
func (s *Set) File(name string) *render.Dockerfile { return s.byName[name] }

// SelectedReferences returns the references of the selected images.
func (s *Set) SelectedReferences() []string {
	var references []string
	for _, f := range s.Files {
		if s.Selection.Status(f.Name) == graph.Matched {
			references = append(references, f.Reference)
		}
	}
	return references
}

// Write writes the selected images' Dockerfiles and their contexts to a
// directory, to a new temporary one if dir is "", and returns where.
func (s *Set) Write(dir string) (string, error) {
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "kolla-"); err != nil {
			return "", fmt.Errorf("making a work directory: %w", err)
		}
	}
	return render.WriteTree(dir, s.Options, s.Files, func(name string) bool {
		return s.Selection.Status(name) == graph.Matched
	})
}

func (s *Set) fill(ctx context.Context, opts Options, warn func(string, ...any)) error {
	s.Options = render.Options{
		Tree:    s.Tree,
		Config:  s.Config,
		Env:     Environment(opts.Console),
		Version: opts.Console.Version,
	}
	var err error
	if s.Files, err = render.Render(ctx, s.Options); s.Files == nil {
		return err
	}
	s.mistakes = err
	var names []string
	s.byName = make(map[string]*render.Dockerfile, len(s.Files))
	images := make([]graph.Image, 0, len(s.Files))
	for i := range s.Files {
		f := &s.Files[i]
		names = append(names, f.Name)
		s.byName[f.Name] = f
		im := graph.Image{
			Name:      f.Name,
			Reference: f.Reference,
			From:      f.From,
			File:      f.Place,
			FromPlace: placeOf(f, f.FromLine),
		}
		for _, n := range f.Needs {
			im.Needs = append(im.Needs, graph.Need{Reference: n.Reference, Place: placeOf(f, n.Line)})
		}
		images = append(images, im)
	}
	if s.Config.ReposYAML != "" {
		for _, f := range s.Tree.Dropped(s.Config.ReposYAML) {
			warn("warning: %v", f)
		}
	}
	s.checkOverrides(ctx, warn)
	s.checkSources(warn)
	if err := render.CheckPatches(s.Config.PatchesPath, names); err != nil {
		return err
	}
	for _, dir := range render.PatchesWithoutSeries(s.Config.PatchesPath, names) {
		warn("warning: %s: no patch is applied without a file \"series\" that lists them", dir)
	}
	if s.Graph, err = graph.New(images, render.BaseReference(s.Config)); err != nil {
		return err
	}
	s.checkPatches(names)
	for _, name := range names {
		if missing := s.Graph.Missing(name); missing != nil {
			s.byName[name].Err = missing
			s.mistakes = errors.Join(s.mistakes, missing)
		}
	}
	if err := s.choose(opts.Exists, warn); err != nil {
		return cmp.Or(s.mistakes, err)
	}
	s.checkUndefined(warn)
	if opts.KeepMistakes {
		return nil
	}
	return s.checkMistakes(warn)
}

// placeOf returns where a line of a Dockerfile is written, in the template or override.
func placeOf(f *render.Dockerfile, line int) graph.Place {
	if file, at := f.PlaceOf(line); file != "" {
		return graph.Place{File: file, Line: at}
	}
	return graph.Place{File: f.Place, Line: line}
}

// checkMistakes returns the mistakes in templates if every selected image has one, and
// warns of those in others: they cost nothing now.
func (s *Set) checkMistakes(warn func(string, ...any)) error {
	selected := s.Selection.With(graph.Matched)
	renders := func(im *graph.Image) bool { return !s.fails(im.Name) }
	if len(selected) > 0 && s.Mistakes() != nil && !slices.ContainsFunc(selected, renders) {
		return s.mistakes
	}
	for i := range s.Files {
		if f := &s.Files[i]; f.Err != nil && s.Selection.Status(f.Name) != graph.Matched {
			warn("warning: %s cannot be built: %s", f.Name, usererr.FirstLine(f.Err))
		}
	}
	return nil
}

// fails reports whether the templates of an image, or of one that it depends on, have a
// mistake.
func (s *Set) fails(name string) bool {
	return s.byName[name].Err != nil ||
		slices.ContainsFunc(s.Graph.Ancestors(name), func(im *graph.Image) bool { return s.byName[im.Name].Err != nil })
}

// Mistakes returns the errors of the selected images that cannot be built because of
// their templates, nil if there are none. The others can be built.
func (s *Set) Mistakes() error {
	var errs []error
	for _, im := range s.Selection.With(graph.Matched) {
		errs = append(errs, s.byName[im.Name].Err)
	}
	return render.Collect(errs)
}

// checkSources warns of sections for sources of images that do not exist.
func (s *Set) checkSources(warn func(string, ...any)) {
	var names []string
	for _, f := range s.Files {
		names = append(names, f.Name)
	}
	for _, w := range s.Config.CheckSources(names) {
		warn("warning: %v", w)
	}
}

// CheckNames warns of names in the configuration that have no effect: of sections, and of
// entries of these profiles.
func (s *Set) CheckNames(profiles []string, warn func(string, ...any)) {
	s.checkSources(warn)
	s.checkProfiles(profiles, warn)
}

// maxEntries is how many entries of a profile a warning names.
const maxEntries = 5

// profileMistake returns the error for an expression of a profile that does not compile.
func (s *Set) profileMistake(profile string, err error) error {
	return s.Config.ProfileMistake(profile, usererr.Hint(err), usererr.FirstLine(err))
}

// checkProfiles warns of entries of profiles that do not compile or match no image.
func (s *Set) checkProfiles(profiles []string, warn func(string, ...any)) {
	for _, profile := range profiles {
		for _, err := range s.profileMistakes(profile) {
			warn("warning: %s", usererr.Text(err))
		}
	}
}

// profileMistakes returns errors for the entries of a profile that do not compile, and one for
// those that match no image.
func (s *Set) profileMistakes(profile string) []error {
	var mistakes []error
	var unmatched []string
	hint := ""
	for _, entry := range s.Config.Profiles[profile] {
		patterns, err := CompilePatterns([]string{entry})
		if err != nil { // lint selects no images by profiles
			mistakes = append(mistakes, s.profileMistake(profile, err))
			continue
		}
		if err := patterns.regexes.Check(s.Graph); err != nil {
			unmatched = append(unmatched, strconv.Quote(entry))
			hint = cmp.Or(hint, usererr.Hint(err))
		}
	}
	if len(unmatched) == 0 {
		return mistakes
	}
	if n := len(unmatched) - maxEntries; n > 1 {
		unmatched = append(unmatched[:maxEntries], fmt.Sprintf("and %d more", n))
	}
	return append(mistakes, s.Config.ProfileMistake(profile, hint, "no image matches "+strings.Join(unmatched, ", ")))
}

// checkOverrides warns of overrides that replace every Dockerfile, and of blocks and variables
// of overrides that have no effect.
func (s *Set) checkOverrides(ctx context.Context, warn func(string, ...any)) {
	show := func(f render.Finding) {
		warn("%s", f.Notice())
	}
	var names []render.Finding
	for _, f := range render.CheckOverrides(ctx, s.Tree, s.Config.TemplateOverride) {
		if f.Everywhere {
			show(f)
		} else {
			names = append(names, f)
		}
	}
	for i, f := range names {
		if len(names) > maxEntries+1 && i == maxEntries {
			warn("warning: %d more names in overrides have no effect; kolla-build lint lists them", len(names)-i)
			return
		}
		show(f)
	}
}

// checkUndefined warns of values that the templates of the selected images use, and that do not
// exist.
func (s *Set) checkUndefined(warn func(string, ...any)) {
	var found []render.Finding
	for _, im := range s.Selection.With(graph.Matched) {
		found = append(found, s.byName[im.Name].Undefined...)
	}
	found = render.SortFindings(found)
	for i, f := range found {
		if len(found) > maxEntries+1 && i == maxEntries {
			warn("warning: %d more undefined values in templates; kolla-build lint lists them", len(found)-i)
			return
		}
		warn("%s", f.Notice())
	}
}

// Environment returns the console's environment as templates see it.
func Environment(c *console.Console) map[string]string {
	env := make(map[string]string, len(c.Environ))
	for _, kv := range c.Environ {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	return env
}

// choose selects images: by the regular expressions of the command line, else by
// profiles, else all.
func (s *Set) choose(exists func(string) bool, warn func(string, ...any)) error {
	cfg := s.Config
	exprs := cfg.Regex
	if len(exprs) == 0 {
		for _, p := range cfg.Profile {
			if _, err := CompilePatterns(cfg.Profiles[p]); err != nil {
				return s.profileMistake(p, err)
			}
			exprs = append(exprs, cfg.Profiles[p]...)
		}
	}
	patterns, err := CompilePatterns(exprs)
	if err != nil {
		return cfg.UsageIfTyped("regex", err)
	}
	s.requested = map[string]bool{}
	for _, im := range s.Graph.Images() {
		if s.requested[im.Name], err = patterns.Match(im.Name); err != nil {
			return err
		}
	}
	none := patterns.regexes.NoneMatches(s.Graph)
	var mistake error // of an expression that matches nothing
	if len(cfg.Regex) > 0 {
		mistake = patterns.regexes.Check(s.Graph)
	}
	if patterns.slow != nil {
		return patterns.slow // it may be why nothing matches
	}
	if none {
		if len(cfg.Regex) > 0 {
			return cfg.UsageIfTyped("regex", mistake)
		}
		var mistakes []error
		for _, profile := range slices.Compact(slices.Sorted(slices.Values(cfg.Profile))) {
			mistakes = append(mistakes, s.profileMistakes(profile)...)
		}
		return errors.Join(mistakes...)
	}
	if slices.Contains(cfg.Regex, "") {
		warn("warning: an empty regular expression selects all images")
	}
	if mistake != nil {
		warn("warning: %s", usererr.Text(mistake))
	}
	if len(cfg.Regex) == 0 {
		s.checkProfiles(cfg.Profile, warn)
	}
	sel := graph.SelectOptions{Match: s.Requested, SkipParents: cfg.SkipParents}
	if !cfg.EnableUnbuildable {
		sel.Unbuildable = facts.Unbuildable(cfg.Target())
	}
	if cfg.SkipExisting && exists != nil {
		sel.Exists = func(im *graph.Image) bool { return exists(im.Reference) }
	}
	s.Selection = s.Graph.Select(sel)
	if len(s.Selection.With(graph.Matched)) > 0 || len(s.Selection.With(graph.Skipped)) > 0 {
		return nil
	}
	var reasons []string
	for _, im := range s.Selection.With(graph.Unbuildable) {
		if s.Requested(im.Name) {
			reasons = append(reasons, im.Name+": "+s.Selection.Reason(im.Name))
		}
	}
	const shown = 5
	if n := len(reasons) - shown; n > 1 {
		reasons = append(reasons[:shown], fmt.Sprintf("and %d more", n))
	}
	hint := "another --base or --type may work; --enable-unbuildable tries anyway"
	if cfg.InstallType == "binary" {
		hint = "--type source may work; --enable-unbuildable tries anyway"
	}
	return usererr.Errorf(hint, "no selected image can be built for %s, %s, %s:\n  %s", cfg.Base, cfg.BaseArch,
		cfg.InstallType, strings.Join(reasons, "\n  "))
}
