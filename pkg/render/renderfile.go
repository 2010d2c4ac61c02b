package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// FileOptions are the input of RenderFile.
type FileOptions struct {
	// Template is the name of the template in one of the directories of Search, or
	// its path.
	Template string
	// Search are the directories of included and imported templates, in order. If it
	// is empty, it is the directory of the template.
	Search []string
	// Parent is bound to parent_template as a template object; "" binds nothing.
	Parent string
	// VarsFile is a JSON or YAML file with a mapping of variables, or "".
	VarsFile string
	// Set are NAME=VALUE pairs with strings as values, and SetJSON are NAME=JSON pairs.
	// They override VarsFile, in this order. A NAME with dots, such as users.nova.uid,
	// sets an entry of a mapping, which is created if needed.
	Set, SetJSON []string
	// Build, if not nil, sets all variables of a build with this configuration, such as
	// users and base_distro, before VarsFile and Set. image_name is the name of the
	// directory of Parent or, without one, of the template.
	Build *config.Config
	// Version is the variable kolla_version if Build is set.
	Version string
	// Env is the variable env of templates.
	Env map[string]string
	// Repos and ReposName are as in TreeOptions.
	Repos     []byte
	ReposName string
}

// RenderFile renders a template with Jinja2's default settings and Kolla's filters and
// functions, to show the effect of an override. A mistake in a template is a
// *jinja.Error. The findings are the undefined values that it uses.
func RenderFile(ctx context.Context, o FileOptions) (string, []Finding, error) {
	vars, err := fileVars(ctx, o)
	if err != nil {
		return "", nil, err
	}
	t := &Tree{overrides: map[string]*repoFile{}, sets: map[repoKey]repoSet{}}
	if o.Repos != nil {
		if t.repos, err = parseRepos(cmp.Or(o.ReposName, "repos.yaml"), o.Repos); err != nil {
			return "", nil, err
		}
	}
	if path, ok := vars["repos_yaml"].(string); ok && path != "" {
		if _, err := t.loadRepos(ctx, path); err != nil {
			return "", nil, err
		}
	}
	if len(o.Search) == 0 {
		dir := filepath.Dir(o.Template)
		if _, err := os.Stat(dir); err != nil {
			return "", nil, &noTemplateError{o.Template, []string{"."}}
		}
		o.Search = []string{dir}
		o.Template = filepath.Base(o.Template)
	}
	loader := searchLoader{}
	for _, dir := range o.Search {
		l, err := DirLayer(dir)
		if err != nil {
			return "", nil, err
		}
		defer l.close()
		loader = append(loader, l)
	}
	env := newEnvironment(t, loader)
	if o.Parent != "" {
		if vars["parent_template"], err = fileTemplate(ctx, env, loader, o.Parent); err != nil {
			return "", nil, fmt.Errorf("parent: %w", err)
		}
	}
	tpl, err := fileTemplate(ctx, env, loader, o.Template)
	if err != nil {
		return "", nil, err
	}
	rendering, err := tpl.RenderPlaces(ctx, vars)
	var undefined []Finding
	for _, u := range rendering.Undefined {
		undefined = append(undefined, undefinedFinding(u, func(template string, line int) (string, int) { return template, line }))
	}
	_, known := vars["users"]
	return rendering.Text, undefined, hintVariables(err, known)
}

// hintVariables adds a hint for setting variables to the error for an undefined one.
// Because templates of a tree also check variables themselves, any failure without the
// variables of a build gets the hint.
func hintVariables(err error, build bool) error {
	var e *jinja.Error
	if !errors.As(err, &e) || e.Hint != "" {
		return err
	}
	var hints []string
	if m := undefinedName.FindStringSubmatch(e.Message); m != nil && e.Kind == jinja.KindUndefined {
		hints = append(hints, fmt.Sprintf("set it with --set %s=VALUE, --set-json %s=JSON or a --vars file", m[1], m[1]))
	}
	if !build && (e.Kind == jinja.KindUndefined || e.Kind == jinja.KindRuntime) {
		hints = append(hints, "--build-vars sets all variables of a build, such as users")
	}
	if hints == nil {
		return err
	}
	hinted := *e
	hinted.Hint = strings.Join(hints, "; ")
	return &hinted
}

var undefinedName = regexp.MustCompile(`^'(\w+)' is undefined$`)

