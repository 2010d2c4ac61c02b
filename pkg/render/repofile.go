package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// repoFile is a parsed repos.yaml: sections (deb, debian, debian-aarch64, rpm,
// centos, …) of repositories by name.
type repoFile struct {
	name     string // in messages
	sections map[string]*repoSection
}

type repoSection struct {
	line  int
	repos map[string]*repo
	names []string // in the order of the file
}

// repo is a repository. In the files of Kolla's releases until 2022 it was a string
// instead of a mapping: legacy.
type repo struct {
	file   string
	line   int
	fields map[string]any // strings, bools, int64s, float64s and nils
	legacy string
	isText bool
}

// RepoError is a mistake in a repos.yaml.
type RepoError struct {
	File    string
	Line    int // 1-based, 0 if unknown
	Message string
	Advice  string // what to do, or ""
}

func (e *RepoError) Error() string {
	s := e.File
	if e.Line > 0 {
		s += fmt.Sprintf(":%d", e.Line)
	}
	s += ": " + e.Message
	// Within a template's error, only the text is kept.
	if e.Advice != "" {
		s += " (" + e.Advice + ")"
	}
	return s
}

// repoFields are the keys of a repository that have a meaning.
var repoFields = []string{
	"distro", "name", "url", "suite", "component", "gpg_key", "trusted", "arch",
	"baseurl", "metalink", "mirrorlist", "gpgkey", "gpgcheck", "repo_gpgcheck", "file_group",
}

// maxRepoKeys is how many keys a repos.yaml has, where aliases count as what they stand for.
const maxRepoKeys = 100_000

func parseRepos(name string, content []byte) (*repoFile, error) {
	f := &repoFile{name: name, sections: map[string]*repoSection{}}
	root, err := parseYAMLNode(name, content)
	if err != nil || root == nil {
		return f, err
	}
	top := resolveAlias(root)
	if isNull(top) {
		return f, nil
	}
	if top.Kind != yaml.MappingNode {
		return nil, &RepoError{name, top.Line, "the file must be a mapping of sections, such as \"debian:\"", ""}
	}
	remaining := maxRepoKeys
	for key, value := range pairs(top, &remaining) {
		section, err := parseRepoSection(name, key, value, &remaining)
		if err != nil {
			return nil, err
		}
		if f.sections[key.Value] != nil {
			return nil, &RepoError{name, key.Line,
				fmt.Sprintf("section %q occurs twice; the first is on line %d", key.Value, f.sections[key.Value].line), ""}
		}
		f.sections[key.Value] = section
	}
	if remaining < 0 {
		return nil, &RepoError{name, 0, fmt.Sprintf("more than %d keys, with those of aliases", maxRepoKeys), ""}
	}
	return f, nil
}

func parseRepoSection(file string, key, value *yaml.Node, remaining *int) (*repoSection, error) {
	section := &repoSection{line: key.Line, repos: map[string]*repo{}}
	if isNull(value) {
		return section, nil
	}
	if value.Kind != yaml.MappingNode {
		return nil, &RepoError{file, value.Line, fmt.Sprintf("section %q must be a mapping of repositories", key.Value), ""}
	}
	for rkey, rvalue := range pairs(value, remaining) {
		r := &repo{file: file, line: rkey.Line, fields: map[string]any{}}
		switch {
		case rvalue.Kind == yaml.ScalarNode && !isNull(rvalue):
			r.legacy, r.isText = rvalue.Value, true
		case rvalue.Kind != yaml.MappingNode:
			return nil, &RepoError{
				file, rvalue.Line, fmt.Sprintf("repository %q must be a mapping of fields such as url and suite", rkey.Value), "",
			}
		default:
			for fkey, fvalue := range pairs(rvalue, remaining) {
				if fvalue.Kind != yaml.ScalarNode {
					return nil, &RepoError{
						file, fvalue.Line, fmt.Sprintf("field %q of repository %q must be a single value", fkey.Value, rkey.Value),
						"several keys or URLs go into one text, each on its own line: use \"" + fkey.Value + ": |\"",
					}
				}
				if !slices.Contains(repoFields, fkey.Value) {
					if near := nearest(fkey.Value, repoFields); near != "" {
						return nil, &RepoError{file, fkey.Line,
							fmt.Sprintf("repository %q has an unknown field %q", rkey.Value, fkey.Value), "did you mean \"" + near + "\"?"}
					}
				}
				r.fields[fkey.Value] = pyScalar(fvalue)
			}
		}
		if section.repos[rkey.Value] == nil {
			section.names = append(section.names, rkey.Value)
		}
		section.repos[rkey.Value] = r
	}
	return section, nil
}

// pairs iterates over the keys and values of a mapping, with aliases resolved. Those of
// merge keys (<<) come first, so that the mapping's own override them. A few kilobytes of merges can
// have billions of keys: each is subtracted from remaining, and the iteration ends below 0.
func pairs(n *yaml.Node, remaining *int) func(func(k, v *yaml.Node) bool) {
	return func(yield func(k, v *yaml.Node) bool) {
		var merged []*yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Tag == "!!merge" {
				m := resolveAlias(n.Content[i+1])
				if m.Kind == yaml.SequenceNode {
					merged = append(merged, m.Content...)
				} else {
					merged = append(merged, m)
				}
			}
		}
		ownKeys := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			ownKeys[n.Content[i].Value] = true
		}
		for _, m := range merged {
			m = resolveAlias(m)
			if *remaining--; *remaining < 0 {
				return
			}
			// Only one level, since merges of merges can form cycles.
			for i := 0; i+1 < len(m.Content) && m.Kind == yaml.MappingNode; i += 2 {
				k := m.Content[i]
				if *remaining--; *remaining < 0 {
					return
				}
				if ownKeys[k.Value] || k.Tag == "!!merge" {
					continue
				}
				ownKeys[k.Value] = true
				if !yield(k, resolveAlias(m.Content[i+1])) {
					return
				}
			}
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Tag == "!!merge" {
				continue
			}
			if *remaining--; *remaining < 0 {
				return
			}
			if !yield(n.Content[i], resolveAlias(n.Content[i+1])) {
				return
			}
		}
	}
}

