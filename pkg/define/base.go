package define

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/platforms"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bootstrap"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/store/repair"
)

// bases resolves images from outside the tree, such as debian:trixie, to images
// in the store: from the store itself, a registry, a container engine, or
// bootstrapped from a package mirror. The builder never contacts a registry, and
// keys contain digests.
type bases struct {
	Options
	cfg      *config.Config
	platform ocispecs.Platform

	mu      sync.Mutex             // guards lookups and their results
	lookups map[string]*baseLookup // by reference
}

// baseLookup is the resolution of one reference. It is done once for all images with the
// reference, even if it fails.
type baseLookup struct {
	once     sync.Once
	external buildkit.External
	created  time.Time
	err      error
}

// originRegistry marks stored images that were pulled, and may have changed in
// the registry since.
const originRegistry = "registry"

func (b *bases) resolve(ctx context.Context, ref string) (buildkit.External, error) {
	b.mu.Lock()
	l := b.lookups[ref]
	if l == nil {
		l = &baseLookup{}
		b.lookups[ref] = l
	}
	b.mu.Unlock()
	l.once.Do(func() {
		external, created, err := b.startLookup(ctx, ref)
		b.mu.Lock()
		defer b.mu.Unlock()
		l.external, l.created, l.err = external, created, err
	})
	return l.external, l.err
}

func (b *bases) startLookup(ctx context.Context, ref string) (
	external buildkit.External, created time.Time, err error) {
	entry, err := b.find(ctx, ref)
	if err != nil {
		return external, created, err
	}
	img, err := b.Store.Image(entry.Digest)
	if err != nil {
		return external, created, fmt.Errorf("base image %s: %w", ref, err)
	}
	conf, err := img.RawConfigFile()
	if err != nil {
		return external, created, fmt.Errorf("base image %s: %w", ref, err)
	}
	return buildkit.External{Digest: entry.Digest, Config: conf}, entry.Created, nil
}

// createdOf returns the created time of a resolved image.
func (b *bases) createdOf(ref string) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.lookups[ref]; l != nil {
		return l.created
	}
	return time.Time{}
}

// resolved returns the images that were resolved, by reference. All look-ups must have
// ended.
func (b *bases) resolved() map[string]*baseLookup {
	b.mu.Lock()
	defer b.mu.Unlock()
	lookups := map[string]*baseLookup{}
	for ref, l := range b.lookups {
		if l.external.Digest != "" {
			lookups[ref] = l
		}
	}
	return lookups
}

// digests returns the digests of the images that were resolved.
func (b *bases) digests() []digest.Digest {
	var digests []digest.Digest
	for _, l := range b.resolved() {
		digests = append(digests, l.external.Digest)
	}
	return digests
}

// find returns the store's entry of an image after making sure that it exists and is
// current.
func (b *bases) find(ctx context.Context, ref string) (store.Entry, error) {
	stored, ok, err := b.findStored(ref)
	if err != nil {
		return stored, err
	}
	if ok && stored.Kind == store.KindLoaded {
		b.Console.Notice("%s in the store is from a bundle that is not trusted, and is not used: load the bundle with "+
			"--trust to build on it", ref)
		ok = false
	}
	if b.Offline {
		if !ok {
			return stored, fmt.Errorf("base image %s is not in the store", ref)
		}
		return stored, nil
	}
	if ok && !b.KeepDamaged {
		ok = repair.WholeOrRemove(ctx, b.Store, stored.Digest)
	}
	inEngine := b.Engine != nil && b.Engine.Has(ref)
	if ok && stored.Origin == engineload.Origin && inEngine {
		ok = stored.Key == engineload.Key(b.Engine, ref) // otherwise the name now belongs to another image in the engine
	}
	// Bootstrapped and imported images do not change in a registry, and neither do
	// images that are named by their digests.
	if ok && (stored.Origin != originRegistry || !b.cfg.Pull || digestOf(ref) != "") {
		return stored, nil
	}
	if ok {
		desc, err := b.Client.HeadSource(ctx, ref)
		if err != nil {
			b.Console.Notice("base image %s: %v; using the one of %s in the store", ref, usererr.FirstLine(err),
				stored.Stored.Format(time.DateTime))
			return stored, nil
		}
		// The tag may name the image itself, or the index that it was taken from.
		if d := desc.Digest.String(); d == stored.Digest.String() || d == stored.Key {
			return stored, nil
		}
	}
	if inEngine && !b.cfg.Pull {
		return b.copyFromEngine(ctx, ref)
	}
	entry, err := b.pull(ctx, ref)
	if err == nil {
		return entry, nil
	}
	if inEngine && ctx.Err() == nil {
		b.Console.Notice("base image %s: %v; using the one that %s has", ref, usererr.FirstLine(err), b.Engine)
		return b.copyFromEngine(ctx, ref)
	}
	return b.bootstrapInstead(ctx, ref, err)
}

