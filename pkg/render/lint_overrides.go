package render

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja"
)

func (l *linter) overrides(ctx context.Context, files []string) error {
	for _, file := range files {
		// In merged overrides, the lines with their extends are removed.
		if src, err := readTextFile(ctx, file); err == nil && strings.HasPrefix(src, byteOrderMark) {
			l.foundMark(file, 1)
		}
	}
	merged, err := mergeOverrides(ctx, files)
	if err != nil || merged == nil {
		return err
	}
	t := l.analyze(merged.source, merged.origin)
	if !l.checkText(t) {
		l.found = append(l.found, withoutParent(files[0]))
	}
	l.checkOverriddenNames(t)
	return nil
}

func withoutParent(file string) Finding {
	return Finding{
		File:       file,
		Line:       1,
		Message:    "the override has no {% extends parent_template %}: it replaces every Dockerfile",
		Hint:       "write {% extends parent_template %} on its first line",
		Everywhere: true,
	}
}

// CheckOverrides returns warnings about blocks and variables of the configuration's overrides
// that have no effect, because no template has or reads them, and about overrides that extend
// no template. Files with mistakes are left to Render.
func CheckOverrides(ctx context.Context, t *Tree, overrides []string) []Finding {
	merged, err := mergeOverrides(ctx, overrides)
	if err != nil || merged == nil {
		return nil
	}
	l := &linter{tree: t, templates: map[string]*template{}}
	for _, p := range t.sorted {
		if path.Ext(p) == ".j2" && !t.files[p].IsDir() && l.template(p, false) != nil {
			return nil
		}
	}
	override := l.analyze(merged.source, merged.origin)
	extends := l.checkText(override)
	l.found = nil // without the findings in templates and those of text
	if !extends {
		l.found = append(l.found, withoutParent(overrides[0]))
	}
	l.checkOverriddenNames(override)
	for i := range l.found {
		l.found[i].Warning = true
	}
	return SortFindings(l.found)
}

// checkOverriddenNames finds the blocks and variables of an override that have no effect.
func (l *linter) checkOverriddenNames(t *template) {
	blocks, r := l.definedNames(t)
	for _, b := range t.Blocks {
		if !blocks[b.Name] && !r.broken[b.Name] {
			l.find(t, b.Line, t.column(b), fmt.Sprintf("no template has a block %q: it is not rendered", b.Name),
				didYouMean(b.Name, slices.Collect(maps.Keys(blocks))))
		}
	}
	for _, s := range t.Sets {
		if hint, ok := r.check(s.Name); !ok {
			l.find(t, s.Line, t.column(s), fmt.Sprintf("no template reads %s", s.Name), hint)
		}
	}
}

// column returns the column of the tag that contains a name, if it begins on the same
// line.
func (t *template) column(r jinja.Ref) int {
	column := r.Column
	for _, p := range t.pieces {
		if p.tag != nil && p.tag.line == r.Line && p.tag.column <= r.Column {
			column = p.tag.column
		}
	}
	return column
}

// checkText finds text of an override outside of blocks, macros and variables, except
// for lines that begin with # like headings, and reports whether the override extends a
// template.
func (l *linter) checkText(t *template) (extends bool) {
	depth, reported := 0, false
	for _, p := range t.pieces {
		switch {
		case p.tag == nil:
			if line := unrenderedLine(p.data); extends && depth == 0 && !reported && line >= 0 {
				reported = true // one report is enough
				l.find(t, p.line+line, 0, "text outside of a block is not rendered",
					"put it between {% block … %} and {% endblock %}")
			}
		case p.tag.statement:
			switch word.FindString(p.tag.text) {
			case "extends":
				extends = true
			case "block", "macro":
				depth++
			case "endblock", "endmacro", "endset":
				depth--
			case "set":
				if !plainSet.MatchString(p.tag.text) {
					depth++
				}
			}
		}
	}
	return extends
}

// unrenderedLine returns the first line of a text that is neither blank nor a heading, -1
// if there is none.
func unrenderedLine(text string) int {
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return i
		}
	}
	return -1
}

// variableUses are the uses of variables that overrides set.
type variableUses struct {
	names    map[string]bool // variables that a template or the override itself reads
	prefixes map[string]bool // IMAGE_KIND
	open     []string        // prefixes IMAGE_ of images with unknown kinds
	broken   map[string]bool // words in the tags of templates that do not parse
}

// definedNames returns the blocks of all templates, and the variables that they and the
// override read.
func (l *linter) definedNames(override *template) (map[string]bool, variableUses) {
	blocks := map[string]bool{}
	uses := variableUses{names: map[string]bool{}, prefixes: map[string]bool{}, broken: map[string]bool{}}
	for _, t := range l.templates {
		for _, b := range t.Blocks {
			blocks[b.Name] = true
		}
		for _, refs := range [][]jinja.Ref{t.Reads, t.Sets} {
			for _, ref := range refs {
				uses.names[ref.Name] = true
			}
		}
		if t.broken {
			for name := range t.countWords() {
				uses.broken[name] = true
			}
		}
	}
	// A variable that the override both sets and reads is not in Reads of the analysis,
	// but it occurs more often than it is set.
	count := override.countWords()
	for _, s := range override.Sets {
		count[s.Name]--
	}
	for name, n := range count {
		if n > 0 {
			uses.names[name] = true
		}
	}
	for _, dir := range l.tree.images {
		image := strings.ReplaceAll(path.Base(dir), "-", "_") + "_"
		templates, open := l.reach(path.Join(dir, templateName))
		for _, t := range append(templates, override) { // its blocks are rendered in any image
			for _, u := range t.Filters {
				switch {
				case u.Name != "customizable":
				case len(u.Args) > 0 && u.Args[0] != "":
					uses.prefixes[image+u.Args[0]] = true
				default:
					open = true
				}
			}
		}
		if open {
			uses.open = append(uses.open, image)
		}
	}
	return blocks, uses
}

// countWords counts the words in a template's tags.
func (t *template) countWords() map[string]int {
	out := map[string]int{}
	for _, p := range t.pieces {
		if p.tag != nil {
			for _, w := range word.FindAllString(p.tag.text, -1) {
				out[w]++
			}
		}
	}
	return out
}

// checkSuffix finds a variable whose suffix is misspelled: one that begins like a
// customizable list and is not read.
func (r variableUses) checkSuffix(name string) (hint string, ok bool) {
	at := strings.LastIndexByte(name, '_')
	if at < 0 || !r.prefixes[name[:at]] {
		return "", true
	}
	near := nearest(name[at+1:], []string{"append", "remove", "override"})
	if near == "" {
		return "", true
	}
	return fmt.Sprintf("did you mean \"%s_%s\"?", name[:at], near), false
}

// check reports whether something reads a variable that an override sets, and returns
// a hint if not. Variables with other names than those of customizable are not checked.
func (r variableUses) check(name string) (hint string, ok bool) {
	m := customSuffix.FindStringSubmatch(name)
	if r.names[name] || r.broken[name] {
		return "", true
	}
	if m == nil {
		return r.checkSuffix(name)
	}
	if r.prefixes[m[1]] {
		return "", true
	}
	for _, o := range r.open {
		if strings.HasPrefix(name, o) {
			return "", true
		}
	}
	if near := nearest(m[1], slices.Collect(maps.Keys(r.prefixes))); near != "" {
		hint = fmt.Sprintf("did you mean \"%s_%s\"?", near, m[2])
	}
	return hint, false
}
