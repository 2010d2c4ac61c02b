package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/retry"
)

// Kind is a kind of engine.
type Kind string

// Kinds of engines.
const (
	Docker     Kind = "docker"
	Podman     Kind = "podman"
	Containerd Kind = "containerd"
)

// title returns the name for people.
func (k Kind) title() string {
	switch k {
	case Podman:
		return "Podman"
	case Containerd:
		return "containerd"
	}
	return "Docker"
}

// Options select the engine to use.
type Options struct {
	Kind Kind

	// Addr is its address: unix:///run/docker.sock, tcp://host:2376 or
	// ssh://user@host. "" means that of the engine's own client: for Docker
	// DOCKER_HOST, DOCKER_CONTEXT or the context in its configuration; for Podman
	// its system socket or, if that does not exist, the podman command; for containerd
	// CONTAINERD_ADDRESS, else its system socket or that of a Kubernetes distribution.
	// CONTAINERD_NAMESPACE sets the namespace, CONTAINERD_SNAPSHOTTER the snapshotter.
	Addr string

	// Getenv reads the environment; nil means an empty one.
	Getenv func(string) string

	// Loads is the number of images that are sent at the same time; 0 means 4. The
	// disk of the engine is the bottleneck.
	Loads int

	// Retries is how often an image is sent again if the engine is lost during the
	// transfer. Before each retry, there is time for the engine to restart.
	Retries int

	// Timeout is how long the engine may take for a request; 0 means 2 minutes. A transfer
	// may stand still for 15 times as long, because an engine unpacks an image in silence.
	Timeout time.Duration

	// Notice receives a line if the engine takes long to answer; may be nil.
	Notice func(line string)

	answerTimeout, noticeDelay time.Duration // the defaults below, except in tests
}

// defaultAnswerTimeout is how long an engine may take to answer the first request. The
// first podman command after a boot has been seen to take more than 5 seconds.
const defaultAnswerTimeout = time.Minute

// defaultNoticeDelay is how long to wait for the first answer before a notice.
const defaultNoticeDelay = 5 * time.Second

// Engine is a container engine that answered. It is safe for concurrent use.
type Engine struct {
	opts  Options
	kind  Kind // may differ from opts.Kind: Podman can serve Docker's socket
	about about
	backend
	slots chan struct{}

	mu    sync.Mutex
	names map[string]string // image ID by reference, in the engine's notation
	ids   map[string]bool   // of all images
	lost  bool              // it did not restart, so calls no longer wait for it
}

// about describes an engine.
type about struct {
	version string // of the program
	api     string // of its API, "" for a command
	podman  bool
}

// backend is the interface of an engine.
type backend interface {
	addr() string // for messages
	about(ctx context.Context) (about, error)
	list(ctx context.Context) ([]listedImage, error)
	// inspect returns nil if the image does not exist.
	inspect(ctx context.Context, name string) (*imageInfo, error)
	load(ctx context.Context, archive io.Reader) error
	tag(ctx context.Context, id, ref string) error
	save(ctx context.Context, ref string) (io.ReadCloser, error)
	close()
}

// listedImage is an image in the list of an engine.
type listedImage struct {
	id   string // in hex
	refs []string
}

// imageInfo describes an image of an engine.
type imageInfo struct {
	id     string   // in hex
	config string   // in hex; "" if the ID is that of the config, or if it is unknown
	layers []string // diff IDs, the lowest first
}

// Open connects to the engine and lists its images. If the engine cannot be used,
// the error is an *UnavailableError.
func Open(ctx context.Context, opts Options) (*Engine, error) {
	if opts.Getenv == nil {
		opts.Getenv = func(string) string { return "" }
	}
	if opts.Loads <= 0 {
		opts.Loads = 4
	}
	if opts.Timeout <= 0 {
		opts.Timeout = defaultTimeout
	}
	if opts.answerTimeout == 0 {
		opts.answerTimeout, opts.noticeDelay = defaultAnswerTimeout, defaultNoticeDelay
	}
	e := &Engine{
		opts:  opts,
		kind:  opts.Kind,
		slots: make(chan struct{}, opts.Loads),
		names: map[string]string{},
		ids:   map[string]bool{},
	}
	b, err := inputfile.Wait(ctx, func() (backend, error) { return dial(opts) }, backend.close)
	if err != nil {
		return nil, err
	}
	e.backend = b
	if e.about, err = e.firstAnswer(ctx); err != nil {
		b.close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, unavailable(opts.Kind, b.addr(), err)
	}
	if e.about.podman {
		e.kind = Podman
	}
	if err := e.Refresh(ctx); err != nil {
		b.close()
		return nil, err
	}
	return e, nil
}

