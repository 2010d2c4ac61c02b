package render

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// undefinedFinding describes the use of a value that does not exist, which a render found.
func undefinedFinding(u jinja.UndefinedUse, placeOf func(string, int) (string, int)) Finding {
	f := Finding{Column: u.Column, Message: undefinedMessage(u.Message), Hint: u.Hint, Source: u.SourceLine}
	// The environment differs between machines, and a template cannot change it.
	f.Warning = u.Object == "env"
	f.File, f.Line = placeOf(u.Template, u.Line)
	return f
}

func undefinedMessage(what string) string { return what + ": it is treated as empty" }

// UndefinedNames returns warnings about names in the templates of a tree and the configuration's
// overrides that have no value in any image, since no template sets them. It finds them also in
// branches that this configuration does not take, and where a macro tests whether its argument
// exists. Names whose existence a template tests are optional.
func UndefinedNames(ctx context.Context, o Options) []Finding {
	l := &linter{tree: o.Tree, templates: map[string]*template{}}
	merged, err := mergeOverrides(ctx, o.Config.TemplateOverride)
	if err != nil || l.load() != nil {
		return nil // the render has the error
	}
	templates := slices.Collect(maps.Values(l.templates))
	if merged != nil {
		templates = append(templates, l.analyze(merged.source, merged.origin))
	}
	vars, err := variables(ctx, o.Config, o.Version, o.Env, o.Tree.usesUser)
	if err != nil {
		return nil
	}
	known := map[string]bool{"image_name": true, "parent_template": true, "env": true}
	for name := range vars {
		known[name] = true
	}
	for name := range kollaFunctions(o.Tree) {
		known[name] = true
	}
	tested := map[string]bool{}
	for _, t := range templates {
		if t.broken {
			return nil // it may set any name
		}
		maps.Copy(known, t.names.Bound)
		maps.Copy(tested, t.names.Tested)
	}
	candidates := slices.Collect(maps.Keys(known))
	l.found = nil
	for _, t := range templates {
		for _, use := range t.names.Uses {
			if !known[use.Name] && !tested[use.Name] && !l.optionalList(use) {
				l.find(t, use.Line, use.Column, undefinedMessage("'"+use.Name+"' is undefined"),
					didYouMean(use.Name, candidates))
			}
		}
	}
	for i := range l.found {
		l.found[i].Warning = true
	}
	return l.found
}

// optionalList reports whether a name is that of a list of an image or of a project, as in
// nova_api_packages | customizable("packages"). Templates customize such lists without setting
// them, so that only overrides have items.
func (l *linter) optionalList(use jinja.NameUse) bool {
	if use.Filter.Name != "customizable" || len(use.Filter.Args) == 0 {
		return false
	}
	owner, ok := strings.CutSuffix(use.Name, "_"+use.Filter.Args[0])
	return ok && slices.ContainsFunc(l.tree.images, func(dir string) bool {
		return strings.HasPrefix(strings.ReplaceAll(path.Base(dir), "-", "_")+"_", owner+"_")
	})
}

// load analyzes the templates that renders of the tree's images can use.
func (l *linter) load() error {
	for _, dir := range l.tree.images {
		if err := l.template(path.Join(dir, templateName), true); err != nil {
			return err
		}
	}
	// Templates at the top of the tree are for imports, even if nothing imports them.
	for _, p := range l.tree.sorted {
		if path.Ext(p) == ".j2" && path.Dir(p) == "." && !l.tree.files[p].IsDir() {
			if err := l.template(p, false); err != nil {
				return err
			}
		}
	}
	return nil
}
