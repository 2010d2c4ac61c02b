package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/memo"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// login holds the credentials for a registry. The zero value is anonymous.
type login struct {
	Username      string
	Password      string
	IdentityToken string // exchanged for tokens with OAuth 2
	RegistryToken string // sent without an exchange
}

// credentials finds logins where docker, podman and skopeo keep them.
type credentials struct {
	// files reads the files once, when they are first needed.
	files   func() ([]authFile, error)
	helpers memo.Map[helperKey, login]
	// helpersInOrder is credential-helpers of registries.conf: filesHelper stands for the
	// files. Empty means the files only.
	helpersInOrder []string
}

func newCredentials(helpersInOrder []string) *credentials {
	return &credentials{
		// Not with the context of a caller: others need the logins too, and a pipe cannot be
		// read a second time.
		files:          sync.OnceValues(func() ([]authFile, error) { return readAuthFiles(context.Background()) }),
		helpersInOrder: helpersInOrder,
	}
}

// CredentialsError reports that a login cannot be read.
type CredentialsError struct {
	Source string // a file, or a credential helper
	Err    error
}

// Error implements error.
func (e *CredentialsError) Error() string {
	return fmt.Sprintf("reading logins from %s: %v", e.Source, e.Err)
}

// Unwrap returns the cause.
func (e *CredentialsError) Unwrap() error { return e.Err }

// Hint returns a hint for the user.
func (e *CredentialsError) Hint() string {
	return "correct it, or name another file with the environment variable REGISTRY_AUTH_FILE"
}

// find returns the login for a repository, or the anonymous one. The first file with a
// login counts, and in it the entry with the longest path: one for registry/team/kolla
// before registry/team before the registry itself.
func (c *credentials) find(ctx context.Context, registry, path string) (login, error) {
	files, err := inputfile.Wait(ctx, c.files, nil)
	if err != nil {
		return login{}, err
	}
	if len(c.helpersInOrder) == 0 {
		return c.findInFiles(ctx, files, registry, path)
	}
	var failed []error // as in podman, a helper that fails leaves the question to the next
	for _, helper := range c.helpersInOrder {
		var found login
		var err error
		if helper == filesHelper {
			found, err = c.findInFiles(ctx, files, registry, path)
		} else {
			found, err = c.ask(ctx, helperKey{helper, registry})
		}
		if ctx.Err() != nil {
			return login{}, context.Cause(ctx) // the other helpers were not asked
		}
		if found != (login{}) {
			return found, err
		}
		failed = append(failed, err)
	}
	return login{}, errors.Join(failed...)
}

// filesHelper is the name under which registries.conf lists the files with logins.
const filesHelper = "containers-auth.json"

func (c *credentials) findInFiles(ctx context.Context, files []authFile, registry, path string) (login, error) {
	for _, f := range files {
		found, helper, ok := f.find(registry, path)
		if helper != "" {
			var err error
			if found, err = c.ask(ctx, helperKey{helper, helperServer(registry)}); err != nil {
				return login{}, err
			}
			ok = found != login{}
		}
		if ok {
			return found, nil
		}
	}
	return login{}, nil
}

// helperKey is a query to a credential helper.
type helperKey struct{ helper, server string }

// ask asks a credential helper, once for each registry.
func (c *credentials) ask(ctx context.Context, key helperKey) (login, error) {
	return c.helpers.Get(ctx, key, func() (login, error) {
		found, err := runHelper(ctx, key)
		if err == nil {
			return found, nil
		}
		if ctx.Err() != nil {
			return login{}, context.Cause(ctx)
		}
		return login{}, &CredentialsError{Source: "docker-credential-" + key.helper, Err: err}
	})
}

// helperServer returns the name of a registry in queries to credential helpers.
func helperServer(registry string) string {
	if registry == imageref.DockerHub {
		return "https://index.docker.io/v1/"
	}
	return registry
}

// login returns the credentials for a repository, or the anonymous login if there are
// none or they must not be sent over plain HTTP.
func (h *host) login(ctx context.Context, path, scheme string) (login, error) {
	h.mu.Lock()
	found, ok := h.logins[path]
	h.mu.Unlock()
	if !ok {
		var err error
		if found, err = h.client.credentials.find(ctx, h.name, path); err != nil {
			var known *CredentialsError
			if errors.As(err, &known) {
				return login{}, fmt.Errorf("registry %s: %w", h.name, err)
			}
			return login{}, err
		}
		h.mu.Lock()
		h.logins[path] = found
		h.mu.Unlock()
	}
	if found != (login{}) && scheme == "http" && !h.mayBeInsecure() {
		h.mu.Lock()
		h.withheld = true
		h.mu.Unlock()
		return login{}, nil
	}
	if found != (login{}) {
		h.mu.Lock()
		h.user = cmp.Or(found.Username, "a token")
		h.mu.Unlock()
	}
	return found, nil
}
