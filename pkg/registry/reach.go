package registry

import (
	"context"
	"strings"

	"github.com/kolla-build/kolla-build/internal/usererr"
)

// Reach is like Ping, for the beginning of a command: if a registry accepts connections
// and does not answer, it fails after Options.Timeout instead of after all retries.
func (c *Client) Reach(ctx context.Context, name string) error {
	pctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	err := c.ping(pctx, name)
	if pctx.Err() != nil && ctx.Err() == nil {
		host, _, _ := strings.Cut(name, "/")
		return usererr.Errorf("--timeout SECONDS waits longer", "registry %s does not answer within %v", host, c.opts.Timeout)
	}
	return err
}
