package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// FileOptions says what RenderFile renders.
type FileOptions struct {
	// Template is the file's path, or its name in one of the directories of
	// Search, which is looked for first.
	Template string
	// Search are the directories in which includes, imports and the like are
	// found, first one first. None stands for the template's own directory.
	Search []string
	// Parent is bound to parent_template as a template object; "" binds nothing.
	Parent string
	// VarsFile is a JSON or YAML file with a mapping of variables, or "".
	VarsFile string
	// Set are NAME=VALUE pairs, whose values are texts; they go over VarsFile.
	Set []string
	// Env is what templates see as env.
	Env map[string]string
	// Repos and ReposName are as in TreeOptions.
	Repos     []byte
	ReposName string
}

// RenderFile renders one template with Jinja2's own settings and Kolla's filters
// and functions, for looking at what an override does. The text is exactly what
// the template yields. A mistake in a template is a *jinja.Error.
func RenderFile(ctx context.Context, o FileOptions) (string, error) {
	vars, err := fileVars(o)
	if err != nil {
		return "", err
	}
	t := &Tree{overrides: map[string]*repoFile{}, sets: map[repoKey]repoSet{}}
	if o.Repos != nil {
		if t.repos, err = parseRepos(cmp.Or(o.ReposName, "repos.yaml"), o.Repos); err != nil {
			return "", err
		}
	}
	if path, ok := vars["repos_yaml"].(string); ok && path != "" {
		if _, err := t.loadRepos(path); err != nil {
			return "", err
		}
	}
	if len(o.Search) == 0 {
		o.Search = []string{filepath.Dir(o.Template)}
		o.Template = filepath.Base(o.Template)
	}
	loader := searchLoader{}
	for _, dir := range o.Search {
		l, err := DirLayer(dir)
		if err != nil {
			return "", err
		}
		defer l.close()
		loader = append(loader, l)
	}
	env := newEnvironment(t, loader)
	if o.Parent != "" {
		if vars["parent_template"], err = fileTemplate(env, loader, o.Parent); err != nil {
			return "", fmt.Errorf("parent: %w", err)
		}
	}
	tpl, err := fileTemplate(env, loader, o.Template)
	if err != nil {
		return "", err
	}
	return tpl.Render(ctx, vars)
}

// fileTemplate finds a template by its name in the search directories or, if
// none has it, by its path.
func fileTemplate(env *jinja.Environment, loader searchLoader, name string) (*jinja.Template, error) {
	slashed := filepath.ToSlash(name)
	_, err := loader.Load(slashed)
	if err == nil {
		return env.Template(slashed)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	source, err := readTextFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("template %s is neither a file nor in %s", name, strings.Join(loader.names(), ", "))
	} else if err != nil {
		return nil, err
	}
	return env.Parse(name, source)
}

// searchLoader looks for templates in several directories, one after the other.
type searchLoader []Layer

func (s searchLoader) names() []string {
	var out []string
	for _, l := range s {
		out = append(out, l.Name)
	}
	return out
}

// Load returns the source of a template. A name that leaves the directories,
// also by a symbolic link, is not found.
func (s searchLoader) Load(name string) (string, error) {
	if !fs.ValidPath(name) {
		// Jinja2 takes ./x and x//y for names too, and refuses "..".
		if filepath.IsAbs(name) || slices.Contains(strings.Split(name, "/"), "..") {
			return "", fs.ErrNotExist
		}
		name = filepath.ToSlash(filepath.Clean(name))
	}
	for _, l := range s {
		// Only a regular file is a template: reading a pipe would wait for ever.
		if info, err := fs.Stat(l.FS, name); err == nil && !info.Mode().IsRegular() {
			continue
		}
		b, err := fs.ReadFile(l.FS, name)
		if err == nil {
			return toText(filepath.Join(l.Name, name), b)
		}
		if info, statErr := fs.Stat(l.FS, name); statErr == nil && !info.IsDir() {
			return "", fmt.Errorf("reading %s: %w", filepath.Join(l.Name, name), cause(err))
		}
	}
	return "", fs.ErrNotExist
}

func fileVars(o FileOptions) (map[string]any, error) {
	vars := map[string]any{}
	if o.VarsFile != "" {
		b, err := os.ReadFile(o.VarsFile)
		if err != nil {
			return nil, fmt.Errorf("reading the variables file %s: %w", o.VarsFile, cause(err))
		}
		if vars, err = parseVars(o.VarsFile, b); err != nil {
			return nil, err
		}
	}
	for _, s := range o.Set {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q is not NAME=VALUE", s)
		}
		vars[name] = value
	}
	env := map[string]any{}
	for k, v := range o.Env {
		env[k] = v
	}
	if _, ok := vars["env"]; !ok {
		vars["env"] = env
	}
	return vars, nil
}
