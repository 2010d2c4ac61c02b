package buildkit

import (
	"context"
	"fmt"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Platforms returns the platforms whose steps the builder can run: first its own, then
// others of its processor, and those for which its kernel has an emulator.
func (b *Builder) Platforms(ctx context.Context) ([]ocispecs.Platform, error) {
	workers, err := b.client.ListWorkers(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the builder's platforms: %w", err)
	}
	var out []ocispecs.Platform
	for _, w := range workers {
		out = append(out, w.Platforms...)
	}
	return out, nil
}
