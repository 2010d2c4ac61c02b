package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Kind is the engine's make.
type Kind string

// The engines.
const (
	Docker Kind = "docker"
	Podman Kind = "podman"
)

// title is the name that users know.
func (k Kind) title() string {
	if k == Podman {
		return "Podman"
	}
	return "Docker"
}

// Options say which engine to use.
type Options struct {
	Kind Kind

	// Addr is where it listens: unix:///run/docker.sock, tcp://host:2376,
	// ssh://user@host. "" takes what the engine's own client would: for Docker
	// DOCKER_HOST, DOCKER_CONTEXT and the context that its configuration names;
	// for Podman its system socket, and the podman command where there is none.
	Addr string

	// Getenv reads the environment; nil means that there is none.
	Getenv func(string) string

	// Loads is how many images are sent at once, 0 for 4: the engine's disk is
	// what they wait for.
	Loads int

	// Retries is how often an image is sent again after the engine went away
	// while it came, with a pause for its restart before.
	Retries int
}

// dialTimeout is how long an engine may take to answer its first request.
const dialTimeout = 5 * time.Second

// Engine is a container engine that answered. Safe for concurrent use.
type Engine struct {
	opts  Options
	kind  Kind // may differ from opts.Kind: Podman can stand at Docker's socket
	about about
	backend
	slots chan struct{}

	mu    sync.Mutex
	names map[string]string // reference as the engine has it, to image ID
	ids   map[string]bool   // all of its images
	dead  bool              // it was waited for in vain: nobody waits again
}

// about is what an engine says of itself.
type about struct {
	version string // of the program
	api     string // of its API, "" for a command
	podman  bool
}

// backend is a way to speak to an engine.
type backend interface {
	where() string // its address, for messages
	about(ctx context.Context) (about, error)
	list(ctx context.Context) ([]listed, error)
	// inspect returns nil when there is no such image.
	inspect(ctx context.Context, name string) (*inspected, error)
	load(ctx context.Context, archive io.Reader) error
	tag(ctx context.Context, id, ref string) error
	save(ctx context.Context, ref string) (io.ReadCloser, error)
	close()
}

// listed is an image in an engine's list, with IDs as hex digits.
type listed struct {
	id   string
	refs []string
}

// inspected is an image of an engine.
type inspected struct {
	id     string
	layers []string // diff IDs, base first
}

// Open finds the engine and asks it for its images. An engine that cannot be
// used is an *UnavailableError.
func Open(ctx context.Context, opts Options) (*Engine, error) {
	if opts.Getenv == nil {
		opts.Getenv = func(string) string { return "" }
	}
	if opts.Loads <= 0 {
		opts.Loads = 4
	}
	e := &Engine{opts: opts, kind: opts.Kind, slots: make(chan struct{}, opts.Loads), names: map[string]string{}, ids: map[string]bool{}}
	b, err := dial(opts)
	if err != nil {
		return nil, err
	}
	e.backend = b
	pctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if e.about, err = b.about(pctx); err != nil {
		b.close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, unavailable(opts.Kind, b.where(), err)
	}
	if e.about.podman {
		e.kind = Podman
	}
	images, err := b.list(ctx)
	if err != nil {
		b.close()
		return nil, unavailable(opts.Kind, b.where(), err)
	}
	for _, im := range images {
		e.ids[im.id] = true
		for _, ref := range im.refs {
			e.names[ref] = im.id
		}
	}
	return e, nil
}

// Close ends the connections.
func (e *Engine) Close() { e.backend.close() }

// String names the engine as messages do: "Docker 20.10.24".
func (e *Engine) String() string { return strings.TrimSpace(e.kind.title() + " " + e.about.version) }

// Title is the engine's name without its version.
func (e *Engine) Title() string { return e.kind.title() }

// Addr says where the engine was found.
func (e *Engine) Addr() string { return e.where() }

// Has reports whether the engine has an image of that name, whatever is in it.
func (e *Engine) Has(ref string) bool { return e.ID(ref) != "" }

// ID returns the engine's ID of the image of that name, "" if there is none.
func (e *Engine) ID(ref string) string {
	name, err := e.name(ref)
	if err != nil {
		return ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.names[name]
}

// Save returns an image as an archive in the format of docker save.
func (e *Engine) Save(ctx context.Context, ref string) (io.ReadCloser, error) {
	name, err := e.name(ref)
	if err != nil {
		return nil, err
	}
	r, err := e.save(ctx, name)
	if err != nil {
		return nil, e.fail("reading", ref, err)
	}
	return r, nil
}

// Request is an image to load.
type Request struct {
	Ref   string
	Image v1.Image
	// Ancestors are images whose layers the image begins with, the nearest
	// first. If the engine has one of them, its layers are not sent.
	Ancestors []v1.Image
	// Progress is told how many bytes of how many were sent; may be nil.
	Progress func(sent, total int64)
}

// Loaded says what Load had to do.
type Loaded struct {
	Present bool  // the engine had the image under that name
	Tagged  bool  // it had the image, and got the name
	Layers  int   // that were sent
	Reused  int   // layers that it had
	Bytes   int64 // that were sent
}

// Load makes the engine have an image under a name. Errors are *Error, or ctx's.
func (e *Engine) Load(ctx context.Context, r Request) (Loaded, error) {
	name, err := e.name(r.Ref)
	if err != nil {
		return Loaded{}, err
	}
	ids, err := idsOf(r.Image)
	if err != nil {
		return Loaded{}, fmt.Errorf("loading %s: %w", r.Ref, err)
	}
	if e.is(name, ids) {
		return Loaded{Present: true}, nil
	}
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return Loaded{}, context.Cause(ctx)
	}
	if id := e.has(ids); id != "" {
		err := e.tag(ctx, id, name)
		if err == nil {
			e.remember(name, id)
			return Loaded{Tagged: true}, nil
		}
		// It is gone since we looked: sent then.
		if ctx.Err() != nil {
			return Loaded{}, context.Cause(ctx)
		}
	}
	return e.send(ctx, r, name, ids)
}

