package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// Finding is a mistake that Lint found.
type Finding struct {
	File         string // its path, or its name in the built-in tree
	Line, Column int    // 1-based, 0 if it has none
	Message      string
	Hint         string // what to do, or ""
	Source       string // the text of the line, "" if not known
	Warning      bool   // images can be built nevertheless
	Everywhere   bool   // in an override: no image can be built with it
}

// ErrorFinding converts an error of rendering a template to a finding.
func ErrorFinding(err error, template string) Finding {
	f := Finding{File: template, Message: usererr.FirstLine(err), Hint: usererr.Hint(err)}
	var e *jinja.Error
	if errors.As(err, &e) {
		f.Message, f.Hint = e.Message, cmp.Or(e.Hint, f.Hint)
		if e.Template != "" {
			f.File, f.Line, f.Column = e.Template, e.Line, e.Column
		}
	}
	return f
}

// SortFindings sorts findings by place and removes duplicates, which come from lines
// that several images share.
func SortFindings(found []Finding) []Finding {
	slices.SortFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Message, b.Message), cmp.Compare(severity(b), severity(a)))
	})
	found = slices.CompactFunc(found, func(a, b Finding) bool {
		return a.File == b.File && a.Line == b.Line && a.Message == b.Message
	})
	// The undefined value that ends a render is reported as its error already.
	type place struct {
		file, message string
		line          int
	}
	ended := map[place]bool{}
	for _, f := range found {
		if !f.Warning {
			ended[place{f.File, undefinedMessage(f.Message), f.Line}] = true
		}
	}
	return slices.DeleteFunc(found, func(f Finding) bool {
		return f.Warning && ended[place{f.File, f.Message, f.Line}]
	})
}

// severity is 0 for a warning and 1 for another finding.
func severity(f Finding) int {
	if f.Warning {
		return 0
	}
	return 1
}

// Notice formats the finding as a warning in one line, for commands that go on.
func (f Finding) Notice() string {
	f.Source, f.Warning = "", false
	return "warning: " + f.String()
}

// String formats the finding: FILE:LINE:COLUMN: message (hint), and the line below.
func (f Finding) String() string {
	s := f.File
	if f.Line > 0 {
		s += fmt.Sprintf(":%d", f.Line)
		if f.Column > 0 {
			s += fmt.Sprintf(":%d", f.Column)
		}
	}
	s += ": "
	if f.Warning {
		s += "warning: "
	}
	s += f.Message
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	if strings.TrimSpace(f.Source) != "" {
		s += "\n    " + strings.TrimSpace(f.Source)
	}
	return s
}

// Lint checks a tree and override files without rendering them. It finds templates
// that do not compile, unknown filters and tests, templates without a FROM, and in
// overrides blocks that no template has, X_append, X_remove and X_override variables
// that no template reads, text that is not rendered, and a missing extends. The
// findings are sorted by place. It returns an error if a file cannot be read.
func Lint(ctx context.Context, t *Tree, overrides []string) ([]Finding, error) {
	l := &linter{tree: t, templates: map[string]*template{}}
	if err := l.load(); err != nil {
		return nil, err
	}
	for _, dir := range t.images {
		l.checkFrom(path.Join(dir, templateName))
	}
	l.checkTemplateNames()
	if err := l.overrides(ctx, overrides); err != nil {
		return nil, err
	}
	return SortFindings(l.found), nil
}

type linter struct {
	tree      *Tree
	templates map[string]*template // those that were analyzed, by path
	found     []Finding
}

// template is a template with its analysis. pieces contain its text, which the analysis
// lacks.
type template struct {
	source string
	place  func(line int) (string, int) // the file and line in messages for a line
	pieces []piece
	*jinja.Analysis
	names  *jinja.Names
	broken bool     // it does not parse: the analysis is empty
	uses   []string // templates of the tree that it extends, includes or imports
}

var (
	word         = regexp.MustCompile(`[A-Za-z_]\w*`)
	plainSet     = regexp.MustCompile(`^set\s[\w\s.,()]*=`)
	fromLine     = regexp.MustCompile(`(?im)^\s*FROM\b`)
	customSuffix = regexp.MustCompile(`^(.+)_(append|remove|override)$`)
	unknownName  = regexp.MustCompile(`^No (filter|test) named '(.+)'\.$`)
)

