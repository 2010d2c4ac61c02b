package graph

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"github.com/kolla-build/kolla-build/internal/suggest"
)

// DuplicateError reports two templates for images of the same name.
type DuplicateError struct {
	Name  string
	Files [2]string
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("two templates for the image %q: %s and %s", e.Name, e.Files[0], e.Files[1])
}

// kollaTests matches templates that Kolla has for its own tests, beside the real ones.
var kollaTests = regexp.MustCompile(`(^|/)tests/docker/`)

// Hint returns what to do.
func (e *DuplicateError) Hint() string {
	for _, file := range e.Files {
		if kollaTests.MatchString(file) {
			return "this is a checkout of Kolla: its templates are in the directory docker, or kolla/docker in the " +
				"branch master; pass that directory"
		}
	}
	return "an image is named after its directory: rename one of the two"
}

// MissingParentError reports an image that depends on one which the tree does not
// have.
type MissingParentError struct {
	Image     string
	Place     Place  // of the FROM, COPY or mount
	Reference string // as the FROM has it
	Near      string // the Reference of an image with a similar name, or ""
}

func (e *MissingParentError) Error() string {
	s := fmt.Sprintf("%v: image %q depends on %s, which is not in the tree", e.Place, e.Image, e.Reference)
	if e.Near != "" {
		s += fmt.Sprintf(" (did you mean %s?)", e.Near)
	}
	return s
}

// CycleError reports images that depend on each other in a cycle: each on the next
// one, the last on the first.
type CycleError struct{ Images []Image }

func (e *CycleError) Error() string {
	if len(e.Images) == 1 {
		im := e.Images[0]
		return fmt.Sprintf("%v: image %q depends on itself", im.from(), im.Name)
	}
	names := make([]string, 0, len(e.Images)+1)
	for _, im := range e.Images {
		names = append(names, fmt.Sprintf("%s (%v)", im.Name, im.from()))
	}
	return "images depend on each other in a cycle: " + strings.Join(append(names, e.Images[0].Name), " -> ")
}

// Files returns the templates of the cycle in order.
func (e *CycleError) Files() []string {
	files := make([]string, len(e.Images))
	for i, im := range e.Images {
		files[i] = im.File
	}
	return files
}

// from returns where the image's FROM is written.
func (im *Image) from() Place { return im.at(im.FromPlace) }

func (im *Image) at(p Place) Place {
	p.File = cmp.Or(p.File, im.File)
	return p
}

func (p Place) String() string {
	if p.Line <= 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// setNames is the common part of the names of a set's images.
type setNames struct {
	like  map[[2]string]bool // the directory and tag pairs in use
	bases map[string]bool
	refs  map[string]string // repository's last element to reference
	names []string
}

func newSetNames(nodes []*node, bases []string) setNames {
	s := setNames{like: map[[2]string]bool{}, bases: map[string]bool{}, refs: map[string]string{}}
	for _, b := range bases {
		s.bases[b] = true
	}
	for _, n := range nodes {
		dir, name, tag := splitReference(n.Reference)
		if dir == "" {
			dir = "/" // as in {{ namespace }}/NAME; a plain NAME may be an image from elsewhere
		}
		s.like[[2]string{dir, tag}] = true
		s.refs[name] = n.Reference
		s.names = append(s.names, name)
	}
	return s
}

// owns reports whether ref, which no image has, must refer to an image of the set,
// because it has the set's registry, namespace and tag. With another tag it may be an
// image outside the set, such as a site's own base image; upstream treats it as one.
func (s setNames) owns(ref string) bool {
	dir, _, tag := splitReference(ref)
	return s.like[[2]string{dir, tag}] && !s.bases[ref] && !strings.Contains(ref, "@")
}

func missing(n *node, ref string, at Place, set setNames) error {
	_, name, _ := splitReference(ref)
	e := &MissingParentError{Image: n.Name, Place: n.at(at), Reference: ref}
	if near := suggest.Near(name, set.names, 1); len(near) > 0 {
		e.Near = set.refs[near[0]]
	}
	return e
}
