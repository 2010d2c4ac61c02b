package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// Options are the input of Render.
type Options struct {
	Tree   *Tree
	Config *config.Config
	// Env is the variable env of templates: the environment variables.
	Env map[string]string
	// Version is the variable kolla_version of templates.
	Version string
	// Threads is how many templates are rendered concurrently; 0 means the number of
	// processors.
	Threads int
}

// Dockerfile is one rendered image.
type Dockerfile struct {
	Name      string // the image's short name: the last element of Dir
	Reference string // its full name: [REGISTRY/]NAMESPACE/[PREFIX]NAME:TAG
	Dir       string // its directory in the tree, such as "nova/nova-api"
	Template  string // its template in the tree, such as "nova/nova-api/Dockerfile.j2"
	Place     string // the name of the template in messages: its path, if it is on disk
	Content   []byte
	From      string // the image that the first FROM names, or ""
	FromLine  int    // the line of that FROM in Content, 1-based, or 0
	Needs     []Need // the other images that it refers to
	// Context are the files that the Dockerfile can copy, sorted by path: those in Dir
	// except for the template and a Dockerfile, and the patches.
	Context []File
	// Series are the patches in the image's series of --patches-path, in order.
	Series []Patch
	// Patches are the mistakes in the image's series of patches, or nil. The image
	// fails if it copies the patches.
	Patches error
	// Err is the mistake in the image's templates, or nil. An image with one has no
	// content.
	Err error
	// Undefined are the names, attributes and items without a value that the templates
	// print, compare or iterate over. They are rendered as empty text.
	Undefined []Finding

	onBuild []string      // its ONBUILD instructions that refer to images
	places  []jinja.Place // of the lines of Content
}

// PlaceOf returns the file and the line of a template, macro or override that a line of
// Content comes from, "" and 0 if it is not known.
func (d *Dockerfile) PlaceOf(line int) (file string, at int) {
	if line < 1 || line > len(d.places) {
		return "", 0
	}
	p := d.places[line-1]
	return p.Template, p.Line
}

// Render renders all images of a tree for a configuration. The result is sorted by Dir.
// If templates have mistakes, the error is an *Errors with all of them, and the images
// that they do not affect are still in the result.
func Render(ctx context.Context, o Options) ([]Dockerfile, error) {
	renderer, err := newRenderer(ctx, o)
	if err != nil {
		return nil, err
	}
	out := make([]Dockerfile, len(o.Tree.images))
	errs := make([]error, len(out))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(cmp.Or(max(o.Threads, 0), runtime.GOMAXPROCS(0)), len(out)) {
		wg.Go(func() {
			for i := range next {
				out[i], errs[i] = renderer.image(ctx, o.Tree.images[i])
			}
		})
	}
	for i := range out {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("rendering templates: %w", err)
	}
	for i, err := range errs {
		out[i].Err = err
	}
	mistakes := Collect(errs)
	if err := renderer.include(out); err != nil {
		return nil, cmp.Or(mistakes, err)
	}
	renderer.addTriggered(out)
	return out, mistakes
}

// renderer is the state that the images of a call of Render share.
type renderer struct {
	Options
	vars           map[string]any
	treeReferences map[string]string // references of the tree's images by familiar name
	apt            map[string]File
	override       *override
	// overrideTemplate is compiled once; nil if there are no overrides.
	overrideTemplate *jinja.Template
}

func newRenderer(ctx context.Context, o Options) (*renderer, error) {
	r := &renderer{Options: o, treeReferences: ownNames(o.Tree, o.Config)}
	var err error
	if r.vars, err = variables(ctx, o.Config, o.Version, o.Env, o.Tree.usesUser); err != nil {
		return nil, err
	}
	env := map[string]any{}
	for k, v := range o.Env {
		env[k] = v
	}
	r.vars["env"] = env
	if o.Config.ReposYAML != "" {
		if _, err = o.Tree.loadRepos(ctx, o.Config.ReposYAML); err != nil {
			return nil, o.Config.UsageIfUnreadable("repos-yaml", err)
		}
	}
	if r.apt, err = aptFiles(o.Tree, o.Config); err != nil {
		return nil, err
	}
	if r.override, err = mergeOverrides(ctx, o.Config.TemplateOverride); err != nil {
		err = o.Config.UsageIfUnreadable("template-override", fmt.Errorf("template-override: %w", err))
		if slices.ContainsFunc(o.Config.TemplateOverride, func(f string) bool { return strings.ContainsAny(f, ", ") }) {
			err = usererr.WithHint(err, "repeat the option, or the key, for several files")
		}
		return nil, err
	}
	if r.override != nil {
		loader := jinja.Map{r.override.name: r.override.source}
		if r.overrideTemplate, err = newEnvironment(o.Tree, loader).Template(r.override.name); err != nil {
			return nil, r.locate(err)
		}
	}
	return r, nil
}

