package imageref

import (
	// References may carry digests of these algorithms; go-digest knows an
	// algorithm only if its hash is linked.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	digest "github.com/opencontainers/go-digest"
)

// defaultTag is the tag of a reference that has neither a tag nor a digest.
const defaultTag = "latest"

// DockerHub is the registry of references that name none.
const DockerHub = "docker.io"

// Ref is a parsed reference: REGISTRY/PATH[:TAG][@DIGEST]. It is normalized, so that
// two Refs of the same image are equal: debian:trixie and
// docker.io/library/debian:trixie give the same Ref. The zero value is not a reference.
type Ref struct {
	registry string // HOST[:PORT]
	path     string // "library/debian"
	tag      string
	digest   digest.Digest
}

// Parse reads a reference as Docker does: without a registry it is one of Docker
// Hub. A missing tag stays missing; see Ref.WithDefaultTag. The error is an *Error.
func Parse(s string) (Ref, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return Ref{}, parseError(s, err)
	}
	r := Ref{registry: reference.Domain(named), path: reference.Path(named)}
	if _, port, err := net.SplitHostPort(r.registry); err == nil {
		if n, err := strconv.Atoi(port); err != nil || n > 65535 {
			return Ref{}, &Error{Part: "image reference", Value: s, Problem: "the port is greater than 65535"}
		}
	}
	if t, ok := named.(reference.Tagged); ok {
		r.tag = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		r.digest = d.Digest()
	}
	return r, nil
}

// ParseTag reads a reference for publication. It must not have a digest; a missing tag
// is replaced by the default one.
func ParseTag(s string) (Ref, error) {
	r, err := Parse(s)
	if err != nil {
		return Ref{}, err
	}
	if r.digest != "" {
		repo, tag, _ := Split(s)
		e := &Error{Part: "image reference", Value: s, Problem: "it has a digest; an image is published under a tag"}
		if tag != "" {
			e.Suggestion = repo + ":" + tag
		}
		return Ref{}, e
	}
	return r.WithDefaultTag(), nil
}

func parseError(s string, err error) error {
	e := &Error{Part: "image reference", Value: s, Problem: err.Error()}
	repo, tag, _ := Split(s)
	lower := strings.ToLower(repo) + s[len(repo):]
	switch {
	case s == "":
		e.Problem = "it is empty"
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		e.Problem = "it contains characters that are not allowed in image names"
	case reference.ReferenceRegexp.MatchString(lower) && lower != s:
		e.Problem = "upper-case letters are not allowed in repository names"
		e.Suggestion = lower
	case errors.Is(err, reference.ErrReferenceInvalidFormat):
		e.Problem = "expected [REGISTRY/]NAME[:TAG]"
		if tag != "" && CheckTag(tag) != nil {
			return CheckTag(tag)
		}
	}
	return e
}

// Registry is the host, with the port if there is one: "docker.io",
// "localhost:4000".
func (r Ref) Registry() string { return r.registry }

// Path is the repository's name within its registry: "library/debian".
func (r Ref) Path() string { return r.path }

// Repository is the full name of the repository: "docker.io/library/debian".
func (r Ref) Repository() string { return r.registry + "/" + r.path }

// Tag is the tag, "" if the reference has none.
func (r Ref) Tag() string { return r.tag }

// Digest is the digest, "" if the reference has none.
func (r Ref) Digest() digest.Digest { return r.digest }

// String is the complete form: REGISTRY/PATH[:TAG][@DIGEST].
func (r Ref) String() string { return r.suffixed(r.Repository()) }

// Familiar is the short form that people write: "debian:trixie" for an image of
// Docker Hub, the complete form for any other.
func (r Ref) Familiar() string {
	if r.registry != DockerHub {
		return r.String()
	}
	return r.suffixed(strings.TrimPrefix(r.path, "library/"))
}

func (r Ref) suffixed(name string) string {
	if r.tag != "" {
		name += ":" + r.tag
	}
	if r.digest != "" {
		name += "@" + r.digest.String()
	}
	return name
}

// WithTag returns the reference of a tag in the same repository, without a digest.
// The tag must be valid; see CheckTag.
func (r Ref) WithTag(tag string) Ref { return Ref{registry: r.registry, path: r.path, tag: tag} }

// WithDigest returns the reference of a manifest in the same repository, without a
// tag.
func (r Ref) WithDigest(d digest.Digest) Ref {
	return Ref{registry: r.registry, path: r.path, digest: d}
}

// WithDefaultTag adds defaultTag if the reference has neither a tag nor a digest.
func (r Ref) WithDefaultTag() Ref {
	if r.tag == "" && r.digest == "" {
		r.tag = defaultTag
	}
	return r
}

// Split cuts a name into repository, tag and digest as they are written, without
// checking or normalizing them. It is for valid names whose spelling must be kept.
func Split(s string) (repository, tag string, d digest.Digest) {
	if i := strings.IndexByte(s, '@'); i >= 0 {
		s, d = s[:i], digest.Digest(s[i+1:])
	}
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		return s[:i], s[i+1:], d
	}
	return s, "", d
}
