package dockerfile

import (
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// Access is how a Dockerfile uses a directory of the build context.
type Access struct {
	// Line is the line of the first instruction that copies or mounts the directory or
	// files in it, 0 if no instruction does.
	Line int
	// Targets are the paths in the image that it is copied to or mounted on, without the
	// root and the working directory.
	Targets []string
	// Steps are the commands of the RUN instructions that see it.
	Steps []string
	// ResultSteps are the Steps in the last stage, and in the stages that it is based on,
	// that see the directory as it is in the build context.
	ResultSteps []string
}

// StepsAfter returns how the stages that the result needs use a directory at the top of the
// build context: copies of it, of files in it, and of the whole context, and the steps that
// follow in the same stage or in a stage that is based on it or copies from it. Sources with
// variables may be the directory.
func (d *Dockerfile) StepsAfter(dir string) Access {
	var access Access
	byName := stagesByName(d.Stages)
	has := map[int]bool{} // the stages with the directory
	hasStage := func(name string) bool {
		i, ok := byName[strings.ToLower(name)]
		return ok && has[i]
	}
	fromContext := map[int]bool{} // the stages with the directory as it is in the build context
	inResult := d.resultStages(byName)
	for _, i := range d.Reachable() {
		has[i] = hasStage(d.Stages[i].BaseName)
		if base, ok := byName[strings.ToLower(d.Stages[i].BaseName)]; ok {
			fromContext[i] = fromContext[base]
		}
		for _, cmd := range d.Stages[i].Commands {
			run, isRun := cmd.(*instructions.RunCommand)
			paths, unknown := contextPaths(cmd)
			uses := unknown || slices.ContainsFunc(paths, func(p string) bool { return names(p, dir) })
			if uses && access.Line == 0 {
				access.Line = firstLine(cmd.Location())
			}
			seesContext := uses || fromContext[i]
			fromContext[i] = fromContext[i] || uses && !isRun // mounts end with their step
			if uses || slices.ContainsFunc(sources(cmd), hasStage) {
				access.Targets = append(access.Targets, targets(cmd)...)
				uses = true
				has[i] = has[i] || !isRun
			}
			if isRun && (uses || has[i]) {
				access.Steps = append(access.Steps, commandOf(run))
				if seesContext && inResult[i] {
					access.ResultSteps = append(access.ResultSteps, commandOf(run))
				}
			}
		}
	}
	return access
}

// resultStages returns the last stage and the stages that it is based on.
func (d *Dockerfile) resultStages(byName map[string]int) map[int]bool {
	stages := map[int]bool{}
	i, ok := len(d.Stages)-1, len(d.Stages) > 0
	for ok && !stages[i] {
		stages[i] = true
		i, ok = byName[strings.ToLower(d.Stages[i].BaseName)]
	}
	return stages
}

// Commands returns the commands of all RUN instructions, and all ONBUILD instructions without
// that word.
func (d *Dockerfile) Commands() (steps, onBuild []string) {
	for _, st := range d.Stages {
		for _, cmd := range st.Commands {
			switch cmd := cmd.(type) {
			case *instructions.RunCommand:
				steps = append(steps, commandOf(cmd))
			case *instructions.OnbuildCommand:
				onBuild = append(onBuild, cmd.Expression)
			}
		}
	}
	return steps, onBuild
}

// names reports whether a source of a COPY is a directory at the top of the context, in it,
// or contains it.
func names(source, dir string) bool {
	if strings.Contains(source, "$") {
		return true
	}
	first, _, _ := strings.Cut(path.Clean("/" + source)[1:], "/")
	matches, err := path.Match(first, dir)
	return first == "" || matches || err != nil
}

// targets returns the paths that an instruction copies files to or mounts them on.
func targets(cmd instructions.Command) []string {
	var paths []string
	switch cmd := cmd.(type) {
	case *instructions.AddCommand:
		paths = append(paths, cmd.DestPath)
	case *instructions.CopyCommand:
		paths = append(paths, cmd.DestPath)
	case *instructions.RunCommand:
		for _, m := range instructions.GetMounts(cmd) {
			if m.Type == instructions.MountTypeBind {
				paths = append(paths, m.Target)
			}
		}
	}
	return slices.DeleteFunc(paths, func(p string) bool { return strings.Trim(p, "./") == "" })
}

// commandOf returns the command of a RUN instruction with the content of its here-documents.
func commandOf(run *instructions.RunCommand) string {
	text := strings.Join(run.CmdLine, " ")
	for _, file := range run.Files {
		text += "\n" + file.Data
	}
	return text
}
