package render

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/dockerfile"
)

// include applies --include-header and --include-footer to trees whose
// templates do not use the variables of those names, as in Kolla since 2016:
// the header follows the first FROM of images without a parent in the set, the
// footer ends images without children.
func (r *renderer) include(files []Dockerfile) error {
	header, err := r.included("include_header")
	if err != nil {
		return err
	}
	footer, err := r.included("include_footer")
	if err != nil || header+footer == "" {
		return err
	}
	includes, parents := map[string]bool{}, map[string]bool{}
	for _, d := range files {
		if d.Err != nil {
			return d.Err // its parent is unknown, so the parent could wrongly seem to have no children
		}
		includes[d.Reference], parents[d.From] = true, true
	}
	for i := range files {
		d := &files[i]
		if header != "" && d.From != "" && !includes[d.From] {
			d.Content, d.places = insertAfterFrom(d.Content, header), nil
		}
		if footer != "" && !parents[d.Reference] {
			d.Content = append(endLine(d.Content), footer...)
		}
		r.readReferences(d)
	}
	return nil
}

// included returns the value of a variable that holds a file's content, "" if it
// is not set or the tree's templates use it themselves.
func (r *renderer) included(variable string) (string, error) {
	content, _ := r.vars[variable].(string)
	if content == "" {
		return "", nil
	}
	for _, p := range r.Tree.sorted {
		if f := r.Tree.files[p]; path.Ext(p) == ".j2" && !f.IsDir() {
			src, err := readText(f)
			if err != nil {
				return "", err
			}
			if strings.Contains(src, variable) {
				return "", nil
			}
		}
	}
	return string(endLine([]byte(content))), nil
}

// insertAfterFrom puts text before the instruction that follows the first FROM.
func insertAfterFrom(content []byte, text string) []byte {
	line := dockerfile.InstructionAfterFrom(content)
	if line == 0 {
		return append(endLine(content), text...)
	}
	at := 0
	for range line - 1 {
		at += bytes.IndexByte(content[at:], '\n') + 1
	}
	return slices.Concat(content[:at], []byte(text), content[at:])
}

// endLine returns b with a newline at its end, unless it is empty.
func endLine(b []byte) []byte {
	if len(b) > 0 && b[len(b)-1] != '\n' {
		return append(slices.Clip(b), '\n')
	}
	return slices.Clip(b)
}
