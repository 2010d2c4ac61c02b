package offline

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/httpget"
	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/inputs"
	"github.com/kolla-build/kolla-build/pkg/lock"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// FetchOptions are the settings of Fetch.
type FetchOptions struct {
	Lock   string // "" for lock.FileName
	Output string
	Prune  bool // remove files of earlier locks
}

// Fetch gets the inputs of a lock into a directory.
func Fetch(ctx context.Context, cfg *config.Config, con *console.Console, opts FetchOptions) error {
	if opts.Output == "" {
		return usererr.Usage(usererr.Errorf("kolla-build fetch --output inputs", "fetch needs --output DIR"))
	}
	if opts.Lock == "" {
		opts.Lock = lock.FileName
	}
	l, err := lock.Read(opts.Lock)
	if err != nil {
		return err
	}
	client, err := workspace.RegistryClient(ctx, cfg, con)
	if err != nil {
		return err
	}
	defer client.Close()
	st, err := workspace.OpenStoreForReading(cfg)
	if err == nil {
		defer st.Close()
	}
	images := func(ctx context.Context, bases []lock.Base, dir string) error {
		return inputs.WriteBases(ctx, bases, dir, func(ctx context.Context, b lock.Base) (v1.Image, error) {
			if st != nil {
				if img, err := st.Image(b.Digest); err == nil {
					return img, nil
				}
			}
			con.Notice("pulling base image %s", b.Name)
			img, _, err := client.Fetch(ctx, pinnedName(b), b.Platform)
			return img, err
		})
	}
	started := time.Now()
	res, err := inputs.Fetch(ctx, inputs.FetchOptions{
		Lock:    l,
		Dir:     opts.Output,
		Prune:   opts.Prune,
		Images:  images,
		Caches:  []string{recordDir(cfg), filepath.Join(cfg.DataDir, "sources", "blobs")},
		HTTP:    httpget.NewHTTPClient(seconds(max(1, cfg.Timeout)), cfg.Threads),
		Threads: cfg.Threads,
		Stall:   seconds(max(1, cfg.Timeout)),
		Retry: retry.Policy{
			Retries:    cfg.Retries,
			MaxElapsed: seconds(cfg.RetryTime),
			BaseDelay:  time.Second,
		},
		Notice: con.Notice,
	})
	if err != nil {
		return err
	}
	con.Notice("%s: %s (%d were there, %d copied, %d downloaded, %s in %s) and %s", opts.Output,
		units.Count(res.Files, "file"),
		res.Present, res.Copied, res.Downloaded, units.Bytes(res.Bytes), units.Duration(time.Since(started)),
		units.Count(len(l.Bases), "base image"))
	switch {
	case res.Stale > 0 && opts.Prune:
		con.Notice("%s of earlier locks removed (%s)", units.Count(res.Stale, "file"), units.Bytes(res.StaleBytes))
	case res.Stale > 0:
		con.Notice("%s has %s of earlier locks (%s), which fetch --prune removes", opts.Output,
			units.Count(res.Stale, "file"),
			units.Bytes(res.StaleBytes))
	}
	return nil
}

// pinnedName returns the reference of a base image with its digest.
func pinnedName(b lock.Base) string {
	name, _, _ := strings.Cut(b.Name, "@")
	return name + "@" + b.Digest.String()
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
