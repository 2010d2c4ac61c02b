package offline

import (
	"context"
	"fmt"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/stepproxy"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/inputs"
	"github.com/kolla-build/kolla-build/pkg/lock"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/source"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// OpenInputs opens the directory of inputs of an offline run, and stores its base
// images. It returns nil for a run that is not offline. The caller must close it.
func OpenInputs(ctx context.Context, cfg *config.Config, st *store.Store) (*inputs.Dir, error) {
	switch {
	case !cfg.Offline && cfg.Inputs != "":
		return nil, cfg.Mistake("inputs", "add --offline", "--inputs is the directory of an offline build")
	case !cfg.Offline:
		return nil, nil
	case cfg.Inputs == "":
		hint := "kolla-build lock and kolla-build fetch make it"
		if i := slices.IndexFunc(cfg.Regex, func(arg string) bool { return strings.Contains(arg, "/") }); i >= 0 {
			hint = fmt.Sprintf("--offline has no value; write --offline --inputs %s", cfg.Regex[i])
		}
		return nil, cfg.Mistake("offline", hint, "the directory of inputs is missing: --inputs DIR")
	}
	in, err := inputs.Open(cfg.Inputs)
	if err != nil {
		return nil, cfg.UsageIfUnreadable("inputs", err)
	}
	err = in.ImportBases(ctx, st, func(b lock.Base) error {
		return define.AddBase(st, b.Name, b.Platform, b.Digest, cfg.Inputs)
	})
	if err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// Source returns a function that finds a source among the inputs.
func Source(in *inputs.Dir) func(source.Spec) (source.Provided, bool, error) {
	return func(spec source.Spec) (source.Provided, bool, error) {
		path, src, ok, err := in.Source(spec.Name, spec.Type, redact.URL(spec.Location), spec.Reference)
		return source.Provided{Path: path, Commit: src.Commit, Modified: src.Modified}, ok, err
	}
}

// Check returns an error if inputs of an image that will be built are missing. It is
// called before anything is built.
func Check(in *inputs.Dir, p *plan.Plan, defined *define.Defined, con *console.Console) error {
	var names, unknown, changed []string
	for _, it := range p.Items {
		if it.Action != plan.Build {
			continue
		}
		name := it.Image.String()
		names = append(names, name)
		im := defined.Image(it.Image)
		switch locked, ok := in.Lock().Image(name); {
		case !ok:
			unknown = append(unknown, name)
		case im != nil && im.Key != "" && im.Key != locked.Key:
			changed = append(changed, name)
		}
	}
	if len(unknown) > 0 {
		return usererr.Errorf("select fewer images, or write a lock of these with kolla-build lock",
			"the lock of the inputs does not have %s", units.List(unknown, maxNamesShown))
	}
	if len(changed) > 0 {
		con.Notice(
			"warning: templates, configuration or sources are not those of the lock for %s; their downloads may be missing",
			units.List(changed, maxNamesShown))
	}
	return in.Check(names)
}

// maxNamesShown is how many names a message lists.
const maxNamesShown = 8

// OpenNetwork returns the network of the steps of an offline run. When it is closed,
// it reports the requests that the inputs could not answer.
func OpenNetwork(cfg *config.Config, in *inputs.Dir, con *console.Console) (*Network, error) {
	player := stepproxy.NewPlayer(in.LookUp, in.OpenRecord)
	// Cache mounts of other builds contain other versions of packages.
	id := "offline-" + lockID(in.Lock())
	n, err := openNetwork(cfg, player, func(image.ID) string { return id })
	if err != nil {
		return nil, err
	}
	n.atEnd = func() {
		const shown = 10
		refused := player.Refused()
		for i, r := range refused {
			if i == shown {
				con.Notice("offline: and %s more", units.Count(len(refused)-shown, "request"))
				break
			}
			con.Notice("offline: %s requested %s: %s", clientName(r.Client), r.Request, r.Reason)
		}
	}
	return n, nil
}

// lockID identifies the content of a lock.
func lockID(l *lock.Lock) string { return digest.FromBytes(l.Marshal()).Encoded()[:16] }

// clientName is how a client of the proxy is shown.
func clientName(client string) string {
	if client == "" {
		return "an ADD instruction"
	}
	return client
}

// CompareDigests reports whether the built images have the digests in the lock.
func CompareDigests(in *inputs.Dir, results []build.Result, con *console.Console) {
	equal, built := 0, 0
	var other []string
	for _, res := range results {
		locked, ok := in.Lock().Image(res.Image.String())
		if !ok || res.Status != build.StatusBuilt {
			continue
		}
		built++
		if locked.Digest == res.Digest {
			equal++
		} else {
			other = append(other, res.Image.String())
		}
	}
	if built == 0 {
		return
	}
	verb := "have"
	if equal == 1 || built == 1 {
		verb = "has"
	}
	con.Notice("offline: %d of %s %s the digests of the lock", equal, units.Count(built, "built image"), verb)
	if len(other) > 0 {
		slices.Sort(other)
		con.Notice("offline: other digests: %s (another tag or setting, or a step whose result varies)",
			units.List(other, maxNamesShown))
	}
}
