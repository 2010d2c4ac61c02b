package registry

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// defaultPort is where "kolla-build registry serve" listens.
const defaultPort = "4000"

// NotFoundError reports that the registry answers, and has neither the repository nor
// the tag, manifest or blob in it.
type NotFoundError struct {
	Ref string // what was looked for
	Err error  // the registry's answer
}

// Error implements error.
func (e *NotFoundError) Error() string {
	if e.Ref == "" {
		return "not found in the registry"
	}
	return fmt.Sprintf("%s: not found in the registry", e.Ref)
}

// Unwrap returns the registry's answer.
func (e *NotFoundError) Unwrap() error { return e.Err }

// Hint returns what the user can do.
func (e *NotFoundError) Hint() string {
	host, scheme := dockerHubAPI, "https"
	if r, err := imageref.Parse(e.Ref); err == nil && r.Registry() != imageref.DockerHub {
		host = r.Registry()
	}
	if imageref.IsLoopback(host) {
		scheme = "http"
	}
	return fmt.Sprintf("check the name and the tag; `skopeo list-tags docker://REPOSITORY` or "+
		"`curl %s://%s/v2/_catalog` shows what %s has", scheme, host, host)
}

// NoRegistryError reports that something answers at the address, but not a registry.
type NoRegistryError struct {
	Host   string // HOST[:PORT]
	Status int    // HTTP status of GET /v2/, 0 if there was no answer
	Says   string // what kind of content it answered with, or ""
}

// Error implements error.
func (e *NoRegistryError) Error() string {
	status := strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
	if e.Status == 0 {
		status = ""
	}
	if e.Says != "" {
		status = strings.TrimPrefix(status+", "+e.Says, ", ")
	}
	return fmt.Sprintf("%s answers, but not as a registry does (GET /v2/: %s)", e.Host, status)
}

// Hint returns what the user can do.
func (e *NoRegistryError) Hint() string {
	_, port, err := net.SplitHostPort(e.Host)
	if err != nil || port == defaultPort {
		return "check the host and the port: `kolla-build registry serve` listens on " + defaultPort +
			", Docker's registry on 5000"
	}
	return fmt.Sprintf("another program listens on port %s: `kolla-build registry serve` listens on %s, "+
		"Docker's registry on 5000", port, defaultPort)
}

// UnauthorizedError reports that the registry refuses the user: there are no
// credentials, wrong ones, or ones that do not suffice.
type UnauthorizedError struct {
	Host   string // HOST[:PORT] of the registry
	Ref    string // what was requested, or ""
	Denied bool   // the credentials were accepted and do not suffice (403)
	// Withheld is set if credentials exist but were not sent, because the registry
	// answers in plain HTTP and is not listed as insecure.
	Withheld bool
	// TokenServer is HOST[:PORT] of the registry's token server if Withheld is about it, or "".
	TokenServer string
	User        string // whose credentials were sent, or ""
	Err         error  // the registry's answer
}

// Error implements error.
func (e *UnauthorizedError) Error() string {
	subject := e.Ref
	if subject == "" {
		subject = e.Host
	}
	switch {
	case e.Withheld && e.TokenServer != "":
		return fmt.Sprintf("%s: the registry's token server %s uses plain HTTP; credentials were not sent", subject, e.TokenServer)
	case e.Withheld:
		return fmt.Sprintf("%s: the registry requires a login over plain HTTP; credentials were not sent", subject)
	case e.Denied:
		return fmt.Sprintf("%s: the registry denies access", subject)
	}
	if e.User != "" {
		return fmt.Sprintf("%s: the registry refuses the login of %s", subject, e.User)
	}
	return fmt.Sprintf("%s: the registry requires a login", subject)
}

// Unwrap returns the registry's answer.
func (e *UnauthorizedError) Unwrap() error { return e.Err }

// Hint returns what the user can do.
func (e *UnauthorizedError) Hint() string {
	host := e.Host
	if host == imageref.DockerHub {
		host = "" // "docker login" without a host means Docker Hub
	}
	login := strings.TrimSpace("docker login " + host)
	switch {
	case e.Withheld && e.TokenServer != "":
		return fmt.Sprintf("give the token server a certificate, or, if it is yours, allow plain HTTP for it with --registry-insecure %s",
			e.TokenServer)
	case e.Withheld:
		return fmt.Sprintf("give the registry a certificate, or allow plain HTTP for it with --registry-insecure %s", e.Host)
	case e.Denied:
		return fmt.Sprintf("log in as a user who may use this repository (`%s`), or choose another namespace with -n", login)
	}
	if e.User != "" {
		return fmt.Sprintf("the password may be wrong or no longer valid: log in again with `%s` (or `skopeo login`)", login)
	}
	return fmt.Sprintf("log in with `%s` (or `skopeo login`), then run the command again", login)
}