// Refresh reads the list of the engine's images again.
func (e *Engine) Refresh(ctx context.Context) error {
	var images []listedImage
	err := e.limited(ctx, func(ctx context.Context) (err error) {
		images, err = e.list(ctx)
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return unavailable(e.opts.Kind, e.addr(), err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.names)
	clear(e.ids)
	for _, im := range images {
		e.ids[im.id] = true
		for _, ref := range im.refs {
			e.names[ref] = im.id
		}
	}
	return nil
}

// Close closes the connections.
func (e *Engine) Close() { e.backend.close() }

// String returns the name and version for messages, such as "Docker 20.10.24".
func (e *Engine) String() string { return strings.TrimSpace(e.kind.title() + " " + e.about.version) }

// Title returns the name without the version.
func (e *Engine) Title() string { return e.kind.title() }

// Addr returns the address of the engine, or the path of the podman command.
func (e *Engine) Addr() string { return e.addr() }

// Has reports whether the engine has an image with that name, regardless of its
// content.
func (e *Engine) Has(ref string) bool { return e.ID(ref) != "" }

// ID returns the ID of the image with that name, or "" if it does not exist.
func (e *Engine) ID(ref string) string {
	name, err := e.name(ref)
	if err != nil {
		return ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.names[name]
}

// Name returns a name as the engine shows it. Names that differ can be the same there, such
// as nova:t and docker.io/library/nova:t in Docker.
func (e *Engine) Name(ref string) (string, error) { return e.name(ref) }

// HasOther reports whether the engine has another image than this one under a name.
func (e *Engine) HasOther(ctx context.Context, ref string, img v1.Image) (bool, error) {
	name, err := e.name(ref)
	if err != nil {
		return false, err
	}
	ids, err := idsOf(img)
	if err != nil {
		return false, err
	}
	if !e.Has(ref) || e.isImage(name, ids) {
		return false, nil
	}
	im, err := e.find(ctx, name)
	if err != nil {
		return false, e.fail("looking up", ref, err)
	}
	return im != nil && !slices.Contains(ids, im.id) && !slices.Contains(ids, im.config), nil
}

// Save returns an image as an archive in the format of docker save.
func (e *Engine) Save(ctx context.Context, ref string) (io.ReadCloser, error) {
	name, err := e.name(ref)
	if err != nil {
		return nil, err
	}
	ctx, watch := retry.WatchStall(ctx, transferTimeouts*e.opts.Timeout)
	r, err := e.save(ctx, name)
	watch.Pause()
	if err = watch.Cause(err); err != nil {
		watch.Stop()
		return nil, e.fail("reading", ref, err)
	}
	return &watchedImage{r, watch, func(err error) error { return e.fail("reading", ref, err) }}, nil
}

// Request is an image to load.
type Request struct {
	Ref   string
	Image v1.Image
	// Ancestors are images whose layers are the first layers of the image, the
	// parent first. If the engine has one of them, its layers are not sent.
	Ancestors []v1.Image
	// Progress receives the number of bytes that were sent, and the total; may be nil.
	Progress func(sent, total int64)
}

// Loaded is the result of Load.
type Loaded struct {
	Present bool  // the engine already had the image with that name
	Tagged  bool  // it already had the image; only the name was added
	Layers  int   // sent
	Reused  int   // layers that it already had
	Bytes   int64 // sent
}

// Load loads an image under a name, unless the engine already has it. Errors are
// *Error, or the cause of ctx.
func (e *Engine) Load(ctx context.Context, req Request) (Loaded, error) {
	name, err := e.name(req.Ref)
	if err != nil {
		return Loaded{}, err
	}
	ids, err := idsOf(req.Image)
	if err != nil {
		return Loaded{}, fmt.Errorf("loading %s: %w", req.Ref, err)
	}
	if e.isImage(name, ids) {
		return Loaded{Present: true}, nil
	}
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return Loaded{}, context.Cause(ctx)
	}
	if id := e.findID(ids); id != "" {
		err := e.limited(ctx, func(ctx context.Context) error { return e.tag(ctx, id, name) })
		if err == nil {
			e.remember(name, id)
			return Loaded{Tagged: true}, nil
		}
		// The image was removed in the meantime.
		if ctx.Err() != nil {
			return Loaded{}, context.Cause(ctx)
		}
	}
	return e.send(ctx, req, name, ids)
}

// send loads an image without the layers that the engine has. These may be removed
// in the meantime, so a load that fails is repeated with all layers.
func (e *Engine) send(ctx context.Context, req Request, name string, ids []string) (Loaded, error) {
	skip, err := e.countPresentLayers(ctx, req, name)
	if err != nil {
		return Loaded{}, e.fail("loading", req.Ref, err)
	}
	for attempt := 0; ; {
		res, err := e.sendOnce(ctx, req, name, skip)
		if err == nil {
			var im *imageInfo
			if im, err = e.find(ctx, name); err == nil {
				if im != nil && slices.Contains(ids, im.id) {
					e.remember(name, im.id)
					return res, nil
				}
				err = errors.New("the engine accepted the image but does not list it under its name")
			}
		}
		switch {
		case ctx.Err() != nil:
			return Loaded{}, context.Cause(ctx)
		case isFull(err), isSilent(err):
			return Loaded{}, e.fail("loading", req.Ref, err)
		case isLost(err) && attempt < e.opts.Retries && e.waitForRestart(ctx):
			attempt++
		case skip > 0 && !isLost(err):
			skip = 0
		default:
			return Loaded{}, e.fail("loading", req.Ref, err)
		}
	}
}

// find returns the image with a name, or nil.
func (e *Engine) find(ctx context.Context, name string) (im *imageInfo, err error) {
	err = e.limited(ctx, func(ctx context.Context) error {
		im, err = e.inspect(ctx, name)
		return err
	})
	return im, err
}

// firstAnswer waits for the engine's first answer and gives notice if that takes
// long.
func (e *Engine) firstAnswer(ctx context.Context) (about, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.opts.answerTimeout, &silentError{e.opts.answerTimeout})
	defer cancel()
	if e.opts.Notice != nil {
		// The kind may change when the engine has answered.
		line := fmt.Sprintf("waiting for %s at %s to answer", e.kind.title(), e.addr())
		notice := time.AfterFunc(e.opts.noticeDelay, func() { e.opts.Notice(line) })
		defer notice.Stop()
	}
	a, err := e.backend.about(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return a, err
}

// waitForRestart waits for an engine that restarts, and reports whether it answers
// again. If it does not, later calls do not wait for it.
func (e *Engine) waitForRestart(ctx context.Context) bool {
	for range restartAttempts {
		e.mu.Lock()
		wasLost := e.lost
		e.mu.Unlock()
		if wasLost {
			return false
		}
		select {
		case <-time.After(restartInterval):
		case <-ctx.Done():
			return false
		}
		attempt, cancel := context.WithTimeout(ctx, restartTimeout)
		_, err := e.backend.about(attempt)
		cancel()
		if err == nil {
			return true
		}
	}
	e.mu.Lock()
	e.lost = true
	e.mu.Unlock()
	return false
}

// A restart takes a few seconds.
const (
	restartAttempts = 20
	restartInterval = 500 * time.Millisecond
	restartTimeout  = 5 * time.Second
)

// countPresentLayers counts the first layers of the image that the engine has: those
// of an ancestor, or of the image that has its name now.
func (e *Engine) countPresentLayers(ctx context.Context, r Request, name string) (int, error) {
	conf, err := r.Image.ConfigFile()
	if err != nil {
		return 0, err
	}
	layers := DiffIDs(conf)
	present := 0
	for _, a := range r.Ancestors {
		ids, err := idsOf(a)
		if err != nil {
			return 0, err
		}
		if e.findID(ids) == "" {
			continue
		}
		ac, err := a.ConfigFile()
		if err != nil {
			return 0, err
		}
		present = commonPrefix(layers, DiffIDs(ac))
		break // the other ancestors have fewer layers
	}
	e.mu.Lock()
	named := e.names[name] != ""
	e.mu.Unlock()
	if named && present < len(layers) {
		im, err := e.find(ctx, name)
		if err != nil {
			return 0, err
		}
		if im != nil {
			var old []digest.Digest
			for _, l := range im.layers {
				old = append(old, digest.Digest(l))
			}
			present = max(present, commonPrefix(layers, old))
		}
	}
	return present, nil
}

// DiffIDs returns the digests of an image's uncompressed layers.
func DiffIDs(conf *v1.ConfigFile) (layers []digest.Digest) {
	for _, l := range conf.RootFS.DiffIDs {
		layers = append(layers, digest.Digest(l.String()))
	}
	return layers
}

// commonPrefix returns the length of the common prefix of two lists of layers.
func commonPrefix(a, b []digest.Digest) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// isImage reports whether a name refers to one of the IDs.
func (e *Engine) isImage(name string, ids []string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Contains(ids, e.names[name])
}

// findID returns the first of the IDs that the engine has, or "".
func (e *Engine) findID(ids []string) string {
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

// idsOf returns the IDs that an image can have in an engine: the digest of its
// configuration or, in Docker's containerd image store, of its manifest.
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

// name returns a reference in the engine's notation. Podman puts a name without a
// host under localhost, Docker under Docker Hub; containerd has only full names.
func (e *Engine) name(ref string) (string, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", fmt.Errorf("image name %q: %w", ref, err)
	}
	named = reference.TagNameOnly(named)
	switch e.kind {
	case Docker:
		return reference.FamiliarString(named), nil
	case Containerd:
		return named.String(), nil
	}
	if first, _, ok := strings.Cut(ref, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return named.String(), nil
	}
	return "localhost/" + strings.TrimPrefix(reference.FamiliarString(named), "library/"), nil
}
