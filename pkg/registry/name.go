package registry

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Naming makes the names of a set's images: REGISTRY/NAMESPACE/[PREFIX]NAME:TAG.
// Registry and Namespace may be empty; the part is left out then.
type Naming struct {
	Registry  string // HOST[:PORT], without a scheme
	Namespace string // as in "kolla" or "team/kolla"
	Prefix    string // put directly before the image's name: "ubuntu-"
	Tag       string
}

var (
	reTag       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	reComponent = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	reHost      = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$`)
	rePrefix    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
)

// NameError says what is wrong with a part of an image's name.
type NameError struct {
	Part    string // "registry", "namespace", "image-name-prefix", "tag", "image name"
	Value   string
	Problem string
	Suggest string // a value that would do, or ""
}

// Error implements error.
func (e *NameError) Error() string { return fmt.Sprintf("%s %q: %s", e.Part, e.Value, e.Problem) }

// Hint says what the user can do.
func (e *NameError) Hint() string {
	if e.Suggest == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", e.Suggest)
}

// Check validates the parts and returns them as they will be used. notes are
// sentences for the user on what was typed and is understood, and changed.
func (n Naming) Check() (clean Naming, notes []string, err error) {
	clean = n
	if clean.Registry, notes, err = CleanRegistry(n.Registry); err != nil {
		return n, nil, err
	}
	// HOST:PORT/PATH as a registry: the path is the namespace's beginning.
	if host, path, ok := strings.Cut(clean.Registry, "/"); ok {
		clean.Registry = host
		clean.Namespace = strings.TrimSuffix(path+"/"+strings.Trim(n.Namespace, "/"), "/")
		notes = append(notes, fmt.Sprintf("registry %q: %q is taken as the beginning of the namespace", n.Registry, path))
	}
	if t := strings.Trim(clean.Namespace, "/"); t != clean.Namespace {
		notes = append(notes, fmt.Sprintf("namespace %q: the slashes around it are left out", clean.Namespace))
		clean.Namespace = t
	}
	if clean.Namespace != "" {
		for _, part := range strings.Split(clean.Namespace, "/") {
			if err := checkComponent("namespace", clean.Namespace, part); err != nil {
				return n, nil, err
			}
		}
	}
	if clean.Prefix != "" && !rePrefix.MatchString(clean.Prefix) {
		e := &NameError{Part: "image-name-prefix", Value: n.Prefix, Problem: "it may hold lower-case letters, digits, '.', '_' and '-', and begins with a letter or digit"}
		if low := strings.ToLower(n.Prefix); rePrefix.MatchString(low) {
			e.Suggest = low
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

// Repository is the name of an image without its tag.
func (n Naming) Repository(image string) string {
	var b strings.Builder
	for _, part := range []string{n.Registry, n.Namespace} {
		if part != "" {
			b.WriteString(part)
			b.WriteByte('/')
		}
	}
	b.WriteString(n.Prefix)
	b.WriteString(image)
	return b.String()
}

// Image is the full name of an image, REGISTRY/NAMESPACE/[PREFIX]NAME:TAG.
func (n Naming) Image(image string) string {
	if n.Tag == "" {
		return n.Repository(image)
	}
	return n.Repository(image) + ":" + n.Tag
}

// CheckImage validates an image's own name together with the rest.
func (n Naming) CheckImage(image string) error {
	if err := checkComponent("image name", n.Prefix+image, n.Prefix+image); err != nil {
		return err
	}
	if _, err := name.NewRepository(n.Repository(image)); err != nil {
		return &NameError{Part: "image name", Value: n.Repository(image), Problem: "no registry accepts it: " + err.Error()}
	}
	return nil
}

// CheckTag validates a tag.
func CheckTag(tag string) error {
	e := &NameError{Part: "tag", Value: tag}
	switch {
	case tag == "":
		e.Problem = "it is empty"
	case reTag.MatchString(tag):
		return nil
	case len(tag) > 128:
		e.Problem = fmt.Sprintf("it has %d characters, 128 are allowed", len(tag))
		return e
	case strings.ContainsAny(tag[:1], ".-"):
		e.Problem = fmt.Sprintf("it may not begin with %q", tag[:1])
	default:
		bad := strings.IndexFunc(tag, func(r rune) bool { return !reTag.MatchString("a" + string(r)) })
		e.Problem = fmt.Sprintf("character %q at position %d is not allowed (letters, digits, '_', '.' and '-' are)",
			[]rune(tag[bad:])[0], len([]rune(tag[:bad]))+1)
	}
	fixed := strings.TrimLeft(strings.Map(func(r rune) rune {
		if r < 128 && reTag.MatchString("a"+string(r)) {
			return r
		}
		return '-'
	}, tag), ".-")
	if reTag.MatchString(fixed) {
		e.Suggest = fixed
	}
	return e
}

// CleanRegistry reads a registry as users type it: a scheme and trailing slashes
// are left out, with a note. A path is kept (see Naming.Check). "" stays "".
func CleanRegistry(s string) (string, []string, error) {
	var notes []string
	clean := strings.TrimSpace(s)
	if scheme, rest, ok := strings.Cut(clean, "://"); ok {
		switch strings.ToLower(scheme) {
		case "http", "https", "docker", "oci":
		default:
			return "", nil, &NameError{Part: "registry", Value: s, Problem: fmt.Sprintf("scheme %q is not one of registries", scheme), Suggest: rest}
		}
		clean = rest
		note := fmt.Sprintf("registry %q: the scheme is left out, images are named %s/…", s, strings.TrimRight(rest, "/"))
		if strings.EqualFold(scheme, "http") && !isLoopback(hostOf(rest+"/")) {
			note += "; allow plain HTTP with --registry-insecure"
		}
		notes = append(notes, note)
	}
	clean = strings.TrimRight(clean, "/")
	clean = strings.TrimSuffix(strings.TrimSuffix(clean, "/v2"), "/v1")
	if clean == "" {
		if s != "" {
			return "", nil, &NameError{Part: "registry", Value: s, Problem: "there is no host in it"}
		}
		return "", notes, nil
	}
	if at := strings.LastIndex(clean, "@"); at >= 0 {
		return "", nil, &NameError{Part: "registry", Value: "…@" + clean[at+1:], Problem: "a user name or password does not belong into it: use `docker login`", Suggest: clean[at+1:]}
	}
	host, _, _ := strings.Cut(clean, "/")
	if !reHost.MatchString(host) {
		return "", nil, &NameError{Part: "registry", Value: s, Problem: "expected HOST or HOST:PORT, as in localhost:4000"}
	}
	// "registry/x/y" would be read as a namespace on Docker Hub.
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		return "", nil, &NameError{Part: "registry", Value: s, Problem: "a host without a dot or port is read as a namespace on Docker Hub", Suggest: host + ":4000"}
	}
	return clean, notes, nil
}

func checkComponent(what, whole, part string) error {
	if reComponent.MatchString(part) {
		return nil
	}
	e := &NameError{Part: what, Value: whole}
	low := strings.ToLower(part)
	switch {
	case part == "":
		e.Problem = "a part between the slashes is empty"
	case low != part && reComponent.MatchString(low):
		e.Problem = "upper-case letters are not allowed in repository names"
		e.Suggest = strings.Replace(whole, part, low, 1)
	default:
		e.Problem = "repository names hold lower-case letters and digits, separated by '.', '_', '__', '-' or '/'"
	}
	return e
}
