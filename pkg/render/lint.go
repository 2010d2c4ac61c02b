package render

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// Finding is something that Lint found.
type Finding struct {
	File         string // as the user knows it: its path, or its place in the built-in tree
	Line, Column int    // 1-based, 0 if it has none
	Message      string
	Hint         string // "" if there is nothing to say
	Source       string // the line itself, "" if it is not known
}

// String is the finding as it is shown: FILE:LINE:COLUMN: message (hint), and
// the line itself below.
func (f Finding) String() string {
	s := f.File
	if f.Line > 0 {
		s += fmt.Sprintf(":%d", f.Line)
		if f.Column > 0 {
			s += fmt.Sprintf(":%d", f.Column)
		}
	}
	s += ": " + f.Message
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	if strings.TrimSpace(f.Source) != "" {
		s += "\n    " + strings.TrimSpace(f.Source)
	}
	return s
}

// Lint checks a tree and override files without rendering them: templates that
// do not compile (which finds unknown filters and tests), templates without a
// FROM, and in overrides blocks that no template has, X_append, X_remove and
// X_override variables that no template reads, text that is never shown, and a
// missing extends. The findings are sorted by place. The error is for files
// that cannot be read.
func Lint(t *Tree, overrides []string) ([]Finding, error) {
	l := &linter{tree: t, templates: map[string]*template{}}
	for _, dir := range t.images {
		if err := l.template(path.Join(dir, templateName), true); err != nil {
			return nil, err
		}
	}
	// Those at the top are there to be imported, even if nobody does.
	for _, p := range t.sorted {
		if path.Ext(p) == ".j2" && !strings.Contains(p, "/") && !t.files[p].IsDir() {
			if err := l.template(p, false); err != nil {
				return nil, err
			}
		}
	}
	for _, dir := range t.images {
		l.checkFrom(path.Join(dir, templateName))
	}
	if err := l.overrides(overrides); err != nil {
		return nil, err
	}
	slices.SortFunc(l.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(l.found), nil
}

type linter struct {
	tree      *Tree
	templates map[string]*template // all that were looked at, by path
	found     []Finding
}

// template is what the checks need to know of one template.
type template struct {
	pieces []piece
	uses   []string // templates of the tree that it extends, includes or imports
	blocks map[string]bool
	names  map[string]bool // all words in its tags
	kinds  []string        // the arguments of customizable
	open   bool            // an argument of customizable is no plain text
	hasRun bool            // it uses a template whose name is only known when it runs
	from   bool            // its text has a FROM
}

var (
	usesTag      = regexp.MustCompile(`^(?:extends|include|import|from)\s+(?:"([^"]*)"|'([^']*)')`)
	usesAny      = regexp.MustCompile(`^(?:extends|include|import|from)\s`)
	blockTag     = regexp.MustCompile(`^block\s+(\w+)`)
	setTag       = regexp.MustCompile(`^set\s+([\w\s,]+?)\s*(?:=|$|\|)`)
	word         = regexp.MustCompile(`[A-Za-z_]\w*`)
	customize    = regexp.MustCompile(`\bcustomizable\s*\(\s*(?:call_type\s*=\s*)?(?:"([^"]*)"|'([^']*)'|([^)]*))`)
	fromLine     = regexp.MustCompile(`(?im)^\s*FROM\b`)
	customSuffix = regexp.MustCompile(`^(.+)_(append|remove|override)$`)
)

// template looks at a template and at what it uses. required is false for those
// that another one names: whether they are there is only known when it runs.
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
	t := scanUses(src)
	l.templates[name] = t
	if _, err := l.tree.env.Template(name); err != nil {
		l.add(l.tree.place(name), err)
	}
	for _, u := range t.uses {
		if err := l.template(u, false); err != nil {
			return err
		}
	}
	return nil
}

func scanUses(src string) *template {
	t := &template{pieces: scanTemplate(src), blocks: map[string]bool{}, names: map[string]bool{}}
	for _, p := range t.pieces {
		if p.tag == nil {
			t.from = t.from || fromLine.MatchString(p.data)
			continue
		}
		for _, w := range word.FindAllString(p.tag.text, -1) {
			t.names[w] = true
		}
		for _, m := range customize.FindAllStringSubmatch(p.tag.text, -1) {
			if kind := m[1] + m[2]; kind != "" {
				t.kinds = append(t.kinds, kind)
			} else {
				t.open = true
			}
		}
		if !p.tag.statement {
			continue
		}
		if m := blockTag.FindStringSubmatch(p.tag.text); m != nil {
			t.blocks[m[1]] = true
		}
		if m := usesTag.FindStringSubmatch(p.tag.text); m != nil {
			t.uses = append(t.uses, path.Clean(m[1]+m[2]))
		} else if usesAny.MatchString(p.tag.text) {
			t.hasRun = true
		}
	}
	return t
}

// reach returns a template and all that it uses, directly or not.
func (l *linter) reach(name string) []*template {
	seen := map[string]bool{}
	var out []*template
	var visit func(string)
	visit = func(name string) {
		if t := l.templates[name]; t != nil && !seen[name] {
			seen[name] = true
			out = append(out, t)
			for _, u := range t.uses {
				visit(u)
			}
		}
	}
	visit(name)
	return out
}

