package render

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// Facts describe the variables of an image's template and its overrides.
type Facts struct {
	// Variables are the variables that the template and its imported and included
	// templates read and do not set, sorted.
	Variables []Variable
	// Overrides are the places in override files that change the image, sorted.
	Overrides []OverridePlace
}

// Variable is a variable that an image's template reads.
type Variable struct {
	Name  string
	Known bool // Value is set; otherwise the variable is undefined, or set by an override
	Value any
	Place string // name of the template that reads it first
	Line  int    // 1-based
}

// OverridePlace is a place in an override file that changes an image.
type OverridePlace struct {
	Kind string // block or variable
	Name string
	File string
	Line int // 1-based
}

// Explain analyzes the template of an image and the overrides that change it.
func Explain(ctx context.Context, o Options, image string) (*Facts, error) {
	renderer, err := newRenderer(ctx, o)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(o.Tree.images, func(dir string) bool { return path.Base(dir) == image })
	if at < 0 {
		return nil, fmt.Errorf("no image %s in the tree", image)
	}
	l := &linter{tree: o.Tree, templates: map[string]*template{}}
	name := path.Join(o.Tree.images[at], templateName)
	if err := l.template(name, true); err != nil {
		return nil, err
	}
	used, _ := l.reach(name)
	renderer.vars["image_name"] = image
	facts := &Facts{Variables: renderer.reads(used)}
	if renderer.override == nil {
		return facts, nil
	}
	override := l.analyze(renderer.override.source, renderer.override.origin)
	add := func(kind string, ref jinja.Ref) {
		file, line := renderer.override.origin(ref.Line)
		facts.Overrides = append(facts.Overrides, OverridePlace{kind, ref.Name, file, line})
	}
	blocks, reads := usedNames(append(used, override), used, image)
	for _, b := range override.Blocks {
		if blocks[b.Name] {
			add("block", b)
		}
	}
	for _, s := range override.Sets {
		if reads[s.Name] {
			add("variable", s)
		}
	}
	slices.SortStableFunc(facts.Overrides,
		func(a, b OverridePlace) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	return facts, nil
}

// reads returns the variables that templates read, each once with the first place.
// Variables that one template sets can be read by another.
func (r *renderer) reads(used []*template) []Variable {
	var out []Variable
	seen := map[string]bool{}
	functions := kollaFunctions(r.Tree)
	for _, t := range used {
		for _, s := range t.Sets {
			seen[s.Name] = true
		}
	}
	for _, t := range used {
		for _, ref := range t.Reads {
			if _, function := functions[ref.Name]; function || seen[ref.Name] {
				continue
			}
			seen[ref.Name] = true
			v := Variable{Name: ref.Name}
			v.Value, v.Known = r.vars[ref.Name]
			v.Place, v.Line = t.place(ref.Line)
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b Variable) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// usedNames returns the blocks of an image's templates, and the names of the variables
// that these or the filter customizable use for the image.
func usedNames(templates, used []*template, image string) (blocks, reads map[string]bool) {
	blocks, reads = map[string]bool{}, map[string]bool{}
	prefix := strings.ReplaceAll(image, "-", "_") + "_"
	for _, t := range used {
		for _, b := range t.Blocks {
			blocks[b.Name] = true
		}
		for _, ref := range t.Reads {
			reads[ref.Name] = true
		}
	}
	for _, t := range templates { // a block of an override can use the filter too
		for _, u := range t.Filters {
			if u.Name == "customizable" && len(u.Args) > 0 && u.Args[0] != "" {
				for _, suffix := range []string{"_append", "_remove", "_override"} {
					reads[prefix+u.Args[0]+suffix] = true
				}
			}
		}
	}
	return blocks, reads
}
