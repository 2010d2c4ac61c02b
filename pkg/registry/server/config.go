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

// distributionConfig is the distribution's configuration: files in dir, deletions on,
// and nothing that reaches out of the machine.
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
	// Layers that are elsewhere may be anywhere: nothing here fetches them.
	c.Validation.Manifests.URLs.Allow = []string{"^https?://"}
	c.HTTP.Addr = addr
	// Locations without a host: what a client or a proxy claims to be the host (Host,
	// X-Forwarded-Host) is not repeated.
	c.HTTP.RelativeURLs = true
	// Signs the state that clients carry during an upload. It need not outlive the
	// process: clients begin an upload again that a restart has interrupted.
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
