package imageref

import (
	"fmt"
	"regexp"
	"strings"
)

// Naming composes the names of a set's images:
// REGISTRY/NAMESPACE/[PREFIX]NAME:TAG. Empty parts are omitted.
type Naming struct {
	Registry  string // HOST[:PORT], without a scheme
	Namespace string // "kolla", "team/kolla"
	Prefix    string // directly before the image's name: "ubuntu-"
	Tag       string
}

var (
	componentPattern = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	prefixPattern    = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\.|_|__|-*)$`)
)

// Normalize checks the parts and returns them in the form that names use. notes are
// sentences for the user about input that was changed. The error is an *Error.
func (n Naming) Normalize() (clean Naming, notes []string, err error) {
	clean = n
	if clean.Registry, notes, err = NormalizeRegistry(n.Registry); err != nil {
		return n, nil, err
	}
	// HOST:PORT/PATH as a registry: the path is the beginning of the namespace.
	if host, path, ok := strings.Cut(clean.Registry, "/"); ok {
		clean.Registry = host
		clean.Namespace = strings.TrimSuffix(path+"/"+strings.Trim(n.Namespace, "/"), "/")
		notes = append(notes, fmt.Sprintf("registry %q: %q is used as the beginning of the namespace", n.Registry, path))
	}
	if trimmed := strings.Trim(clean.Namespace, "/"); trimmed != clean.Namespace {
		notes = append(notes, fmt.Sprintf("namespace %q: leading and trailing slashes are ignored", clean.Namespace))
		clean.Namespace = trimmed
	}
	// HOST[:PORT]/PATH as a namespace, which Kolla's tool accepts: references read the host as
	// the registry.
	if first, rest, _ := strings.Cut(clean.Namespace, "/"); clean.Registry == "" && isHost(first) && first[0] != '.' {
		host, _, err := NormalizeRegistry(first)
		if err != nil {
			return n, nil, err
		}
		clean.Registry, clean.Namespace = host, rest
		notes = append(notes, fmt.Sprintf("namespace %q: %q is the registry", n.Namespace, host))
	}
	if clean.Namespace != "" {
		for _, part := range strings.Split(clean.Namespace, "/") {
			if err := checkComponent("namespace", clean.Namespace, part); err != nil {
				return n, nil, err
			}
		}
	}
	if clean.Prefix != "" && !prefixPattern.MatchString(clean.Prefix) {
		e := &Error{Part: "image-name-prefix", Value: n.Prefix,
			Problem: "expected lower-case letters and digits, separated by single '.', '_' or '-'"}
		if low := strings.ToLower(n.Prefix); prefixPattern.MatchString(low) {
			e.Suggestion = low
		}
		return n, nil, e
	}
	if clean.Tag != "" {
		if err := CheckTag(clean.Tag); err != nil {
			return n, nil, err
		}
	}
	return clean, notes, nil
}

// Base is the part before the images' names, without a trailing slash:
// [REGISTRY/]NAMESPACE, or "" if both are empty. It is the variable "namespace" of
// templates.
func (n Naming) Base() string {
	switch {
	case n.Registry == "":
		return n.Namespace
	case n.Namespace == "":
		return n.Registry
	}
	return n.Registry + "/" + n.Namespace
}

// Repository is the name of an image without its tag.
func (n Naming) Repository(image string) string {
	if base := n.Base(); base != "" {
		return base + "/" + n.Prefix + image
	}
	return n.Prefix + image
}

// Reference is the full name of an image: [REGISTRY/][NAMESPACE/][PREFIX]NAME[:TAG].
func (n Naming) Reference(image string) string {
	if n.Tag == "" {
		return n.Repository(image)
	}
	return n.Repository(image) + ":" + n.Tag
}

// Relocate returns a reference in the registry and namespace of n, with n's tag. The
// last part of the path is kept, and so are the parts that n leaves empty.
func (n Naming) Relocate(r Ref) Ref {
	namespace, image := "", r.path
	if i := strings.LastIndexByte(r.path, '/'); i >= 0 {
		namespace, image = r.path[:i], r.path[i+1:]
	}
	if n.Namespace != "" {
		namespace = n.Namespace
	}
	if n.Registry != "" {
		r.registry = n.Registry
		if namespace == "library" && n.Namespace == "" {
			namespace = "" // Docker Hub's own namespace
		}
	}
	r.path = n.Prefix + image
	if namespace != "" {
		r.path = namespace + "/" + r.path
	}
	if n.Tag != "" {
		r.tag, r.digest = n.Tag, ""
	}
	return r
}

func checkComponent(part, value, component string) error {
	if componentPattern.MatchString(component) {
		return nil
	}
	e := &Error{Part: part, Value: value}
	low := strings.ToLower(component)
	switch {
	case value == "":
		e.Problem = "it is empty"
	case component == "":
		e.Problem = "a part between the slashes is empty"
	case low != component && componentPattern.MatchString(low):
		e.Problem = "upper-case letters are not allowed in repository names"
		e.Suggestion = strings.Replace(value, component, low, 1)
	default:
		e.Problem = "repository names contain lower-case letters and digits, separated by '.', '_', '__', '-' or '/'"
	}
	return e
}
