package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"

	// The driver registers itself with the distribution.
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

// distributionConfig returns the distribution's configuration: storage in dir, with
// deletion, and without connections to other machines.
func distributionConfig(dir, addr string, opts Options) *configuration.Configuration {
	c := &configuration.Configuration{
		Version: "0.1",
		Storage: configuration.Storage{
			"filesystem": configuration.Parameters{"rootdirectory": dir},
			"delete":     configuration.Parameters{"enabled": true},
			"maintenance": configuration.Parameters{
				"readonly":      map[any]any{"enabled": opts.ReadOnly},
				"uploadpurging": map[any]any{"enabled": false}, // see purger
			},
		},
	}
	c.Catalog.MaxEntries = 1000
	// URLs of foreign layers are not restricted, because the registry does not fetch
	// them.
	c.Validation.Manifests.URLs.Allow = []string{"^https?://"}
	c.HTTP.Addr = addr
	// Locations without a host, so that untrusted headers (Host, X-Forwarded-Host) are
	// not repeated.
	c.HTTP.RelativeURLs = true
	// Signs the state of uploads that clients send back. It need not survive a restart,
	// after which clients begin their uploads again.
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // documented never to fail
	c.HTTP.Secret = hex.EncodeToString(secret)
	if opts.Htpasswd != "" {
		c.Auth = configuration.Auth{accessScheme: configuration.Parameters{"path": opts.Htpasswd}}
	}
	return c
}

// newApp makes the distribution's application, which panics where others return an error.
func newApp(c *configuration.Configuration) (app *handlers.App, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return handlers.NewApp(context.Background(), c), nil
}
