package buildkit

import (
	"context"
	"fmt"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Platforms returns what the builder can run steps for: its own architecture,
// what that runs too, and what its kernel has an emulator for.
func (b *Builder) Platforms(ctx context.Context) ([]ocispecs.Platform, error) {
	workers, err := b.client.ListWorkers(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking the builder for its platforms: %w", err)
	}
	var out []ocispecs.Platform
	for _, w := range workers {
		out = append(out, w.Platforms...)
	}
	return out, nil
}