func resolveAlias(n *yaml.Node) *yaml.Node {
	for i := 0; n.Kind == yaml.AliasNode && n.Alias != nil && i < 100; i++ {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// yamlError returns a parser's error with the name of the file and the line, in the form
// of other messages.
func yamlError(name string, err error) error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1 // the parser omits it for the first line
	if n, _ := fmt.Sscanf(msg, "line %d:", &line); n == 1 {
		_, msg, _ = strings.Cut(msg, ": ")
	}
	return &RepoError{name, line, "not valid YAML: " + msg, ""}
}

// loadRepos returns a repos.yaml of the user. A tree reads it once.
func (t *Tree) loadRepos(ctx context.Context, path string) (*repoFile, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.overrides[path]; f != nil {
		return f, nil
	}
	b, err := readUserFile(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("repositories: %w", err)
	}
	f, err := parseRepos(path, b)
	if err != nil {
		return nil, err
	}
	t.overrides[path] = f
	return f, nil
}

// Dropped returns the fields of the user's repositories file that have no effect, by
// line: Kolla's templates ignore "gpgcheck: 0" without quotes, so dnf's default
// applies. If the file cannot be read, it returns nothing.
func (t *Tree) Dropped(path string) []Finding {
	f, err := t.loadRepos(context.Background(), path) // newRenderer has read it
	if err != nil {
		return nil
	}
	var out []Finding
	for _, s := range f.sections {
		for name, r := range s.repos {
			for _, field := range []string{"gpgcheck", "repo_gpgcheck"} {
				v, given := r.fields[field]
				if _, text := v.(string); !given || text || pyTrue(v) {
					continue
				}
				out = append(out, Finding{File: path, Line: r.line, Hint: "write " + field + `: "0"`,
					Message: fmt.Sprintf("%s of repository %q is ignored, as in Kolla, because it is a false value "+
						"without quotes: dnf's default applies", field, name)})
			}
		}
	}
	slices.SortFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
	})
	return out
}

// repoKey determines a set of repositories.
type repoKey struct {
	def, user *repoFile
	platform  platform
}

// repositories caches the results of the function repositories: templates need the same
// few sets hundreds of times.
func (t *Tree) repositories(def, user *repoFile, p platform) (repoSet, error) {
	key := repoKey{def, user, p}
	t.mu.Lock()
	set := t.sets[key]
	t.mu.Unlock()
	if set != nil {
		return set, nil
	}
	set, err := repositories(def, user, p)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.sets[key] = set
	t.mu.Unlock()
	return set, nil
}

// findRepos reads the tree's default repositories.
func (t *Tree) findRepos(o TreeOptions) error {
	load := func(name string) (*repoFile, error) {
		if f, ok := t.files[name]; ok {
			b, err := f.Read()
			if err != nil {
				return nil, err
			}
			return parseRepos(f.Origin, b)
		}
		if len(t.layers) == 0 || t.layers[0].dir == "" {
			return nil, nil
		}
		// Kolla's tree is in kolla/docker since 2026.1, and in docker before.
		for _, dir := range []string{"template", filepath.Join("kolla", "template")} {
			sibling := filepath.Join(t.layers[0].dir, "..", dir, name)
			b, err := inputfile.ReadRegular(sibling, maxText)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return nil, fmt.Errorf("reading %s: %w", sibling, inputfile.WithoutPath(err))
			}
			return parseRepos(sibling, b)
		}
		return nil, nil
	}
	var err error
	if t.repos, err = load("repos.yaml"); err != nil {
		return err
	}
	if t.repos == nil {
		if o.Repos != nil {
			t.repos, err = parseRepos(cmp.Or(o.ReposName, "repos.yaml"), o.Repos)
		}
		return err
	}
	// Kolla's file is beside its templates. A file among the templates, such as the
	// built-in one, is not for a specific OpenStack release.
	_, isTemplate := t.files["repos.yaml"]
	t.ownRepos = !isTemplate
	t.variants = map[string]*repoFile{}
	for _, v := range []string{"noble", "el10"} {
		f, err := load("repos-" + v + ".yaml")
		if err != nil {
			return err
		}
		if f != nil {
			t.variants[v] = f
		}
	}
	return nil
}

// defaultRepos returns the default repositories for a base image.
func (t *Tree) defaultRepos(distro, tag string) *repoFile {
	variant := ""
	switch {
	case strings.HasPrefix(tag, "24.04"), strings.HasPrefix(tag, "noble"):
		variant = "noble"
	case distro == "centos" && strings.HasPrefix(tag, "stream10"), distro == "rocky" && strings.HasPrefix(tag, "10"):
		variant = "el10"
	}
	if f := t.variants[variant]; f != nil {
		return f
	}
	return t.repos
}