// template analyzes a template and those that it uses. required is false for templates
// that another one refers to: they need to exist only when that is rendered.
func (l *linter) template(name string, required bool) error {
	if l.templates[name] != nil {
		return nil
	}
	f, ok := l.tree.files[name]
	if !ok || f.IsDir() {
		if required {
			return fmt.Errorf("template %s is not in the tree", name)
		}
		return nil
	}
	src, err := readText(f)
	if err != nil {
		return err
	}
	file := l.tree.displayPath(name)
	t := l.analyze(src, func(line int) (string, int) { return file, line })
	l.templates[name] = t
	for _, u := range t.uses {
		if err := l.template(u, false); err != nil {
			return err
		}
	}
	return nil
}

// analyze analyzes a template and adds the mistakes that the engine finds.
func (l *linter) analyze(src string, placeOf func(int) (string, int)) *template {
	t := &template{source: src, place: placeOf, pieces: scanTemplate(src), Analysis: &jinja.Analysis{}, names: &jinja.Names{}}
	l.checkMarks(t)
	parsed, refused, err := parseAny(src)
	if err != nil {
		t.broken = true
		var e *jinja.Error
		if errors.As(err, &e) {
			l.find(t, e.Line, e.Column, e.Message, e.Hint)
		} else {
			l.find(t, 0, 0, err.Error(), "")
		}
		return t
	}
	t.Analysis, t.names = parsed.Analyze(), parsed.Names()
	for _, refs := range [][]jinja.Ref{t.Extends, t.Includes, t.Imports} {
		for _, r := range refs {
			t.uses = append(t.uses, path.Clean(r.Name))
		}
	}
	l.checkNames(t, "filter", "{{ x | %s }}", filterNames(t.Analysis), refused)
	l.checkNames(t, "test", "{{ x is %s }}", testNames(t.Analysis), refused)
	return t
}

// checkTemplateNames warns of files that nearly have the name of a template, in directories without one.
func (l *linter) checkTemplateNames() {
	for _, p := range l.tree.sorted {
		base := path.Base(p)
		if (strings.EqualFold(base, templateName) || strings.EqualFold(base, "Dockerfile")) && base != templateName &&
			!l.tree.files[p].IsDir() && !slices.Contains(l.tree.images, path.Dir(p)) {
			l.found = append(l.found, Finding{File: l.tree.displayPath(p), Warning: true,
				Message: "it is not a template, so its directory is not an image", Hint: "name it " + templateName})
		}
	}
}

// byteOrderMark is a character that some editors put at the beginning of a file. In a
// template it is text, so that a FROM after it is not recognized.
const byteOrderMark = "\ufeff"

// checkMarks finds byte order marks. Merged overrides may have several.
func (l *linter) checkMarks(t *template) {
	for i, rest := 0, t.source; ; {
		at := strings.Index(rest, byteOrderMark)
		if at < 0 {
			return
		}
		i += at
		l.foundMark(t.place(1 + strings.Count(t.source[:i], "\n")))
		i += len(byteOrderMark)
		rest = t.source[i:]
	}
}

func (l *linter) foundMark(file string, line int) {
	l.found = append(l.found,
		Finding{
			File:       file,
			Line:       line,
			Message:    "a byte order mark, which is rendered as text",
			Hint:       "save the file as UTF-8 without it",
			Everywhere: true,
		})
}

// maxStandIns is how often a template is parsed.
const maxStandIns = 100

// parseAny parses a template with unknown filters and tests. The engine reports the
// first unknown one, which then gets a stand-in, so that other mistakes are found too.
// refused contains those, as "filter NAME" and "test NAME".
func parseAny(src string) (t *jinja.Template, refused map[string]bool, err error) {
	refused = map[string]bool{}
	standIns := map[string]map[string]jinja.Func{"filter": {}, "test": {}}
	for {
		t, err = jinja.New(jinja.Config{Filters: standIns["filter"], Tests: standIns["test"]}).Parse("", src)
		var e *jinja.Error
		if !errors.As(err, &e) {
			return t, refused, err
		}
		m := unknownName.FindStringSubmatch(e.Message)
		if m == nil || refused[m[1]+" "+m[2]] || len(refused) == maxStandIns {
			return t, refused, err
		}
		refused[m[1]+" "+m[2]] = true
		standIns[m[1]][m[2]] = func(*jinja.Call) (any, error) { return "", nil }
	}
}

