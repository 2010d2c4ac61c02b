package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/packages"
	"github.com/kolla-build/kolla-build/pkg/plan"
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// moving are the inputs of a run's images that move by themselves: what package
// repositories offer, and what ADD instructions download. They are looked at
// under --refresh alone; what was found then counts in every later run.
type moving struct {
	states *inputStates
	bare   map[image.ID]digest.Digest // content keys by image, of Dockerfiles alone
	next   map[image.ID]inputState    // states that count once the image is built
	fresh  map[image.ID]bool          // images whose steps are not taken from the builder's cache

	namespaces map[image.ID]string // of the steps' cache mounts, by image

	// read reads what is in images as they are built, so that the next look at
	// them costs nothing. It is nil without --refresh.
	read    func(ctx context.Context, d digest.Digest)
	reading errgroup.Group
	one     sync.Mutex // held by the reading at work: building comes first
}

// movingInputs puts the state of moving inputs into the keys of the images, and
// under --refresh finds out which of them moved.
func (r *buildRun) movingInputs(ctx context.Context) (*moving, error) {
	states, err := openInputStates(r.cfg)
	if err != nil {
		return nil, err
	}
	m := &moving{states: states, bare: map[image.ID]digest.Digest{}, next: map[image.ID]inputState{}, fresh: map[image.ID]bool{}, namespaces: map[image.ID]string{}}
	inputs := r.defined.inputs
	for _, in := range inputs {
		m.bare[in.Image] = in.Key
	}
	if r.cfg.Refresh && !r.local {
		c := r.newRefresher(m, m.keys(inputs))
		m.read = func(ctx context.Context, d digest.Digest) { _, _ = c.contents(ctx, d) }
		if err := c.all(ctx, inputs); err != nil {
			return nil, err
		}
	}
	keys := m.keys(inputs)
	for i, in := range inputs {
		inputs[i].Key = keys[in.Image]
		// A package index from before the move does not go with a parent from
		// after it.
		for _, n := range append([]image.ID{in.Image}, in.Needs...) {
			if m.namespaces[in.Image] == "" {
				m.namespaces[in.Image] = cmp.Or(m.state(n).Namespace, m.namespaces[n])
			}
		}
	}
	return m, states.save()
}

// state is what counts for an image once this run has built it.
func (m *moving) state(id image.ID) inputState {
	if st, ok := m.next[id]; ok {
		return st
	}
	return m.states.get(m.bare[id])
}

// keys are the effective keys: of the content key, the state of the image's
// moving inputs, and the effective keys of its parents. An image of which none
// of this ever moved has its content key.
func (m *moving) keys(inputs []plan.Input) map[image.ID]digest.Digest {
	keys := make(map[image.ID]digest.Digest, len(inputs))
	for _, in := range inputs {
		bare := m.bare[in.Image]
		st := m.state(in.Image)
		plain := st.Salt == ""
		for _, n := range in.Needs {
			plain = plain && keys[n] == m.bare[n]
		}
		if plain || bare == "" {
			keys[in.Image] = bare
			continue
		}
		h := digest.Canonical.Digester()
		fmt.Fprintf(h.Hash(), "kolla-build effective key 1\n%s\n%s\n", bare, st.Salt)
		needs := slices.Clone(in.Needs)
		// By the text, as ever: the order is part of the key.
		slices.SortFunc(needs, func(a, b image.ID) int { return strings.Compare(a.String(), b.String()) })
		for _, n := range needs {
			fmt.Fprintln(h.Hash(), keys[n])
		}
		keys[in.Image] = h.Digest()
	}
	return keys
}

// built remembers that an image has what it was built for. It is called when
// the store has the image, as d, under its new key: were the state written first, a
// run that dies in between would leave a key that says more than is there.
func (m *moving) built(ctx context.Context, id image.ID, d digest.Digest) error {
	if m.read != nil {
		m.reading.Go(func() error {
			m.one.Lock()
			defer m.one.Unlock()
			m.read(ctx, d)
			return nil
		})
	}
	return m.settle(id)
}

// settle makes the state that an image was built for the one that counts.
func (m *moving) settle(id image.ID) error {
	st, ok := m.next[id]
	if !ok {
		return nil
	}
	m.states.put(m.bare[id], st)
	return m.states.save()
}

// convert changes how an image is converted for building.
func (m *moving) convert(id image.ID, opts *buildkit.ConvertOptions) {
	opts.NoCache = opts.NoCache || m.fresh[id]
	opts.CacheNamespace = m.namespaces[id]
}

// kept remembers what an earlier run built and did not live to say.
func (m *moving) kept(p *plan.Plan) error {
	for _, it := range p.Items {
		if it.Action != plan.Keep {
			continue
		}
		if err := m.settle(it.Image); err != nil {
			return err
		}
	}
	return nil
}

// remarkNotes says at a run's end how many images --refresh could not look at:
// the warnings at its beginning are far above by then.
func (r *buildRun) remarkNotes() {
	n, first := 0, ""
	for _, it := range r.plan.Items {
		if it.Action == plan.Keep && it.Note != "" {
			n++
			first = cmp.Or(first, it.Image.String()+": "+it.Note)
		}
	}
	if n > 0 {
		r.env.Notice("warning: %d images were kept without knowing whether their inputs moved, such as %s", n, first)
	}
}

// packageReader reads which packages images hold, and keeps what their layers
// say in the data directory.
func packageReader(cfg *config.Config) *packages.Reader {
	return &packages.Reader{CacheDir: filepath.Join(cfg.DataDir, "packages")}
}

// salt follows from what was before and what moved, so that a run that dies
// and is repeated comes to the same.
func salt(old string, changes []plan.Change) string {
	data, err := json.Marshal(changes)
	if err != nil {
		data = fmt.Append(nil, changes)
	}
	return digest.FromString(old + "\n" + string(data)).String()
}
