package pipeline

import (
	"context"
	"time"

	"github.com/kolla-build/kolla-build/pkg/config"
)

type archiveFile struct {
	Name, Path string
	Size       int64
}

// archiver fetches images' sources as the configuration names them.
type archiver struct {
	newest time.Time // of the archives' own times
}

func newArchiver(cfg *config.Config, env Env) (*archiver, error) { return &archiver{}, nil }
func (a *archiver) archives(ctx context.Context, image string, wants func(string) bool) ([]archiveFile, error) {
	return nil, nil
}
