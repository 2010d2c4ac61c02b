package render

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

// include does what --include-header and --include-footer say for trees whose
// templates do not know the variables of those names any more, as none has
// since 2016: the header goes after the first FROM of the images that stand on
// none of the set, the footer to the end of those that none stands on.
func (r *renderer) include(files []Dockerfile) error {
	header, err := r.included("include_header")
	if err != nil {
		return err
	}
	footer, err := r.included("include_footer")
	if err != nil || header+footer == "" {
		return err
	}
	own, parents := map[string]bool{}, map[string]bool{}
	for _, d := range files {
		own[d.Reference], parents[d.From] = true, true
	}
	for i := range files {
		d := &files[i]
		if header != "" && d.From != "" && !own[d.From] {
			d.Content = insertAfterFrom(d.Content, header)
		}
		if footer != "" && !parents[d.Reference] {
			d.Content = append(endLine(d.Content), footer...)
		}
		d.From, d.FromLine, d.Needs = bases(d.Content)
	}
	return nil
}

// included returns the text of a variable that holds a file's, "" if there is
// none or the tree's templates use it themselves.
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
func insertAfterFrom(dockerfile []byte, text string) []byte {
	all := instructions(dockerfile)
	from := slices.IndexFunc(all, func(in instruction) bool { return in.name == "FROM" })
	if from < 0 || from == len(all)-1 {
		return append(endLine(dockerfile), text...)
	}
	at := 0
	for range all[from+1].line - 1 {
		at += bytes.IndexByte(dockerfile[at:], '\n') + 1
	}
	return slices.Concat(dockerfile[:at], []byte(text), dockerfile[at:])
}

// endLine returns b with a newline at its end, unless it is empty.
func endLine(b []byte) []byte {
	if len(b) > 0 && b[len(b)-1] != '\n' {
		return append(slices.Clip(b), '\n')
	}
	return slices.Clip(b)
}