// copyFromEngine copies a base image from the container engine and returns its entry.
func (b *bases) copyFromEngine(ctx context.Context, ref string) (store.Entry, error) {
	b.Console.Notice("copying %s from %s", ref, b.Engine)
	if err := engineload.Copy(ctx, b.Engine, b.Store, ref, store.KindBase); err != nil {
		return store.Entry{}, fmt.Errorf("base image %s: %w", ref, err)
	}
	e, _, err := b.Store.Lookup(ref)
	return e, err
}

func (b *bases) pull(ctx context.Context, ref string) (store.Entry, error) {
	if err := b.Client.ReachSource(ctx, ref); err != nil {
		return store.Entry{}, err
	}
	img, named, err := b.Client.Fetch(ctx, ref, platforms.Format(b.platform))
	if err != nil {
		return store.Entry{}, err
	}
	b.Console.Notice("pulling base image %s", ref)
	d, err := b.Store.WriteImage(ctx, img)
	if err != nil {
		return store.Entry{}, fmt.Errorf("base image %s: %w", ref, err)
	}
	// The key contains the digest that the tag named, so that a later HEAD request
	// shows whether the tag changed, even if it names an index.
	name := nameFor(b.Store, ref, b.platform)
	err = b.Store.Put(store.Entry{
		Name:   name,
		Digest: d,
		Kind:   store.KindBase,
		Origin: originRegistry,
		Key:    named.String(),
	})
	if err != nil {
		return store.Entry{}, err
	}
	entry, _, err := b.Store.Lookup(name)
	return entry, err
}

// bootstrapInstead bootstraps the configured base image if its registry cannot
// be reached and the distribution's packages allow it.
func (b *bases) bootstrapInstead(ctx context.Context, ref string, pullErr error) (store.Entry, error) {
	distro, suite, ok := b.bootstrappable(ref)
	var unreachable *registry.UnreachableError
	if ctx.Err() != nil || !ok || b.cfg.Bootstrap == "never" || !errors.As(pullErr, &unreachable) {
		hint := "name another with --base-image and --base-tag, or an OCI layout with --base-image oci:DIR"
		if ref != render.BaseReference(b.cfg) {
			return store.Entry{}, usererr.Errorf(
				"the template names it: make its registry reachable, or name another image there",
				"base image %s: %w", ref, pullErr)
		}
		if !b.cfg.IsSet("base") {
			hint = fmt.Sprintf("without --base, images are built on %s, as with Kolla's tool; -b debian or -b ubuntu "+
				"chooses another distribution", b.cfg.Base)
		}
		if ok {
			hint = fmt.Sprintf(
				"kolla-build bootstrap %s:%s --mirror URL makes one from a package mirror; or --base-image oci:DIR",
				distro, suite)
		}
		return store.Entry{}, usererr.Errorf(hint, "base image %s: %w", ref, pullErr)
	}
	b.Console.Notice("base image %s: %v", ref, usererr.FirstLine(pullErr))
	if b.BeforeBootstrap != nil {
		if err := b.BeforeBootstrap(); err != nil {
			return store.Entry{}, err
		}
	}
	b.Console.Notice("bootstrapping %s:%s from a package mirror instead, once: this takes a minute or more", distro, suite)
	opts := bootstrap.Options{Distro: distro, Suite: suite, Arch: b.cfg.DebianArch, Mirror: b.cfg.BaseMirror}
	entry, err := Bootstrap(ctx, b.Store, b.Console, opts, nameFor(b.Store, ref, b.platform))
	if err != nil {
		return store.Entry{}, usererr.Errorf(cmp.Or(usererr.Hint(err), "--base-mirror URL names the package mirror"),
			"base image %s: its registry cannot be reached (%s), and bootstrapping it: %w", ref, usererr.FirstLine(pullErr), err)
	}
	return entry, nil
}

func (b *bases) bootstrappable(ref string) (distro, suite string, ok bool) {
	d, known := facts.LookupDistro(b.cfg.Base)
	if !known || d.Name != "debian" && d.Name != "ubuntu" {
		return "", "", false
	}
	if ref != render.BaseReference(b.cfg) || b.cfg.BaseImage != d.Image {
		return "", "", false
	}
	rel, ok := d.Release(b.cfg.BaseTag)
	if !ok || rel.Suite == "" || !rel.Current(b.cfg.BaseTag) {
		return "", "", false
	}
	return d.Name, rel.Suite, true
}