// ReadOnlyError reports that a registry does not take pushes from anyone.
type ReadOnlyError struct {
	Name string // of the repository
	Err  error  // the registry's answer
}

// Error implements error.
func (e *ReadOnlyError) Error() string {
	return fmt.Sprintf("%s: the registry does not accept pushes", e.Name)
}

// Unwrap returns the registry's answer.
func (e *ReadOnlyError) Unwrap() error { return e.Err }

// Hint returns what the user can do.
func (e *ReadOnlyError) Hint() string {
	return "it is read-only, or a cache of another registry: name the registry to publish to with --registry"
}

// AnswerError is an answer of the registry that no other error type describes: an
// internal fault (5xx), a rate limit (429), or a refusal with a reason.
type AnswerError struct {
	Host          string // HOST[:PORT] that answered
	Ref           string // what was requested, or ""
	Status        int    // HTTP status
	Says          string // the registry's own words, or ""
	TokenServerOf string // the registry whose token server answered, or ""
	Err           error
}

// Error implements error.
func (e *AnswerError) Error() string {
	server := "registry " + e.Host
	if e.TokenServerOf != "" {
		server = fmt.Sprintf("token server %s of registry %s", e.Host, e.TokenServerOf)
	}
	s := fmt.Sprintf("%s answers %d %s", server, e.Status, http.StatusText(e.Status))
	if e.Says != "" {
		s += ": " + e.Says
	}
	return s
}

// Unwrap returns the error below.
func (e *AnswerError) Unwrap() error { return e.Err }

// Hint returns what the user can do.
func (e *AnswerError) Hint() string {
	switch {
	case e.Status == http.StatusTooManyRequests:
		return "it limits the rate: log in, use fewer --push-threads, or run the command again later; what was sent is kept"
	case e.Status == http.StatusInsufficientStorage, strings.Contains(e.Says, "no space left"):
		return "its disk is full: make room there (`kolla-build registry gc` for the embedded registry), " +
			"then run the command again"
	case e.Status >= 500:
		return "the fault is the registry's: its log says more; run the command again later, what was sent is kept"
	}
	return ""
}

// PlatformError reports that an image exists, but not for the platform wanted.
type PlatformError struct {
	Ref    string
	Wanted string
	Have   []string // platforms that there are, as os/arch[/variant]
}

// Error implements error.
func (e *PlatformError) Error() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("%s: no image for %s", e.Ref, e.Wanted)
	}
	return fmt.Sprintf("%s: no image for %s, only for %s", e.Ref, e.Wanted, units.List(e.Have, 20))
}

// Hint returns what the user can do.
func (e *PlatformError) Hint() string {
	return "choose the platform with --platform or --base-arch, or another base with --base-image and --base-tag"
}

// ContentError reports that content does not match its digest or size, here or in the
// registry.
type ContentError struct {
	What   string // what was checked
	Want   string // the digest that it should have
	Got    string // the digest that it has, "" if its size is already wrong
	Size   string // how its size is wrong, or ""
	Remote bool   // the registry's content is wrong, not ours
}

// Error implements error.
func (e *ContentError) Error() string {
	if e.Got == "" {
		return fmt.Sprintf("%s: %s %s", e.What, e.Want, e.Size)
	}
	return fmt.Sprintf("%s: content has digest %s, expected %s", e.What, e.Got, e.Want)
}

// Hint returns what the user can do.
func (e *ContentError) Hint() string {
	if e.Remote {
		return "the registry or a proxy in front of it changes content: check its storage, then push again"
	}
	return "the local store is damaged: build this image again"
}

// SizeError reports that a registry sends more than this program reads.
type SizeError struct {
	What  string
	Limit int64
	Unit  string // of Limit; "" means bytes
}

// Error implements error.
func (e *SizeError) Error() string {
	return fmt.Sprintf("%s: it is larger than the limit of %d %s", e.What, e.Limit, cmp.Or(e.Unit, "bytes"))
}

// Hint returns what the user can do.
func (e *SizeError) Hint() string {
	return "no image needs that: check that the registry is the right one"
}

// DeleteError reports that a registry does not let tags be deleted, not at all or not by
// this user. Trying again does not help.
type DeleteError struct {
	Host string
	Err  error // its answer
}

// Error implements error.
func (e *DeleteError) Error() string {
	return fmt.Sprintf("registry %s does not allow tags to be deleted", e.Host)
}

// Unwrap returns the registry's answer.
func (e *DeleteError) Unwrap() error { return e.Err }

// Hint returns what the user can do.
func (e *DeleteError) Hint() string {
	if e.Host == imageref.DockerHub {
		return "Docker Hub deletes tags on its web page only"
	}
	return "allow it there (the CNCF distribution: storage.delete.enabled), or delete with the registry's own tools"
}
