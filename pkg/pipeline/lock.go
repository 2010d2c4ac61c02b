package pipeline

import (
	"context"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/lock"
	"github.com/kolla-build/kolla-build/pkg/offline"
)

// Lock builds the selected images, records the requests of their steps, and writes a
// lock of all inputs. See offline.NewRecording for file and update.
func Lock(ctx context.Context, cfg *config.Config, c *console.Console, file string, update bool) error {
	rec, err := offline.NewRecording(file, update)
	if err != nil {
		return err
	}
	unrestricted := *cfg
	unrestricted.Cache, unrestricted.Refresh, unrestricted.Push, unrestricted.Engine, unrestricted.Offline = false, false,
		false, "none", false
	return run(ctx, &unrestricted, c, runOptions{recording: rec})
}

// lockContent returns the content of the run's lock, except for the requests of steps.
func (s stages) lockContent() offline.LockContent {
	first := s.rendered.First().Config
	return offline.LockContent{
		Defined: s.planned.defined,
		Results: s.built.results,
		Store:   s.session.store,
		Secrets: s.session.secrets,
		Set: lock.Set{
			Base:        first.Base,
			BaseTag:     first.BaseTag,
			InstallType: first.InstallType,
			Release:     first.OpenstackRelease,
		},
	}
}
