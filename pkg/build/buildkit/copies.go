package buildkit

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// missingCopy finds the first COPY or ADD of a file that the build context does
// not hold: before anything is built, where BuildKit finds it half an hour into
// the build, and with its place. What a variable, a pattern or a URL names is
// left to BuildKit.
func missingCopy(d Dockerfile, stages []instructions.Stage) error {
	for _, i := range reachable(stages) {
		for _, cmd := range stages[i].Commands {
			var paths []string
			switch cmd := cmd.(type) {
			case *instructions.AddCommand:
				paths = cmd.SourcePaths
			case *instructions.CopyCommand:
				if cmd.From == "" && !cmd.Parents {
					paths = cmd.SourcePaths
				}
			}
			for _, p := range paths {
				if strings.ContainsAny(p, `$*?[\`) || strings.Contains(p, "://") || strings.HasPrefix(p, "git@") || inContext(d.Context, p) {
					continue
				}
				e := &DockerfileError{Path: d.Path, Err: fmt.Errorf("%s %s: the build context has no such file%s", strings.ToUpper(cmd.Name()), p, holds(d.Context))}
				if loc := cmd.Location(); len(loc) > 0 {
					e.Line = loc[0].Start.Line
					e.Source = sourceLine(d.Content, e.Line)
				}
				return e
			}
		}
	}
	return nil
}

func inContext(files []ContextFile, p string) bool {
	p = path.Clean("/" + p)[1:]
	return p == "" || slices.ContainsFunc(files, func(f ContextFile) bool { return f.Path == p || strings.HasPrefix(f.Path, p+"/") })
}

// maxHolds is how many files of a context are listed where one is missing.
const maxHolds = 8

func holds(files []ContextFile) string {
	var names []string
	for _, f := range files {
		if !f.Mode.IsDir() {
			names = append(names, f.Path)
		}
	}
	slices.Sort(names)
	switch n := len(names); {
	case n == 0:
		return ", it is empty"
	case n > maxHolds:
		return fmt.Sprintf("; it has %s and %d more", strings.Join(names[:maxHolds], ", "), n-maxHolds)
	}
	return "; it has " + strings.Join(names, ", ")
}

// reachable lists the stages that the last one needs, itself included: others
// are not built, whatever is in them.
func reachable(stages []instructions.Stage) []int {
	byName := map[string]int{}
	for i, st := range stages {
		byName[strconv.Itoa(i)] = i
		if st.Name != "" {
			byName[strings.ToLower(st.Name)] = i
		}
	}
	seen := map[int]bool{}
	var out []int
	var visit func(i int)
	visit = func(i int) {
		if seen[i] {
			return
		}
		seen[i] = true
		out = append(out, i)
		follow := func(name string, limit int) {
			if j, ok := byName[strings.ToLower(name)]; ok && j < limit {
				visit(j)
			}
		}
		follow(stages[i].BaseName, i)
		for _, cmd := range stages[i].Commands {
			switch cmd := cmd.(type) {
			case *instructions.CopyCommand:
				follow(cmd.From, i)
			case *instructions.RunCommand:
				for _, m := range instructions.GetMounts(cmd) {
					follow(m.From, i)
				}
			}
		}
	}
	if len(stages) > 0 {
		visit(len(stages) - 1)
	}
	slices.Sort(out)
	return out
}
