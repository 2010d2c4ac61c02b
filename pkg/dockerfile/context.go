package dockerfile

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// ContextPaths returns the paths of the build context that the stages and
// triggers copy or mount, sorted. everything is true if that is not known, for
// variables, COPY --parents or ONBUILD: then any file may be used.
func (d *Dockerfile) ContextPaths(triggers ...instructions.Command) (paths []string, everything bool) {
	commands := slices.Clone(triggers)
	for _, st := range d.Stages {
		commands = append(commands, st.Commands...)
	}
	for _, cmd := range commands {
		if _, ok := cmd.(*instructions.OnbuildCommand); ok {
			return nil, true
		}
		used, unknown := contextPaths(cmd)
		if unknown {
			return nil, true
		}
		for _, p := range used {
			if strings.Contains(p, "$") {
				return nil, true
			}
			// As in BuildKit, ".." does not lead out of the context.
			if p = path.Clean("/" + p)[1:]; p == "" {
				return nil, true
			}
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), false
}

// contextPaths returns the paths of the build context that an instruction
// uses, as written; everything is true if they are not known.
func contextPaths(cmd instructions.Command) (paths []string, everything bool) {
	switch cmd := cmd.(type) {
	case *instructions.AddCommand:
		return cmd.SourcePaths, false
	case *instructions.CopyCommand:
		if cmd.Parents {
			return nil, true // the paths contain pivot points (/./)
		}
		if cmd.From == "" {
			return cmd.SourcePaths, false
		}
	case *instructions.RunCommand:
		for _, m := range instructions.GetMounts(cmd) {
			if m.Type == instructions.MountTypeBind && m.From == "" {
				paths = append(paths, m.Source)
			}
		}
	}
	return paths, false
}

// NamesPath reports whether a file of a context is under one of the paths that
// instructions name, contains one, or matches one. nil names all files.
func NamesPath(used []string, file string) bool {
	if used == nil {
		return true
	}
	for _, u := range used {
		u = strings.TrimSuffix(u, "/")
		if file == u || strings.HasPrefix(file, u+"/") || strings.HasPrefix(u, file+"/") {
			return true
		}
		if strings.ContainsAny(u, "*?[\\") {
			// A pattern may match the file or a directory that contains it.
			for p := file; p != "."; p = path.Dir(p) {
				if ok, err := path.Match(u, p); ok || err != nil {
					return true
				}
			}
		}
	}
	return false
}

// Use is a path of the build context that an instruction copies.
type Use struct {
	Instruction string // COPY or ADD
	Path        string
	Line        int // 1-based
}

// CopiedPaths returns the context paths that COPY and ADD instructions of
// reachable stages, and triggers, name literally: without those that have
// variables or patterns, and without URLs.
func (d *Dockerfile) CopiedPaths(triggers ...instructions.Command) []Use {
	var out []Use
	add := func(cmd instructions.Command, line int) {
		if _, ok := cmd.(*instructions.RunCommand); ok {
			return
		}
		paths, _ := contextPaths(cmd)
		for _, p := range paths {
			if strings.ContainsAny(p, `$*?[\`) || strings.Contains(p, "://") || strings.HasPrefix(p, "git@") {
				continue
			}
			out = append(out, Use{strings.ToUpper(cmd.Name()), p, line})
		}
	}
	for _, cmd := range triggers {
		add(cmd, d.lastFromLine())
	}
	for _, i := range d.Reachable(triggers...) {
		for _, cmd := range d.Stages[i].Commands {
			add(cmd, firstLine(cmd.Location()))
		}
	}
	return out
}

// ErrorAt returns an *Error for a line of the Dockerfile.
func (d *Dockerfile) ErrorAt(line int, err error) *Error {
	return errorAt(d.path, d.content, line, err)
}

// Download is what an ADD instruction fetches and no checksum pins.
type Download struct {
	Location  string // a URL; of a git repository without its fragment
	Git       bool
	Reference string // git: branch, tag or commit, "" for the default branch
}

var wholeCommit = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// Downloads returns what ADD instructions fetch from elsewhere where neither a
// checksum nor a complete commit id determines the content. Locations with
// variables are left out.
func (d *Dockerfile) Downloads() []Download {
	var out []Download
	for _, st := range d.Stages {
		for _, cmd := range st.Commands {
			add, ok := cmd.(*instructions.AddCommand)
			if !ok || add.Checksum != "" {
				continue
			}
			for _, src := range add.SourcePaths {
				if strings.Contains(src, "$") {
					continue
				}
				ref, isGit, err := dfgitutil.ParseGitRef(src)
				switch {
				case err == nil && isGit:
					if !wholeCommit.MatchString(ref.Ref) {
						out = append(out, Download{Location: ref.Remote, Git: true, Reference: ref.Ref})
					}
				case strings.HasPrefix(src, "http://") || strings.HasPrefix(src, "https://"):
					out = append(out, Download{Location: src})
				}
			}
		}
	}
	return out
}

func (d *Dockerfile) lastFromLine() int {
	if len(d.Stages) == 0 {
		return 0
	}
	return firstLine(d.Stages[len(d.Stages)-1].Location)
}