// filterNames returns the filters that a template uses, including arguments of the
// filter map.
func filterNames(a *jinja.Analysis) []jinja.Ref {
	var out []jinja.Ref
	for _, u := range a.Filters {
		out = append(out, u.Ref)
		if u.Name == "map" && len(u.Args) > 0 && u.Args[0] != "" {
			out = append(out, jinja.Ref{Name: u.Args[0], Line: u.Line, Column: u.Column})
		}
	}
	return out
}

// testNames returns the tests that a template uses, including arguments of filters.
func testNames(a *jinja.Analysis) []jinja.Ref {
	var out []jinja.Ref
	for _, u := range a.Tests {
		out = append(out, u.Ref)
	}
	at := map[string]int{"select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}
	for _, u := range a.Filters {
		if i, ok := at[u.Name]; ok && i < len(u.Args) && u.Args[i] != "" {
			out = append(out, jinja.Ref{Name: u.Args[i], Line: u.Line, Column: u.Column})
		}
	}
	return out
}

// checkNames finds unknown filters or tests by compiling a template with each name. As
// in Jinja2, unknown names in branches compile and fail only when they are reached. If
// the template tests whether names exist, as in {% if "x" is filter %}, only names that
// the engine rejects count.
func (l *linter) checkNames(t *template, kind, probe string, names []jinja.Ref, refused map[string]bool) {
	asks := slices.ContainsFunc(t.Tests, func(u jinja.Use) bool { return u.Name == kind })
	for _, r := range names {
		if asks && !refused[kind+" "+r.Name] {
			continue
		}
		_, err := l.tree.env.Parse("", fmt.Sprintf(probe, r.Name))
		var e *jinja.Error
		// The error must be about this name: a name that is passed as a string, such as
		// the test "==", may be invalid syntax in the template that is compiled here.
		if errors.As(err, &e) && strings.HasPrefix(e.Message, "No "+kind+" named '"+r.Name+"'") {
			l.find(t, r.Line, r.Column, e.Message, e.Hint)
		}
	}
}

// find adds a finding. line is a line of the template's source, 0 if unknown.
func (l *linter) find(t *template, line, column int, message, hint string) {
	file, shownLine := t.place(line)
	source := ""
	if line > 0 {
		if lines := strings.SplitN(t.source, "\n", line+1); len(lines) >= line {
			source = lines[line-1]
		}
	} else {
		shownLine = 0
	}
	l.found = append(l.found, Finding{
		File:    file,
		Line:    shownLine,
		Column:  column,
		Message: message,
		Hint:    hint,
		Source:  source,
	})
}

// reach returns a template and those that it uses, directly or indirectly. open is true
// if there may be more: a template whose name is computed, or one that does not parse.
func (l *linter) reach(name string) (templates []*template, open bool) {
	seen := map[string]bool{}
	var visit func(string)
	visit = func(name string) {
		if t := l.templates[name]; t != nil && !seen[name] {
			seen[name] = true
			templates = append(templates, t)
			open = open || t.Dynamic || t.broken
			for _, u := range t.uses {
				visit(u)
			}
		}
	}
	visit(name)
	return templates, open
}

// checkFrom finds templates that cannot render a FROM.
func (l *linter) checkFrom(name string) {
	templates, open := l.reach(name)
	if open {
		return
	}
	for _, t := range templates {
		for _, p := range t.pieces {
			if p.tag == nil && fromLine.MatchString(p.data) {
				return
			}
		}
	}
	for _, p := range l.templates[name].pieces {
		if p.tag != nil && !p.tag.statement && strings.Contains(p.tag.text, "FROM") {
			return
		}
	}
	l.found = append(l.found, Finding{File: l.tree.displayPath(name), Line: 1, Message: "the template has no FROM",
		Hint: "begin it with FROM {{ namespace }}/{{ image_prefix }}base:{{ tag }}"})
}
