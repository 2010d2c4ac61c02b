package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/kolla-build/kolla-build/pkg/bootstrap"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/engine"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// bases resolves images from outside the tree, such as debian:trixie, to images
// in the store: from the store itself, from a registry, or bootstrapped from a
// package mirror. All of a run's external images come through here, so that the
// builder never talks to a registry and the key knows the digest.
type bases struct {
	cfg      *config.Config
	env      Env
	store    *store.Store
	client   *registry.Client
	engine   *engine.Engine // nil if none is used
	platform ocispecs.Platform
	local    bool // take what the store has and ask nobody

	mu      sync.Mutex
	done    map[string]buildkit.External
	created map[string]time.Time // by reference
}

// originRegistry marks images that came from a registry and may move there.
const originRegistry = "registry"

func (b *bases) resolve(ctx context.Context, ref string) (buildkit.External, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ext, ok := b.done[ref]; ok {
		return ext, nil
	}
	entry, err := b.find(ctx, ref)
	if err != nil {
		return buildkit.External{}, err
	}
	img, err := b.store.Image(entry.Digest)
	if err != nil {
		return buildkit.External{}, fmt.Errorf("base image %s: %w", ref, err)
	}
	conf, err := img.RawConfigFile()
	if err != nil {
		return buildkit.External{}, fmt.Errorf("base image %s: %w", ref, err)
	}
	b.created[ref] = entry.Created
	ext := buildkit.External{Digest: entry.Digest, Config: conf}
	b.done[ref] = ext
	return ext, nil
}

// createdOf returns the created time of an image that was resolved.
func (b *bases) createdOf(ref string) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.created[ref]
}

// find returns the store's entry of an image, after having seen to it that
// there is one, and a current one.
func (b *bases) find(ctx context.Context, ref string) (store.Entry, error) {
	have, ok, err := b.stored(ref)
	if err != nil {
		return have, err
	}
	if ok && !isWhole(ctx, b.store, have.Digest) {
		ok = false // a blob of it is gone or damaged: it is fetched again
	}
	if ok && have.Origin == engineload.Origin && b.engine != nil && b.engine.Has(ref) {
		ok = have.Key == engineload.Key(b.engine, ref) // else it was built anew there
	}
	switch {
	case b.local && ok:
		return have, nil
	case b.local:
		return have, fmt.Errorf("base image %s is not in the store", ref)
	}
	// What was bootstrapped or imported here cannot move anywhere else.
	mayMove := !ok || have.Origin == originRegistry && b.cfg.Pull
	if !mayMove {
		return have, nil
	}
	if ok {
		desc, err := b.client.Head(ctx, ref)
		if err == nil && b.sameImage(have, desc) {
			return have, nil
		}
		if err != nil {
			b.env.Notice("base image %s: %v; using the one of %s in the store", ref, firstLine(err), have.Stored.Format(time.DateTime))
			return have, nil
		}
	}
	inEngine := b.engine != nil && b.engine.Has(ref)
	if inEngine && !b.cfg.Pull {
		return b.copied(ctx, ref)
	}
	entry, err := b.pull(ctx, ref)
	if err == nil {
		return entry, nil
	}
	if inEngine && ctx.Err() == nil {
		b.env.Notice("base image %s: %v; using the one that %s has", ref, firstLine(err), b.engine)
		return b.copied(ctx, ref)
	}
	return b.instead(ctx, ref, err)
}

// copied brings an image over from the container engine, once for each content.
func (b *bases) copied(ctx context.Context, ref string) (store.Entry, error) {
	b.env.Notice("copying %s from %s", ref, b.engine)
	if err := engineload.Copy(ctx, b.engine, b.store, ref, store.KindBase); err != nil {
		return store.Entry{}, fmt.Errorf("base image %s: %w", ref, err)
	}
	e, _, err := b.store.Lookup(ref)
	return e, err
}

