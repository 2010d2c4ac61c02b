package registry

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
)

// login is what a user is known by to a registry. The zero value is nobody.
type login struct {
	Username      string
	Password      string
	IdentityToken string // exchanged for tokens with OAuth 2
	RegistryToken string // sent as it is
}

// credentials finds logins in the user's configuration.
type credentials struct{}

// resource names a repository to the keychain.
type resource struct{ registry, repository string }

func (r resource) String() string      { return r.repository }
func (r resource) RegistryStr() string { return r.registry }

func (credentials) find(ctx context.Context, registry, repository string) (login, error) {
	if registry == "docker.io" {
		registry = "index.docker.io"
	}
	found, err := authn.Resolve(ctx, authn.DefaultKeychain, resource{registry, registry})
	if err != nil || found == authn.Anonymous {
		return login{}, err
	}
	a, err := authn.Authorization(ctx, found)
	if err != nil {
		return login{}, err
	}
	return login{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}, nil
}

// login returns the credentials for a repository, nobody's if there are none or if
// they must not be sent in plain HTTP.
func (h *host) login(ctx context.Context, repository, scheme string) (login, error) {
	h.mu.Lock()
	found, ok := h.logins[repository]
	h.mu.Unlock()
	if !ok {
		var err error
		if found, err = h.client.credentials.find(ctx, h.name, repository); err != nil {
			return login{}, fmt.Errorf("reading credentials for %s: %w", h.name, err)
		}
		h.mu.Lock()
		h.logins[repository] = found
		h.mu.Unlock()
	}
	if found != (login{}) && scheme == "http" && !h.client.mayBeInsecure(h.addr) {
		h.mu.Lock()
		h.withheld = true
		h.mu.Unlock()
		return login{}, nil
	}
	return found, nil
}
