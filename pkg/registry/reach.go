package registry

import (
	"context"
	"strings"

	"github.com/kolla-build/kolla-build/internal/usererr"
)

// Reach is Ping for the beginning of a command: a registry that accepts
// connections and never answers is given up after Options.Timeout, not after all
// the retries that a transfer deserves.
func (c *Client) Reach(ctx context.Context, name string) error {
	pctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	err := c.Ping(pctx, name)
	if pctx.Err() != nil && ctx.Err() == nil {
		host, _, _ := strings.Cut(name, "/")
		return usererr.Errorf("--timeout SECONDS waits longer", "registry %s does not answer within %v", host, c.opts.Timeout)
	}
	return err
}
