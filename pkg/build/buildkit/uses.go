package buildkit

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// usedPaths lists the context paths that the stages copy or mount, or nil when
// that cannot be told and the whole context counts.
func usedPaths(stages []instructions.Stage) []string {
	used := []string{}
	for _, st := range stages {
		for _, cmd := range st.Commands {
			var paths []string
			switch cmd := cmd.(type) {
			case *instructions.AddCommand:
				paths = cmd.SourcePaths
			case *instructions.CopyCommand:
				if cmd.Parents {
					return nil // its paths have pivots in them
				}
				if cmd.From == "" {
					paths = cmd.SourcePaths
				}
			case *instructions.OnbuildCommand:
				return nil
			case *instructions.RunCommand:
				for _, m := range instructions.GetMounts(cmd) {
					if m.Type == instructions.MountTypeBind && m.From == "" {
						paths = append(paths, m.Source)
					}
				}
			}
			for _, p := range paths {
				if strings.Contains(p, "$") {
					return nil
				}
				// As the frontend has it: relative to the context's root, and
				// never above it.
				p = path.Clean("/" + p)[1:]
				if p == "" {
					return nil
				}
				used = append(used, p)
			}
		}
	}
	slices.Sort(used)
	return slices.Compact(used)
}

// Epoch is the time that files of build contexts carry: the Unix epoch, as in
// upstream Kolla, so that a checkout's dates do not reach images.
var Epoch = time.Unix(0, 0).UTC()

// ContextPaths returns the paths of the build context that a Dockerfile copies
// or mounts; all is true when it may use any. A Dockerfile that does not parse
// uses none: Convert says what is wrong with it. What was parsed is kept for
// Convert, until Forget.
func (d *Dockerfile) ContextPaths() (paths []string, all bool) {
	stages, args, err := parseStages(*d)
	if err != nil {
		return nil, false
	}
	d.parsed = &parsed{stages, args}
	paths = usedPaths(stages)
	return paths, paths == nil
}

// Download is what an ADD instruction fetches and no checksum pins.
type Download struct {
	Location  string // a URL, of a git repository without its fragment
	Git       bool
	Reference string // git: branch, tag or commit, "" for the default branch
}

// Downloads lists what a Dockerfile's ADD instructions fetch from elsewhere,
// where neither a checksum nor a whole commit id says what that is. Locations
// with variables in them are left out.
func (d *Dockerfile) Downloads() []Download {
	stages, _, err := parseStages(*d)
	if err != nil {
		return nil
	}
	var out []Download
	for _, st := range stages {
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

var wholeCommit = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// Forget frees what ContextPaths keeps.
func (d *Dockerfile) Forget() { d.parsed = nil }

// parsed is a Dockerfile's content as BuildKit's parser has it.
type parsed struct {
	stages []instructions.Stage
	args   []instructions.ArgCommand
}
