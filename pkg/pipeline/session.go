package pipeline

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/engine"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/inputs"
	"github.com/kolla-build/kolla-build/pkg/nightly"
	"github.com/kolla-build/kolla-build/pkg/offline"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/trace"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// session holds the resources that the stages of a run use. It is opened before them,
// closed after them, and does not change in between.
type session struct {
	*settings
	runOptions
	store  *store.Store
	local  bool // only content on this machine is used, and nothing is fetched or written
	client *registry.Client
	engine *engine.Engine // nil if images stay in the store

	secrets *buildkit.Secrets // of steps; only their names in explanations
	inputs  *inputs.Dir       // nil unless the run is offline

	scratch scratch
}

// scratch is a temporary directory that is made when it is first needed.
type scratch struct {
	once sync.Once
	dir  string
	err  error
}

// open returns the directory.
func (s *scratch) open() (string, error) {
	s.once.Do(func() { s.dir, s.err = os.MkdirTemp("", "kolla-build-") })
	return s.dir, s.err
}

func (s *scratch) close() {
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

// mode is the purpose of a session.
type mode int

const (
	modeBuild   mode = iota
	modePreview      // show the plan without building, removing or publishing
	modeOffline      // like modePreview, without a network
)

// open resolves the options, renders the templates, and then opens the session, so that
// mistakes in templates are reported before anything is written. The session and the
// rendering must be closed unless they are nil; the rendering may be returned together
// with an error.
func open(ctx context.Context, cfg *config.Config, c *console.Console, o runOptions) (
	s *session, rendered *imageset.Rendered, err error) {
	ctx, span := trace.Start(ctx, "render")
	defer func() { span.End(err) }()
	defer o.recorder.Stage("render templates")()
	st, err := resolve(cfg, c)
	if err != nil {
		return nil, nil, err
	}
	s = &session{settings: st, runOptions: o}
	openSecrets := buildkit.OpenSecrets
	switch o.mode {
	case modePreview:
		openSecrets = buildkit.CheckSecrets
	case modeOffline:
		openSecrets = buildkit.NameSecrets
	}
	if s.secrets, err = openSecrets(ctx, s.cfg.Secret, s.cfg.SSH, c.Getenv); err != nil {
		return s, nil, s.cfg.UsageIfTyped("secret", s.cfg.UsageIfTyped("ssh", err))
	}
	if o.mode == modeBuild || s.cfg.SkipExisting {
		if s.engine, err = engineload.Open(ctx, s.cfg, c); err != nil {
			return s, nil, err
		}
	}
	exists := func(string) bool { return false }
	switch {
	case s.cfg.SkipExisting && s.engine != nil:
		exists = s.engine.Has
	case s.cfg.SkipExisting:
		if err = s.openStore(); err != nil {
			return s, nil, err
		}
		exists = func(ref string) bool { _, ok, err := s.store.Lookup(ref); return ok && err == nil }
	}
	rendered, err = imageset.Render(ctx, imageset.Options{Config: s.cfg, Console: c, Exists: exists})
	if err != nil {
		return s, nil, err
	}
	if s.store == nil {
		if err = s.openStore(); err != nil {
			return s, rendered, err
		}
	}
	if s.client, err = workspace.RegistryClient(ctx, s.cfg, c); err != nil {
		return s, rendered, err
	}
	if o.mode != modeOffline {
		if s.inputs, err = offline.OpenInputs(ctx, s.cfg, s.store); err != nil {
			return s, rendered, err
		}
	}
	if s.cfg.Push && len(rendered.First().Files) > 0 {
		// This comes before base images and sources are fetched, which may take
		// minutes.
		if err := s.client.Reach(ctx, rendered.First().Files[0].Reference); err != nil {
			return s, rendered, err
		}
	}
	if o.night == nil || !o.night.AddedDate {
		return s, rendered, nil
	}
	destination := nightly.Destination{Store: s.store}
	if s.cfg.Push {
		destination.Client = s.client
	}
	tag, err := nightly.UnusedTag(ctx, s.cfg.Tag, rendered.First().SelectedReferences(), destination)
	if err != nil || tag == s.cfg.Tag {
		return s, rendered, err
	}
	rendered.Close() // its names of parents contain the old tag
	s.settings = s.settings.withTag(tag)
	quiet := &console.Console{Stderr: io.Discard, Environ: c.Environ, Version: c.Version}
	rendered, err = imageset.Render(ctx, imageset.Options{Config: s.cfg, Console: quiet, Exists: exists})
	if err != nil {
		return s, nil, err
	}
	return s, rendered, nil
}

// openStore opens the store, for writing unless the run is offline. A preview also works
// with a store that cannot be written, such as another user's, as far as that has the base
// images and sources.
func (s *session) openStore() (err error) {
	if err := workspace.CheckDataDir(s.cfg); err != nil {
		return err
	}
	if s.mode == modeOffline {
		s.local = true
		if !store.Exists(workspace.StoreDir(s.cfg)) {
			return errors.New("nothing has been built here yet") // opening the store would create it
		}
		s.store, err = workspace.OpenStoreForReading(s.cfg)
		return err
	}
	s.store, err = workspace.OpenStore(s.cfg)
	var unusable *store.OpenError
	if s.mode == modePreview && errors.As(err, &unusable) && unusable.Problem == store.ProblemNotWritable &&
		store.Exists(workspace.StoreDir(s.cfg)) {
		s.local = true
		s.console.Notice("%s cannot be written: base images and sources are those that it has", s.cfg.DataDir)
		s.store, err = workspace.OpenStoreForReading(s.cfg)
	}
	return err
}

func (s *session) close() {
	s.scratch.close()
	if s.engine != nil {
		s.engine.Close()
	}
	if s.client != nil {
		s.client.Close()
	}
	if s.inputs != nil {
		s.inputs.Close()
	}
	if s.store != nil {
		s.store.Close()
	}
}