// fileTemplate returns a template by its name in the search directories or, if none has
// it, by its path.
func fileTemplate(ctx context.Context, env *jinja.Environment, loader searchLoader, name string) (
	*jinja.Template, error) {
	slashed := filepath.ToSlash(name)
	_, err := loader.Load(slashed)
	if err == nil {
		return env.Template(slashed)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	source, err := readTextFile(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &noTemplateError{name, loader.names()}
	} else if err != nil {
		return nil, err
	}
	return env.Parse(name, source)
}

// noTemplateError reports a template that neither the search directories nor its path
// have. It is fs.ErrNotExist.
type noTemplateError struct {
	name string
	dirs []string
}

func (e *noTemplateError) Error() string {
	return fmt.Sprintf("template %s is neither a file nor in %s", e.name, strings.Join(e.dirs, ", "))
}

func (e *noTemplateError) Unwrap() error { return fs.ErrNotExist }

// searchLoader loads templates from several directories, in order.
type searchLoader []Layer

func (s searchLoader) names() []string {
	var out []string
	for _, l := range s {
		out = append(out, l.Name)
	}
	return out
}

// Load returns the source of a template. A name that leads out of the directories, also
// through a symbolic link, is not found.
func (s searchLoader) Load(name string) (string, error) {
	if !fs.ValidPath(name) {
		// Jinja2 accepts ./x and x//y as names, and rejects "..".
		if filepath.IsAbs(name) || slices.Contains(strings.Split(name, "/"), "..") {
			return "", fs.ErrNotExist
		}
		name = filepath.ToSlash(filepath.Clean(name))
	}
	for _, l := range s {
		// Reading a named pipe could wait forever.
		info, err := fs.Stat(l.FS, name)
		if err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err == nil && info.Size() > maxText {
			return "", &inputfile.TooLargeError{Path: filepath.Join(l.Name, name), Limit: maxText}
		}
		b, err := fs.ReadFile(l.FS, name)
		if err == nil {
			return toText(filepath.Join(l.Name, name), b)
		}
		if info, statErr := fs.Stat(l.FS, name); statErr == nil && !info.IsDir() {
			return "", fmt.Errorf("reading %s: %w", filepath.Join(l.Name, name), inputfile.WithoutPath(err))
		}
	}
	return "", fs.ErrNotExist
}

func fileVars(ctx context.Context, o FileOptions) (map[string]any, error) {
	vars := map[string]any{}
	if o.Build != nil {
		var err error
		if vars, err = variables(ctx, o.Build, o.Version, o.Env, func(string) bool { return true }); err != nil {
			return nil, err
		}
		if dir := filepath.Base(filepath.Dir(cmp.Or(o.Parent, o.Template))); dir != "." {
			vars["image_name"] = dir
		}
	}
	if o.VarsFile != "" {
		b, err := readUserFile(ctx, o.VarsFile)
		if err != nil {
			return nil, fmt.Errorf("variables: %w", err)
		}
		userVars, err := parseVars(o.VarsFile, b)
		if err != nil {
			return nil, err
		}
		maps.Copy(vars, userVars)
	}
	for _, s := range o.Set {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, usererr.Usage(fmt.Errorf("%q is not NAME=VALUE", s))
		}
		if err := setPath(vars, name, value); err != nil {
			return nil, err
		}
	}
	for _, s := range o.SetJSON {
		name, text, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, usererr.Usage(fmt.Errorf("%q is not NAME=JSON", s))
		}
		value, err := parseJSON("--set-json "+name, []byte(text))
		if err != nil {
			return nil, usererr.Usage(fmt.Errorf("%w (a string needs quotes: '%s=\"…\"')", err, name))
		}
		if err := setPath(vars, name, value); err != nil {
			return nil, err
		}
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

// setPath sets a variable, or an entry of a mapping: a.b.c.
func setPath(vars map[string]any, name string, value any) error {
	first, rest, dotted := strings.Cut(name, ".")
	if !dotted {
		vars[first] = value
		return nil
	}
	parts := strings.Split(rest, ".")
	if first == "" || slices.Contains(parts, "") {
		return fmt.Errorf("%q is neither a name nor names separated by dots", name)
	}
	dict, ok := vars[first].(*jinja.Dict)
	if plain, isMap := vars[first].(map[string]any); isMap {
		dict, ok = jinja.NewDict(), true
		for _, k := range slices.Sorted(maps.Keys(plain)) {
			dict.Set(k, plain[k])
		}
	}
	if !ok {
		if vars[first] != nil {
			return fmt.Errorf("%s: %s is %s, not a mapping", name, first, describeValue(vars[first]))
		}
		dict = jinja.NewDict()
	}
	vars[first] = dict
	for i, part := range parts[:len(parts)-1] {
		v, found := dict.Get(part)
		next, ok := v.(*jinja.Dict)
		if found && !ok {
			return fmt.Errorf("%s: %s.%s is %s, not a mapping", name, first, strings.Join(parts[:i+1], "."), describeValue(v))
		}
		if !found {
			next = jinja.NewDict()
			dict.Set(part, next)
		}
		dict = next
	}
	dict.Set(parts[len(parts)-1], value)
	return nil
}
