package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/stepproxy"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/inputs"
	"github.com/kolla-build/kolla-build/pkg/lock"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/source"
)

// openInputs opens the directory of an offline run and stores its base images.
func (s *session) openInputs(ctx context.Context) error {
	if !s.cfg.Offline {
		if s.cfg.Inputs != "" {
			return s.cfg.Mistake("inputs", "add --offline", "--inputs is the directory of an offline build")
		}
		return nil
	}
	if s.mode == modeOffline { // explain fetches nothing in any case
		return nil
	}
	if s.cfg.Inputs == "" {
		return s.cfg.Mistake("offline", "kolla-build lock and kolla-build fetch make it", "--offline needs --inputs DIR")
	}
	var err error
	if s.inputs, err = inputs.Open(s.cfg.Inputs); err != nil {
		return err
	}
	return s.inputs.ImportBases(ctx, s.store, func(b lock.Base) error {
		return define.AddBase(s.store, b.Name, b.Platform, b.Digest, s.cfg.Inputs)
	})
}

// providedSource finds a source among the inputs.
func (s *session) providedSource(spec source.Spec) (source.Provided, bool, error) {
	path, src, ok, err := s.inputs.Source(spec.Name, spec.Type, redact.URL(spec.Location), spec.Reference)
	return source.Provided{Path: path, Commit: src.Commit, Modified: src.Modified}, ok, err
}

// checkInputs returns an error if an image that is built needs what the inputs do not
// have, before anything is built.
func (s *session) checkInputs(p *planned) error {
	var names, unknown, changed []string
	for _, it := range p.plan.Items {
		if it.Action != plan.Build {
			continue
		}
		name := it.Image.String()
		names = append(names, name)
		im := p.defined.Image(it.Image)
		switch locked, ok := s.inputs.Lock().Image(name); {
		case !ok:
			unknown = append(unknown, name)
		case im != nil && im.Key != "" && im.Key != locked.Key:
			changed = append(changed, name)
		}
	}
	if len(unknown) > 0 {
		return usererr.Errorf("select fewer images, or write a lock of these with kolla-build lock",
			"the lock of %s does not have %s", s.cfg.Inputs, listed(unknown))
	}
	if len(changed) > 0 {
		s.console.Notice("warning: templates, configuration or sources are not those of the lock for %s; what they fetch now may be missing", listed(changed))
	}
	return s.inputs.Check(names)
}

// listed returns names as one text, the first ones if there are many.
func listed(names []string) string {
	const shown = 8
	if len(names) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
	}
	return strings.Join(names, ", ")
}

// offlineNetwork returns the network of the steps of an offline run, and a function
// that reports what it refused.
func (s *session) offlineNetwork() (*stepNetwork, func(), error) {
	player := stepproxy.NewPlayer(s.inputs.LookUp, s.inputs.OpenRecord)
	// The mounts of other builds hold packages of other days.
	id := "offline-" + lockID(s.inputs.Lock())
	n, err := openStepNetwork(s.cfg, player, func(image.ID) string { return id })
	if err != nil {
		return nil, nil, err
	}
	return n, func() {
		const shown = 10
		refused := player.Refused()
		for i, r := range refused {
			if i == shown {
				s.console.Notice("offline: and %s more", units.Count(len(refused)-shown, "request"))
				break
			}
			s.console.Notice("offline: %s requested %s: %s", clientName(r.Client), r.Request, r.Reason)
		}
	}, nil
}

// clientName is how a client of the proxy is shown.
func clientName(client string) string {
	if client == "" {
		return "an ADD instruction"
	}
	return client
}

// compareDigests reports whether the built images are those of the lock.
func (s *session) compareDigests(results []build.Result) {
	same, built := 0, 0
	var other []string
	for _, res := range results {
		locked, ok := s.inputs.Lock().Image(res.Image.String())
		if !ok || res.Status != build.StatusBuilt {
			continue
		}
		built++
		if locked.Digest == res.Digest {
			same++
		} else {
			other = append(other, res.Image.String())
		}
	}
	if built == 0 {
		return
	}
	s.console.Notice("offline: %d of %s have the digests of the lock", same, units.Count(built, "built image"))
	if len(other) > 0 {
		slices.Sort(other)
		s.console.Notice("offline: other digests: %s (another tag or setting, or a step whose result varies)", listed(other))
	}
}
