package setcopy

import (
	"fmt"
	"strings"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// Location names a set in a registry: the images directly in a namespace that have a
// tag.
type Location struct {
	Registry  string // HOST[:PORT]
	Namespace string // "kolla", "team/kolla"
	Tag       string // "" for all tags
}

// locationForm is the syntax of a Location.
const locationForm = "HOST[:PORT]/NAMESPACE[:TAG]"

// ParseLocation reads HOST[:PORT]/NAMESPACE[:TAG]. The error is a mistake on the command
// line.
func ParseLocation(s string) (Location, error) {
	fail := func(hint, detail string) (Location, error) {
		return Location{}, usererr.Usage(usererr.Errorf(hint, "%q: %s", s, detail))
	}
	rest := s
	if _, after, ok := strings.Cut(s, "://"); ok {
		return fail("write "+after, "a registry is named without a scheme")
	}
	repository, tag, d := imageref.Split(rest)
	host, namespace, ok := strings.Cut(strings.TrimSuffix(repository, "/"), "/")
	switch {
	case d != "":
		return fail("a set has a tag: "+locationForm, "a digest names one image, not a set")
	case !ok && !strings.ContainsAny(host, ".:") && host != "localhost":
		return fail("for example localhost:4000/"+host, "expected "+locationForm+", the registry is missing")
	case !ok:
		return fail("for example "+strings.Trim(rest, "/")+"/kolla", "expected "+locationForm+", the namespace is missing")
	}
	naming, _, err := imageref.Naming{Registry: host, Namespace: namespace, Tag: tag}.Normalize()
	if err != nil {
		return Location{}, usererr.Usage(err)
	}
	return Location{Registry: naming.Registry, Namespace: naming.Namespace, Tag: naming.Tag}, nil
}

// String returns the location in the syntax of ParseLocation.
func (l Location) String() string {
	s := l.Registry + "/" + l.Namespace
	if l.Tag != "" {
		s += ":" + l.Tag
	}
	return s
}

// Repository returns the full name of an image's repository.
func (l Location) Repository(image string) string {
	return l.Registry + "/" + l.Namespace + "/" + image
}

// parseTarget reads an additional name of a set in the same registry: TAG, or
// HOST[:PORT]/NAMESPACE[:TAG]. The default is the tag of the set.
func parseTarget(set Location, s string) (Location, error) {
	if !strings.Contains(s, "/") {
		if tag := strings.TrimPrefix(s, ":"); !strings.Contains(tag, ":") {
			if err := imageref.CheckTag(tag); err != nil {
				return Location{}, usererr.Usage(err)
			}
			set.Tag = tag
			return set, nil
		}
		hint := fmt.Sprintf("write a tag alone, or %s/%s", set.Registry, s)
		return Location{}, usererr.Usage(usererr.Errorf(hint, "%q: the registry is missing", s))
	}
	target, err := ParseLocation(s)
	if err != nil {
		return Location{}, err
	}
	if target.Registry != set.Registry {
		hint := fmt.Sprintf("kolla-build copy %s %s copies between registries", set, target)
		return Location{}, usererr.Usage(usererr.Errorf(hint, "%s is in another registry than %s", target, set))
	}
	if target.Tag == "" {
		target.Tag = set.Tag
	}
	return target, nil
}