// stored looks an image up in the store, for the platform that is wanted. Images
// for other platforms than that which has the name lie under the name and their
// platform; of an index it is the one within.
func (b *bases) stored(ref string) (store.Entry, bool, error) {
	for _, name := range []string{ref, otherName(ref, b.platform)} {
		e, ok, err := b.store.Lookup(name)
		if err != nil {
			return e, false, err
		}
		switch {
		case !ok:
		case isIndex(e):
			if child, found := within(b.store, e.Digest, b.platform); found {
				e.Digest, e.Platform = child, platforms.Format(b.platform)
				return e, true, nil
			}
		case e.Platform == "" || fits(e, b.platform):
			return e, true, nil
		}
	}
	return store.Entry{}, false, nil
}

func isIndex(e store.Entry) bool { return types.MediaType(e.MediaType).IsIndex() }

// fits reports whether an image is for a platform, and not only runs there.
func fits(e store.Entry, p ocispecs.Platform) bool {
	have, err := platforms.Parse(e.Platform)
	return err == nil && platforms.OnlyStrict(p).Match(have)
}

// within finds the image for a platform in an index.
func within(s *store.Store, d digest.Digest, p ocispecs.Platform) (digest.Digest, bool) {
	idx, err := s.ImageIndex(d)
	if err != nil {
		return "", false
	}
	m, err := idx.IndexManifest()
	if err != nil {
		return "", false
	}
	for _, c := range m.Manifests {
		if c.Platform != nil && fits(store.Entry{Platform: c.Platform.String()}, p) {
			return digest.Digest(c.Digest.String()), true
		}
	}
	return "", false
}

// otherName is where an image lies whose name an image for another platform has.
func otherName(ref string, p ocispecs.Platform) string { return ref + "@" + platforms.Format(p) }

// baseName is the name under which an image for a platform is put: its own,
// unless one for another platform has it.
func baseName(s *store.Store, ref string, p ocispecs.Platform) string {
	if e, ok, err := s.Lookup(ref); err == nil && ok && e.Platform != "" && !fits(e, p) {
		return otherName(ref, p)
	}
	return ref
}

// sameImage reports whether a registry's tag still names what was pulled: the
// image itself or the index that it came from.
func (b *bases) sameImage(have store.Entry, desc ocispecs.Descriptor) bool {
	return desc.Digest == have.Digest || desc.Digest.String() == have.Key
}

func (b *bases) pull(ctx context.Context, ref string) (store.Entry, error) {
	if err := reach(ctx, b.cfg, b.client, ref); err != nil {
		return store.Entry{}, err
	}
	img, named, err := b.client.Fetch(ctx, ref, platforms.Format(b.platform))
	if err != nil {
		return store.Entry{}, err
	}
	b.env.Notice("pulling base image %s", ref)
	d, err := b.store.WriteImage(ctx, img)
	if err != nil {
		return store.Entry{}, fmt.Errorf("base image %s: %w", ref, err)
	}
	// The key remembers what the tag named, so that a later look-up costs one
	// HEAD request even where the tag names an index.
	name := baseName(b.store, ref, b.platform)
	err = b.store.Put(store.Entry{Name: name, Digest: d, Kind: store.KindBase, Origin: originRegistry, Key: named.String()})
	if err != nil {
		return store.Entry{}, err
	}
	entry, _, err := b.store.Lookup(name)
	return entry, err
}