// send loads an image, without the layers that the engine has. What it has may
// change under our hands, so a load that fails is tried once more with all.
func (e *Engine) send(ctx context.Context, r Request, name string, ids []string) (Loaded, error) {
	have, err := e.layersThere(ctx, r, name)
	if err != nil {
		return Loaded{}, e.fail("loading", r.Ref, err)
	}
	for attempt := 0; ; {
		res, err := e.sendOnce(ctx, r, name, have)
		if err == nil {
			var im *inspected
			if im, err = e.inspect(ctx, name); err == nil {
				if im != nil && slices.Contains(ids, im.id) {
					e.remember(name, im.id)
					return res, nil
				}
				err = errors.New("it was taken, and is not there under its name")
			}
		}
		switch {
		case ctx.Err() != nil:
			return Loaded{}, context.Cause(ctx)
		case isFull(err):
			return Loaded{}, e.fail("loading", r.Ref, err)
		case isGone(err) && attempt < e.opts.Retries && e.waitBack(ctx):
			attempt++
		case have > 0 && !isGone(err):
			have = 0
		default:
			return Loaded{}, e.fail("loading", r.Ref, err)
		}
	}
}

// waitBack waits for an engine that is being started again, and reports whether
// it came back. One that did not is not waited for again.
func (e *Engine) waitBack(ctx context.Context) bool {
	for range backTries {
		e.mu.Lock()
		dead := e.dead
		e.mu.Unlock()
		if dead {
			return false
		}
		select {
		case <-time.After(backPause):
		case <-ctx.Done():
			return false
		}
		pctx, cancel := context.WithTimeout(ctx, dialTimeout)
		_, err := e.backend.about(pctx)
		cancel()
		if err == nil {
			return true
		}
	}
	e.mu.Lock()
	e.dead = true
	e.mu.Unlock()
	return false
}

// An engine that is started again takes a few seconds.
const (
	backTries = 20
	backPause = 500 * time.Millisecond
)

// layersThere counts the image's first layers that the engine has: those of an
// ancestor, or of what bears its name now.
func (e *Engine) layersThere(ctx context.Context, r Request, name string) (int, error) {
	conf, err := r.Image.ConfigFile()
	if err != nil {
		return 0, err
	}
	own := conf.RootFS.DiffIDs
	most := 0
	for _, a := range r.Ancestors {
		ids, err := idsOf(a)
		if err != nil {
			return 0, err
		}
		if e.has(ids) == "" {
			continue
		}
		ac, err := a.ConfigFile()
		if err != nil {
			return 0, err
		}
		most = max(most, common(own, ac.RootFS.DiffIDs))
		break // those after it have fewer
	}
	e.mu.Lock()
	named := e.names[name] != ""
	e.mu.Unlock()
	if named && most < len(own) {
		im, err := e.inspect(ctx, name)
		if err != nil {
			return 0, err
		}
		if im != nil {
			var there []v1.Hash
			for _, l := range im.layers {
				if h, err := v1.NewHash(l); err == nil {
					there = append(there, h)
				}
			}
			most = max(most, common(own, there))
		}
	}
	return most, nil
}

// common counts the layers that both lists begin with.
func common(a, b []v1.Hash) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func (e *Engine) is(name string, ids []string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Contains(ids, e.names[name])
}

// has returns the engine's ID of an image, "" if it has none.
func (e *Engine) has(ids []string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		if e.ids[id] {
			return id
		}
	}
	return ""
}

func (e *Engine) remember(name, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.names[name], e.ids[id] = id, true
}

// idsOf returns the IDs that an image may have in an engine: its config's digest,
// and in Docker's containerd image store its manifest's.
func idsOf(img v1.Image) ([]string, error) {
	conf, err := img.ConfigName()
	if err != nil {
		return nil, err
	}
	man, err := img.Digest()
	if err != nil {
		return nil, err
	}
	return []string{conf.Hex, man.Hex}, nil
}

// name is a reference as the engine itself writes it. Podman puts an image that
// was built here under localhost, where Docker takes it for one of Docker Hub.
func (e *Engine) name(ref string) (string, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", fmt.Errorf("image name %q: %w", ref, err)
	}
	named = reference.TagNameOnly(named)
	if e.kind == Docker {
		return reference.FamiliarString(named), nil
	}
	if first, _, ok := strings.Cut(ref, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return named.String(), nil
	}
	return "localhost/" + strings.TrimPrefix(reference.FamiliarString(named), "library/"), nil
}

// isGone reports whether an error is the connection's, not the engine's answer.
func isGone(err error) bool {
	var answer *answerError
	if errors.As(err, &answer) {
		return false
	}
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
