package freshness

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/packages"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Options are the settings of Check.
type Options struct {
	Console *console.Console
	Store   *store.Store
	DataDir string
	Refresh bool // look for changed inputs
	Reader  *packages.Reader
	Timeout time.Duration // of a request to a repository
	Retries int
	// ReadOnly stores no state, for commands that only show what a run does.
	ReadOnly bool
}

// Inputs describes the mutable inputs of a run's images.
type Inputs struct {
	opts         Options
	states       *states
	repositories *packages.Client

	content    map[image.ID]digest.Digest // content keys, without mutable inputs
	keys       map[image.ID]digest.Digest // effective keys
	next       map[image.ID]state         // states that become effective when the image is built
	rebuild    map[image.ID]bool          // images whose steps are not taken from the builder's cache
	changes    map[image.ID][]plan.Change
	notes      map[image.ID]string
	namespaces map[image.ID]string
}

// Check determines the effective keys of a run's images. With Options.Refresh it
// finds out which inputs changed since the images were built.
func Check(ctx context.Context, defined *define.Defined, opts Options) (*Inputs, error) {
	in := &Inputs{opts: opts, repositories: newClient(opts), content: map[image.ID]digest.Digest{},
		next: map[image.ID]state{}, rebuild: map[image.ID]bool{},
		changes: map[image.ID][]plan.Change{}, notes: map[image.ID]string{}, namespaces: map[image.ID]string{}}
	var err error
	if in.states, err = openStates(opts.DataDir); err != nil {
		return nil, err
	}
	for _, im := range defined.Images {
		in.content[im.ID] = im.Key
	}
	in.keys = in.effectiveKeys(defined.Images)
	if opts.Refresh {
		if err := newRefresher(in, defined).all(ctx); err != nil {
			return nil, err
		}
		in.keys = in.effectiveKeys(defined.Images)
	}
	for _, im := range defined.Images {
		// A package index that was cached before the change does not match a parent
		// that was built after it.
		for _, n := range append([]image.ID{im.ID}, im.Needs...) {
			if in.namespaces[im.ID] == "" {
				in.namespaces[im.ID] = cmp.Or(in.state(n).Namespace, in.namespaces[n])
			}
		}
	}
	if opts.ReadOnly {
		return in, nil
	}
	return in, in.states.save()
}

// Key returns the effective key of an image: of its content key, the state of its
// inputs and the effective keys of its parents. It is the content key as long as
// no input of the image or of an ancestor has changed.
func (in *Inputs) Key(id image.ID) digest.Digest { return in.keys[id] }

// Changes returns the inputs of an image that changed since it was built.
func (in *Inputs) Changes(id image.ID) []plan.Change { return in.changes[id] }

// Note returns a remark about an image's inputs, such as a repository that could
// not be read, or "".
func (in *Inputs) Note(id image.ID) string { return in.notes[id] }

// Rebuild reports whether an image's steps must not be taken from the builder's
// cache, which may be older than what they fetch.
func (in *Inputs) Rebuild(id image.ID) bool { return in.rebuild[id] }

// CacheNamespace separates the cache mounts of an image's steps from cached package
// indexes that are older than a change; "" if there was no change.
func (in *Inputs) CacheNamespace(id image.ID) string { return in.namespaces[id] }

// Settle stores the state that an image was built from. It must be called after the
// store has the image under its new key: otherwise, if a run was killed in between, the
// key would not match the content of the image.
func (in *Inputs) Settle(id image.ID) error {
	st, ok := in.next[id]
	if !ok || in.opts.ReadOnly {
		return nil
	}
	in.states.put(in.content[id], st)
	return in.states.save()
}

// Warmer reads the packages of built images in the background, one image at a
// time, so that the next look for changed inputs finds them in its cache.
type Warmer struct {
	read    func(digest.Digest)
	reading sync.Mutex // one image at a time: builds take precedence
	queued  sync.WaitGroup
}

// NewWarmer returns a warmer that reads until ctx ends. Without Options.Refresh
// it reads nothing.
func (in *Inputs) NewWarmer(ctx context.Context) *Warmer {
	w := &Warmer{}
	if in.opts.Refresh {
		w.read = func(d digest.Digest) {
			if img, err := in.opts.Store.Image(d); err == nil && ctx.Err() == nil {
				_, _ = in.opts.Reader.Read(ctx, img) // after an error, the image is read again when it is needed
			}
		}
	}
	return w
}

// Add queues an image. It does not block.
func (w *Warmer) Add(d digest.Digest) {
	if w.read == nil {
		return
	}
	w.queued.Go(func() {
		w.reading.Lock()
		defer w.reading.Unlock()
		w.read(d)
	})
}

// Wait returns when all queued images are read.
func (w *Warmer) Wait() { w.queued.Wait() }

// state returns the state of an image's inputs once this run has built it.
func (in *Inputs) state(id image.ID) state {
	if st, ok := in.next[id]; ok {
		return st
	}
	return in.states.get(in.content[id])
}

func (in *Inputs) effectiveKeys(images []define.Image) map[image.ID]digest.Digest {
	keys := make(map[image.ID]digest.Digest, len(images))
	for _, im := range images {
		content := in.content[im.ID]
		st := in.state(im.ID)
		unchanged := st.Salt == ""
		for _, n := range im.Needs {
			unchanged = unchanged && keys[n] == in.content[n]
		}
		if unchanged || content == "" {
			keys[im.ID] = content
			continue
		}
		h := digest.Canonical.Digester()
		fmt.Fprintf(h.Hash(), "kolla-build effective key 1\n%s\n%s\n", content, st.Salt)
		dependencies := slices.Clone(im.Needs)
		// The order by text is part of the key.
		slices.SortFunc(dependencies, func(a, b image.ID) int { return strings.Compare(a.String(), b.String()) })
		for _, n := range dependencies {
			fmt.Fprintln(h.Hash(), keys[n])
		}
		keys[im.ID] = h.Digest()
	}
	return keys
}

// salt depends on the old salt and on the changes, so that repeating a killed run gives
// the same salt.
func salt(old string, changes []plan.Change) string {
	data, err := json.Marshal(changes)
	if err != nil {
		data = fmt.Append(nil, changes)
	}
	return digest.FromString(old + "\n" + string(data)).String()
}