func (r *renderer) image(ctx context.Context, dir string) (Dockerfile, error) {
	d := Dockerfile{Name: path.Base(dir), Dir: dir, Template: path.Join(dir, templateName)}
	d.Reference, d.Place = referenceOf(r.Config, d.Name), r.Tree.displayPath(d.Template)
	tpl, err := r.Tree.env.Template(d.Template)
	if err != nil {
		return d, &TemplateError{d.Template, d.Place, r.locate(err)}
	}
	defer r.Tree.env.Forget(d.Template) // thousands of them take as much memory as all else
	vars := maps.Clone(r.vars)
	vars["image_name"] = d.Name
	if r.overrideTemplate != nil {
		vars["parent_template"] = tpl
		tpl = r.overrideTemplate
	}
	rendering, err := tpl.RenderPlaces(ctx, vars)
	for _, u := range rendering.Undefined {
		d.Undefined = append(d.Undefined, undefinedFinding(u, r.placeOf))
	}
	if err != nil {
		return d, &TemplateError{d.Template, d.Place, r.locate(err)}
	}
	d.Content, d.places = []byte(rendering.Text), rendering.Places
	for i, p := range d.places {
		d.places[i].Template, d.places[i].Line = r.placeOf(p.Template, p.Line)
	}
	r.readReferences(&d)
	d.Context, d.Series, d.Patches = r.context(d)
	return d, nil
}

// context returns the files of an image's build context, the patches in its series, and
// the mistakes in it.
func (r *renderer) context(d Dockerfile) ([]File, []Patch, error) {
	patches, series, patchErr := patchFiles(r.Config.PatchesPath, d.Name)
	files := map[string]File{}
	for _, f := range r.Tree.filesIn(d.Dir) {
		if f.Path != templateName && f.Path != "Dockerfile" {
			files[f.Path] = f
		}
	}
	for at, f := range r.apt {
		if rel, ok := strings.CutPrefix(at, d.Dir+"/"); ok {
			f.Path = rel
			files[rel] = f
		}
	}
	for _, f := range patches {
		if old, ok := files[f.Path]; ok && old.IsDir() && f.IsDir() {
			continue
		}
		files[f.Path] = f
	}
	return slices.SortedFunc(maps.Values(files), func(a, b File) int {
		return cmp.Compare(a.Path, b.Path)
	}), series, patchErr
}

// locate replaces the places in an error by files that the user knows: lines of merged
// overrides by those of the override files, and templates on disk by their paths.
func (r *renderer) locate(err error) error {
	var je *jinja.Error
	if !errors.As(err, &je) {
		return err
	}
	e := *je
	e.Template, e.Line = r.placeOf(e.Template, e.Line)
	var wrong *variableError
	if errors.As(je.Cause, &wrong) && r.setsVariable(&e, wrong.name) {
		return &e
	}
	e.Trace = slices.Clone(e.Trace)
	for i, f := range e.Trace {
		e.Trace[i].Template, e.Trace[i].Line = r.placeOf(f.Template, f.Line)
	}
	return &e
}

// setsVariable changes the place of an error to where the overrides set a variable, and
// reports whether they do. The place where it is used becomes the trace.
func (r *renderer) setsVariable(e *jinja.Error, name string) bool {
	if r.overrideTemplate == nil {
		return false
	}
	sets := slices.DeleteFunc(r.overrideTemplate.Analyze().Sets, func(s jinja.Ref) bool { return s.Name != name })
	if len(sets) == 0 {
		return false // set by a template that an override includes
	}
	set := sets[len(sets)-1]
	e.Trace = []jinja.Frame{{Template: e.Template, Line: e.Line, Column: e.Column, What: "filter 'customizable'"}}
	e.Template, e.Line = r.override.origin(set.Line)
	e.Column = set.Column
	e.SourceLine = strings.Split(r.override.source, "\n")[set.Line-1]
	return true
}

// placeOf returns the file, and the line of it, that a line of a template is in.
func (r *renderer) placeOf(template string, line int) (string, int) {
	if r.override != nil && template == r.override.name {
		return r.override.origin(line)
	}
	return r.Tree.displayPath(template), line
}
