package pipeline

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kolla-build/kolla-build/dockerfiles"
	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// Set is the rendered templates of a configuration, with their graph and what
// of it is selected: as far as a run goes without a store or a builder.
type Set struct {
	Config    *config.Config
	Tree      *render.Tree
	Options   render.Options
	Files     []render.Dockerfile // all of the tree, by path
	Graph     *graph.Graph
	Selection *graph.Selection
	byName    map[string]*render.Dockerfile
	match     func(name string) bool // what was asked for, ancestors apart
}

// NewSet renders the configuration's template tree and selects from it. exists
// says which images --skip-existing leaves out; it may be nil. The set must be
// closed.
func NewSet(ctx context.Context, cfg *config.Config, env Env, exists func(reference string) bool) (*Set, error) {
	cfg, err := withNormalizedNames(cfg, env)
	if err != nil {
		return nil, err
	}
	s := &Set{Config: cfg}
	if s.Tree, err = openTree(cfg); err != nil {
		return nil, err
	}
	if err := s.fill(ctx, env, exists); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close releases the directories that the set's files are read from.
func (s *Set) Close() { s.Tree.Close() }

func openTree(cfg *config.Config) (*render.Tree, error) {
	repos, err := fs.ReadFile(dockerfiles.Tree(), "repos.yaml")
	if err != nil {
		return nil, err
	}
	opts := render.TreeOptions{Repos: repos, ReposName: "the built-in repos.yaml"}
	if cfg.ImagesDir == "" {
		opts.Layers = append(opts.Layers, render.Layer{Name: "the built-in templates", FS: dockerfiles.Tree()})
	}
	for _, dir := range append(nonEmpty(cfg.ImagesDir), cfg.DockerDir...) {
		l, err := render.DirLayer(dir)
		if err != nil {
			return nil, err
		}
		opts.Layers = append(opts.Layers, l)
	}
	return render.OpenTree(opts)
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func (s *Set) fill(ctx context.Context, env Env, exists func(string) bool) error {
	cfg := s.Config
	s.Options = render.Options{Tree: s.Tree, Config: cfg, Env: map[string]string{}, Version: env.Version}
	for _, kv := range env.Environ {
		k, v, _ := strings.Cut(kv, "=")
		s.Options.Env[k] = v
	}
	var err error
	if s.Files, err = render.Render(ctx, s.Options); err != nil {
		return err
	}
	var names []string
	s.byName = map[string]*render.Dockerfile{}
	for i := range s.Files {
		f := &s.Files[i]
		names = append(names, f.Name)
		s.byName[f.Name] = f
	}
	if cfg.ReposYAML != "" {
		for _, f := range s.Tree.Dropped(cfg.ReposYAML) {
			env.Notice("warning: %v", f)
		}
	}
	for _, w := range cfg.CheckSources(names) {
		env.Notice("warning: %v", w)
	}
	images := make([]graph.Image, 0, len(s.Files))
	for _, f := range s.Files {
		im := graph.Image{Name: f.Name, Reference: f.Reference, From: f.From, File: f.Place, Line: f.FromLine}
		for _, n := range f.Needs {
			im.Needs = append(im.Needs, graph.Need{Reference: n.Reference, Line: n.Line})
		}
		images = append(images, im)
	}
	if s.Graph, err = graph.New(images, render.BaseReference(cfg)); err != nil {
		return err
	}
	return s.choose(env, exists)
}

// choose selects images: by the regexes of the command line, else by profiles,
// else all.
func (s *Set) choose(env Env, exists func(string) bool) error {
	cfg := s.Config
	patterns := cfg.Regex
	if len(patterns) == 0 {
		for _, p := range cfg.Profile {
			patterns = append(patterns, cfg.Profiles[p]...)
		}
	}
	var slow backtracking
	res, err := graph.CompileRegexes(patterns, slow.compile)
	if err != nil {
		return err
	}
	none := res.NoneMatches(s.Graph)
	if slow.err != nil {
		return slow.err
	}
	if none {
		return res.Check(s.Graph)
	}
	if len(cfg.Regex) > 0 {
		// A profile may name what only other trees have; a person who typed a
		// name that matches nothing wants to know.
		if err := res.Check(s.Graph); err != nil {
			env.Notice("warning: %v", err)
		}
	}
	s.match = res.Match
	sel := graph.SelectOptions{Match: res.Match, SkipParents: cfg.SkipParents}
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
	var names []string
	for _, im := range s.Selection.With(graph.Unbuildable) {
		if res.Match(im.Name) {
			names = append(names, im.Name)
		}
	}
	return &HintError{fmt.Errorf("none of what was asked for can be built for %s, %s, %s: %s", cfg.Base, cfg.BaseArch, cfg.InstallType, strings.Join(names, ", ")),
		"another --base or --type may do; --enable-unbuildable tries all the same"}
}

// asked reports whether an image was asked for, by a regular expression or a
// profile, or because nothing else was.
func (s *Set) asked(name string) bool { return s.match(name) }

// file returns the rendered Dockerfile of an image.
func (s *Set) file(name string) *render.Dockerfile { return s.byName[name] }

// Show does what asks for no builder: --template-only, --list-images,
// --list-dependencies and --save-dependency. It reports whether there was
// anything of the kind to do.
func Show(ctx context.Context, cfg *config.Config, env Env) (bool, error) {
	if !cfg.TemplateOnly && !cfg.ListImages && !cfg.ListDependencies && cfg.SaveDependency == "" {
		return false, nil
	}
	cfg, err := firstPlatform(cfg, env)
	if err != nil {
		return true, err
	}
	s, err := NewSet(ctx, cfg, env, nil)
	if err != nil {
		return true, err
	}
	defer s.Close()
	switch {
	case cfg.TemplateOnly:
		if err := checkPatches(cfg); err != nil {
			return true, err
		}
		dir, err := s.write(cfg.WorkDir)
		if err == nil {
			env.Notice("Dockerfiles are generated in %s", dir)
		}
		return true, err
	case cfg.SaveDependency != "":
		return true, saveDependency(cfg.SaveDependency, s, env)
	case cfg.ListImages:
		for _, im := range s.Selection.With(graph.Unbuildable) {
			if s.asked(im.Name) {
				env.Notice("not listed: %s: %s", im.Name, s.Selection.Reason(im.Name))
			}
		}
		return true, s.Selection.WriteList(env.Stdout)
	default:
		return true, s.Selection.WriteDependencies(env.Stdout)
	}
}

func (s *Set) write(dir string) (string, error) {
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "kolla-"); err != nil {
			return "", fmt.Errorf("making a work directory: %w", err)
		}
	}
	return render.WriteTree(dir, s.Options, s.Files, func(name string) bool { return s.Selection.Status(name) == graph.Matched })
}

func saveDependency(path string, s *Set, env Env) error {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return &HintError{fmt.Errorf("--save-dependency %s: it is a directory", path), "name a file in it, such as " + filepath.Join(path, "images.dot")}
	}
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		// A pipe or /dev/stdout is written to, as upstream does, not replaced.
		err = atomicfile.Output(path, atomicfile.Options{}, func(w io.Writer) error { return s.Selection.WriteDependencyGraph(w, path) })
	}
	if err != nil {
		return fmt.Errorf("writing the images' dependencies: %w", err)
	}
	env.Notice("Container images dependency are saved in %s", path)
	return nil
}
