package buildkit

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// parse returns the parsed Dockerfile, which is kept after ContextPaths and otherwise
// parsed each time.
func (d *Dockerfile) parse() (*dockerfile.Dockerfile, error) {
	if d.parsed != nil {
		return d.parsed, nil
	}
	return dockerfile.Parse(d.Path, d.Content)
}

// ContextPaths returns the paths of the build context that a Dockerfile and ONBUILD
// instructions of its parents copy or mount; everything is true if they may use any file.
// For a Dockerfile that does not parse it returns none: Convert reports the error. The
// parsed Dockerfile is kept for Convert until Forget.
func (d *Dockerfile) ContextPaths(onBuild ...string) (paths []string, everything bool) {
	file, err := d.parse()
	if err != nil {
		return nil, false
	}
	d.parsed = file
	triggers, err := dockerfile.Triggers(onBuild)
	if err != nil {
		return nil, false
	}
	return file.ContextPaths(triggers...)
}

// Forget frees what ContextPaths keeps.
func (d *Dockerfile) Forget() { d.parsed = nil }

// Downloads returns what ADD instructions fetch from elsewhere that is not
// pinned.
func (d *Dockerfile) Downloads() []dockerfile.Download {
	file, err := d.parse()
	if err != nil {
		return nil
	}
	return file.Downloads()
}

// Runs reports whether building the image executes a command.
func (d *Dockerfile) Runs() bool {
	file, err := d.parse()
	return err == nil && file.Runs()
}

// usedPaths returns the context paths that count for the image, nil for all.
func usedPaths(file *dockerfile.Dockerfile, triggers []instructions.Command) []string {
	paths, everything := file.ContextPaths(triggers...)
	switch {
	case everything:
		return nil
	case paths == nil:
		return []string{}
	}
	return paths
}

// checkCopies finds the first COPY or ADD of a file that the build context does not
// have. BuildKit would report it only when it reaches that step.
func checkCopies(d Dockerfile, file *dockerfile.Dockerfile, triggers []instructions.Command) error {
	for _, use := range file.CopiedPaths(triggers...) {
		if inContext(d.Context, use.Path) {
			continue
		}
		p := path.Clean("/" + use.Path)[1:]
		if slices.ContainsFunc(d.Ignored, func(i string) bool { return i == p || strings.HasPrefix(i, p+"/") }) {
			return file.ErrorAt(use.Line,
				fmt.Errorf("%s %s: %s leaves it out of the build context", use.Instruction, use.Path, d.IgnoreFile))
		}
		err := fmt.Errorf("%s %s: the build context has no such file%s", use.Instruction, use.Path, contextListing(d.Context))
		switch {
		case p != d.Name+"-archive":
		case d.SourceDisabled:
			err = usererr.WithHint(err, fmt.Sprintf("the source of the image is disabled: omit enabled = false in [%s]", d.Name))
		default:
			err = usererr.WithHint(err,
				fmt.Sprintf("describe the source of the image in a section [%s] with type and location", d.Name))
		}
		return file.ErrorAt(use.Line, err)
	}
	return nil
}

func inContext(files []ContextFile, p string) bool {
	p = path.Clean("/" + p)[1:]
	return p == "" || slices.ContainsFunc(files, func(f ContextFile) bool {
		return f.Path == p || strings.HasPrefix(f.Path, p+"/")
	})
}

// maxListed is how many files of a context a message lists.
const maxListed = 8

func contextListing(files []ContextFile) string {
	var names []string
	for _, f := range files {
		if !f.Mode.IsDir() {
			names = append(names, f.Path)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return ", it is empty"
	}
	return "; it has " + units.List(names, maxListed)
}
