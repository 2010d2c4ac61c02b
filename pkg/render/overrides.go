package render

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// override is the override files of a run as one template.
type override struct {
	name   string // the base name of the first file, by which templates refer to it
	source string
	starts []overrideStart // the first line of each file in source
}

type overrideStart struct {
	line int // in source, 1-based
	file string
	// removed are lines of the file that are not in source, 1-based, ascending.
	removed []int
}

// extendsLine matches the lines that upstream removes from all files but the first.
var extendsLine = regexp.MustCompile(`.*\{%.*extends.*\n`)

// mergeOverrides concatenates files to one template, as upstream does: the first
// unchanged, the others without the lines that contain an extends. It returns nil if
// there are no files. A file that is named twice, for example in the configuration and
// on the command line, counts once.
func mergeOverrides(ctx context.Context, files []string) (*override, error) {
	if len(files) == 0 {
		return nil, nil
	}
	files = DistinctFiles(files)
	o := &override{name: filepath.Base(files[0])}
	var b strings.Builder
	line := 1
	for i, file := range files {
		src, err := readTextFile(ctx, file)
		if err != nil {
			return nil, err
		}
		start := overrideStart{line: line, file: file}
		if i > 0 {
			for _, at := range extendsLine.FindAllStringIndex(src, -1) {
				start.removed = append(start.removed, 1+strings.Count(src[:at[0]], "\n"))
			}
			src = extendsLine.ReplaceAllString(src, "")
		}
		o.starts = append(o.starts, start)
		line += strings.Count(src, "\n")
		b.WriteString(src)
	}
	o.source = b.String()
	return o, nil
}

// place returns the file, and the line of it, that a line of the merged template
// comes from.
func (o *override) origin(line int) (string, int) {
	i := sort.Search(len(o.starts), func(i int) bool { return o.starts[i].line > line }) - 1
	if i < 0 {
		i = 0
	}
	s := o.starts[i]
	line -= s.line - 1
	for _, r := range s.removed {
		if r <= line {
			line++
		}
	}
	return s.file, line
}

// DistinctFiles returns names of files without duplicates of the same file.
func DistinctFiles(names []string) []string {
	var out []string
	var seen []os.FileInfo
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			if slices.ContainsFunc(seen, func(o os.FileInfo) bool { return os.SameFile(o, info) }) {
				continue
			}
			seen = append(seen, info)
		}
		out = append(out, name)
	}
	return out
}