// instead bootstraps the configured base image when its registry cannot be
// reached and the distribution's packages can make one.
func (b *bases) instead(ctx context.Context, ref string, pullErr error) (store.Entry, error) {
	d, suite, ok := b.bootstrappable(ref)
	var unreachable *registry.UnreachableError
	if ctx.Err() != nil || !ok || b.cfg.Bootstrap == "never" || !errors.As(pullErr, &unreachable) {
		hint := "name another with --base-image and --base-tag, or an OCI layout with --base-image oci:DIR"
		if ok {
			hint = fmt.Sprintf("kolla-build bootstrap %s:%s --mirror URL makes one from a package mirror; or --base-image oci:DIR", d, suite)
		}
		return store.Entry{}, &HintError{fmt.Errorf("base image %s: %w", ref, pullErr), hint}
	}
	b.env.Notice("base image %s: %v", ref, firstLine(pullErr))
	b.env.Notice("bootstrapping %s:%s from a package mirror instead", d, suite)
	res, err := Bootstrap(ctx, b.store, b.env, bootstrap.Options{Distro: d, Suite: suite, Arch: b.cfg.DebianArch, Mirror: b.cfg.BaseMirror}, baseName(b.store, ref, b.platform))
	if err != nil {
		return store.Entry{}, &HintError{fmt.Errorf("base image %s: its registry cannot be reached (%s), and bootstrapping it: %w", ref, firstLine(pullErr), err),
			"--base-mirror URL names the package mirror"}
	}
	return res, nil
}

func (b *bases) bootstrappable(ref string) (distro, suite string, ok bool) {
	d, known := facts.LookupDistro(b.cfg.Base)
	if !known || ref != b.cfg.BaseImage+":"+b.cfg.BaseTag || b.cfg.BaseImage != d.Image || (d.Name != "debian" && d.Name != "ubuntu") {
		return "", "", false
	}
	rel, ok := d.Release(b.cfg.BaseTag)
	if !ok || rel.Suite == "" || !rel.Current(b.cfg.BaseTag) {
		return "", "", false
	}
	return d.Name, rel.Suite, true
}

// withLocalBase returns a configuration whose base image has a name that FROM
// lines can hold, where the user named a file or a directory.
func withLocalBase(cfg *config.Config) *config.Config {
	if _, _, ok := localBase(cfg.BaseImage); !ok {
		return cfg
	}
	c := *cfg
	c.BaseImage = "kolla-build.local/" + cfg.Base
	return &c
}

// importBase brings a base image that is a file or a directory into the store,
// under the name that withLocalBase gave it.
func importBase(ctx context.Context, image string, as *config.Config, s *store.Store, p ocispecs.Platform) error {
	path, name, ok := localBase(image)
	if !ok {
		return nil
	}
	var e store.Entry
	var err error
	opts := bootstrap.ImportOptions{Name: name}
	if as.Platform != "" {
		opts.Platform = platforms.Format(p)
	}
	e, err = bootstrap.Import(ctx, s, path, opts)
	if err != nil {
		return fmt.Errorf("base image %s: %w", image, err)
	}
	return s.Put(store.Entry{Name: baseName(s, as.BaseImage+":"+as.BaseTag, p), Digest: e.Digest, Kind: store.KindBase, Origin: path})
}

// localBase splits a --base-image that is a path: oci:DIR[:NAME] or a tarball.
func localBase(image string) (path, name string, ok bool) {
	if rest, isLayout := strings.CutPrefix(image, "oci:"); isLayout {
		// The name may hold colons itself: it starts at the first one after the
		// directory's last slash.
		i := strings.LastIndexByte(rest, '/')
		if j := strings.IndexByte(rest[i+1:], ':'); j >= 0 {
			return rest[:i+1+j], rest[i+1+j+1:], true
		}
		return rest, "", true
	}
	if strings.HasPrefix(image, "/") || strings.HasPrefix(image, "./") || strings.HasPrefix(image, "../") {
		return image, "", true // no repository's name begins so
	}
	switch ext := filepath.Ext(image); ext {
	case ".tar", ".tgz", ".gz", ".xz", ".zst":
		return image, "", true
	}
	return "", "", false
}

// digestOf returns the digest of what a name stands for in the store, "" if
// there is none.
func digestOf(s *store.Store, name string) digest.Digest {
	e, ok, err := s.Lookup(name)
	if err != nil || !ok {
		return ""
	}
	return e.Digest
}

func firstLine(err error) string {
	s, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return s
}