// checkFrom finds a template that can yield no FROM.
func (l *linter) checkFrom(name string) {
	for _, t := range l.reach(name) {
		if t.from || t.hasRun {
			return
		}
	}
	for _, p := range l.templates[name].pieces {
		if p.tag != nil && !p.tag.statement && strings.Contains(p.tag.text, "FROM") {
			return
		}
	}
	l.found = append(l.found, Finding{File: l.tree.place(name), Line: 1, Message: "the template has no FROM",
		Hint: "begin it with FROM {{ namespace }}/{{ image_prefix }}base:{{ tag }}"})
}

// add adds what the engine said about a template.
func (l *linter) add(file string, err error) {
	var e *jinja.Error
	if !errors.As(err, &e) {
		l.found = append(l.found, Finding{File: file, Message: err.Error()})
		return
	}
	l.found = append(l.found, Finding{file, e.Line, e.Column, e.Message, e.Hint, e.SourceLine})
}

func (l *linter) overrides(files []string) error {
	merged, err := mergeOverrides(files)
	if err != nil || merged == nil {
		return err
	}
	env := newEnvironment(l.tree, jinja.Map{merged.name: merged.source})
	if _, err := env.Template(merged.name); err != nil {
		var e *jinja.Error
		if !errors.As(err, &e) {
			return err
		}
		located := *e
		file, line := merged.place(e.Line)
		located.Line = line
		l.add(file, &located)
	}
	blocks, readers := l.known()
	pieces := scanTemplate(merged.source)
	for _, p := range pieces {
		if p.tag == nil {
			continue
		}
		reads := p.tag.text
		if setTag.MatchString(reads) {
			_, reads, _ = strings.Cut(reads, "=")
		}
		for _, w := range word.FindAllString(reads, -1) {
			readers.names[w] = true
		}
	}
	extends, depth, assigned := false, 0, 0
	told := false
	for _, p := range pieces {
		file, line := merged.place(p.line)
		find := func(column int, message, hint string) {
			l.found = append(l.found, Finding{file, line, column, message, hint, ""})
		}
		if p.tag == nil {
			if extends && depth == 0 && assigned == 0 && !told && strings.TrimSpace(p.data) != "" {
				told = true // one is enough: what follows is of the same kind
				skipped := len(p.data) - len(strings.TrimLeft(p.data, " \t\n"))
				file, line = merged.place(p.line + strings.Count(p.data[:skipped], "\n"))
				find(0, "text outside of a block is never shown", "put it between {% block … %} and {% endblock %}")
			}
			continue
		}
		if !p.tag.statement {
			continue
		}
		switch first := word.FindString(p.tag.text); first {
		case "extends":
			extends = true
		case "block", "macro":
			depth++
		case "endblock", "endmacro":
			depth--
		case "endset":
			assigned--
		case "set":
			if m := setTag.FindStringSubmatch(p.tag.text); m != nil {
				if !strings.Contains(p.tag.text, "=") {
					assigned++
				}
				for _, name := range word.FindAllString(m[1], -1) {
					l.checkVariable(name, readers, p.tag.column, find)
				}
			}
		}
		if m := blockTag.FindStringSubmatch(p.tag.text); m != nil && !blocks[m[1]] {
			find(p.tag.column, fmt.Sprintf("no template has a block %q: it is never shown", m[1]), didYouMean(m[1], slices.Collect(maps.Keys(blocks))))
		}
	}
	if !extends {
		l.found = append(l.found, Finding{File: files[0], Line: 1, Message: "the override has no {% extends parent_template %}: it replaces every Dockerfile as a whole",
			Hint: "write {% extends parent_template %} on its first line"})
	}
	return nil
}

// readers is what reads the variables of overrides.
type readers struct {
	names    map[string]bool // words in tags, but for what overrides set
	prefixes map[string]bool // IMAGE_KIND
	open     []string        // IMAGE_ where the kinds are not known
}

// known collects the blocks of all templates and what they read.
func (l *linter) known() (map[string]bool, readers) {
	blocks := map[string]bool{}
	r := readers{names: map[string]bool{}, prefixes: map[string]bool{}}
	for _, t := range l.templates {
		maps.Copy(blocks, t.blocks)
		maps.Copy(r.names, t.names)
	}
	for _, dir := range l.tree.images {
		image := strings.ReplaceAll(path.Base(dir), "-", "_") + "_"
		for _, t := range l.reach(path.Join(dir, templateName)) {
			for _, k := range t.kinds {
				r.prefixes[image+k] = true
			}
			if t.open {
				r.open = append(r.open, image)
			}
		}
	}
	return blocks, r
}

func (l *linter) checkVariable(name string, r readers, column int, find func(int, string, string)) {
	m := customSuffix.FindStringSubmatch(name)
	if m == nil || r.names[name] || r.prefixes[m[1]] {
		return
	}
	for _, o := range r.open {
		if strings.HasPrefix(name, o) {
			return
		}
	}
	hint := ""
	if near := nearest(m[1], slices.Collect(maps.Keys(r.prefixes))); near != "" {
		hint = fmt.Sprintf("did you mean \"%s_%s\"?", near, m[2])
	}
	find(column, fmt.Sprintf("no template reads %s", name), hint)
}
