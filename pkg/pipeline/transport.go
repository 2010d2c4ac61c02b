package pipeline

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/bootstrap"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/engine"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
)

// Load reads a bundle into the store, with --engine on to a container engine,
// and with --push to a registry.
func Load(ctx context.Context, cfg *config.Config, env Env, path string) error {
	s, err := OpenStore(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	opts := bundle.LoadOptions{}
	n, notes, err := naming(cfg)
	if err != nil {
		return err
	}
	if cfg.Registry != "" || cfg.IsSet("namespace") {
		for _, note := range notes {
			env.Notice("%s", note)
		}
		ns := ""
		if cfg.IsSet("namespace") {
			ns = n.Namespace
		}
		opts.Rename = bundle.RenameTo(n.Registry, ns)
	}
	var e *engine.Engine
	if cfg.IsSet("engine") { // a bundle is for the store and registries, unless somebody says so
		if e, err = engineload.Open(ctx, cfg, env); err != nil {
			return err
		}
	}
	if e != nil {
		defer e.Close()
	}
	sum, err := bundle.Load(ctx, path, s, opts)
	if err != nil {
		return err
	}
	env.Notice("%s: %d images, %d blobs, %s; %d blobs were here already", path, len(sum.Images), sum.Blobs, units.Bytes(sum.Bytes), sum.Reused)
	set := map[string]digest.Digest{}
	var tags []string
	for _, e := range sum.Images {
		if e.Kind != store.KindBase {
			set[e.Name] = e.Digest
			tags = append(tags, tagOf(e.Name))
		}
	}
	if e != nil {
		loaded, err := engineload.LoadSet(ctx, e, s, set)
		if err != nil {
			return err
		}
		env.Notice("%s", loaded)
	}
	retain, err := newRetention(cfg.Retain, append(tags, cfg.AlsoTag...), time.Now())
	if err != nil {
		return err
	}
	var up *publisher
	if cfg.Push {
		c, err := newClient(cfg, env)
		if err != nil {
			return err
		}
		defer c.Close()
		up = newPublisher(cfg, env, c, s)
		if err := pushSet(ctx, up, set); err != nil {
			return err
		}
	}
	if err := nameSet(cfg, s, set); err != nil {
		return err
	}
	return retain.apply(ctx, env, s, up, slices.Collect(maps.Keys(set)))
}

// pushSet brings images of the store to the registries that their names are of:
// all content first, then the tags together.
func pushSet(ctx context.Context, up *publisher, set map[string]digest.Digest) error {
	refs := slices.Sorted(maps.Keys(set))
	if err := up.look(ctx, refs, true); err != nil {
		return err
	}
	if err := up.sendAll(ctx, set); err != nil {
		return err
	}
	if err := up.commit(ctx, set); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	st := up.pub.Stats()
	up.env.Notice("pushed %d images: %d blobs sent (%s), %d mounted, %d were there", len(set), st.Uploaded, units.Bytes(st.Bytes), st.Mounted, st.Skipped)
	return nil
}

// Bootstrap makes a base image from a package mirror and stores it as ref.
func Bootstrap(ctx context.Context, s *store.Store, env Env, opts bootstrap.Options, ref string) (store.Entry, error) {
	if opts.Progress == nil {
		opts.Progress = env.Stderr
	}
	if strings.Contains(ref, "@") {
		opts.Name = ref // the plain name is that of an image for another platform
	}
	e, err := bootstrap.Bootstrap(ctx, s, opts)
	if err != nil {
		return store.Entry{}, err
	}
	if e.Name != ref {
		if err := s.Tag(ref, e.Digest); err != nil {
			return store.Entry{}, err
		}
	}
	entry, _, err := s.Lookup(ref)
	return entry, err
}
