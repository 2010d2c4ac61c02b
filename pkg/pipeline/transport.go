package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/bootstrap"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/engine"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
)

// Images lists the images in the store, as a table or as JSON.
func Images(cfg *config.Config, env Env, asJSON bool) error {
	s, err := openToRead(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	entries, err := stored(s, cfg.Regex, false)
	if err != nil {
		return err
	}
	if asJSON {
		type image struct {
			Name     string `json:"name"`
			Digest   string `json:"digest"`
			Size     int64  `json:"size"`
			Kind     string `json:"kind"`
			Created  string `json:"created"`
			Key      string `json:"key,omitempty"`
			Platform string `json:"platform,omitempty"` // several by comma
		}
		out := []image{}
		for _, e := range entries {
			out = append(out, image{e.Name, e.Digest.String(), e.Size, string(e.Kind), e.Created.UTC().Format("2006-01-02T15:04:05Z"), e.Key, platformsIn(s, e)})
		}
		return writeJSON(env.Stdout, out)
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tPLATFORM\tDIGEST\tSIZE\tSTORED")
	for _, e := range entries {
		fmt.Fprintf(w, "%s\t%s\t%.19s\t%s\t%s\n", e.Name, platformsIn(s, e), e.Digest, units.Bytes(e.Size), e.Stored.Local().Format("2006-01-02 15:04"))
	}
	return w.Flush()
}

// Collect forgets the images that no name holds any more and that are older
// than keep, and frees what nothing refers to.
func Collect(ctx context.Context, cfg *config.Config, env Env, keep time.Duration) error {
	s, err := OpenStore(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	forgotten, err := s.Forget(time.Now().Add(-keep))
	if err != nil {
		return err
	}
	res, err := s.GC(ctx)
	if err != nil {
		return err
	}
	env.Notice("%d images forgotten, %d blobs removed, %s freed", forgotten, res.Blobs, units.Bytes(res.Bytes))
	return nil
}

// Remove takes names away from images in the store: those that the regexes
// match, base images too.
func Remove(cfg *config.Config, env Env) error {
	if len(cfg.Regex) == 0 {
		return &HintError{errors.New("remove: no image named"), "kolla-build remove '^nova' takes those away; kolla-build gc frees their space"}
	}
	s, err := OpenStore(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	entries, err := chosen(cfg, env, s, false)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	n, err := s.Remove(names...)
	env.Notice("%d names removed; kolla-build gc frees the space", n)
	return err
}

// chosen returns the stored images that the command line asks for: by regexes,
// and by the tag and registry that are set.
func chosen(cfg *config.Config, env Env, s *store.Store, built bool) ([]store.Entry, error) {
	entries, err := stored(s, cfg.Regex, built)
	if err != nil {
		return nil, err
	}
	return asked(cfg, env, entries)
}

// stored returns the named images of the store that patterns match by the last
// part of their names, without base images if built is true.
func stored(s *store.Store, patterns []string, built bool) ([]store.Entry, error) {
	all, err := s.Entries()
	if err != nil {
		return nil, err
	}
	compiled, err := imageset.CompilePatterns(patterns)
	if err != nil {
		return nil, err
	}
	var out []store.Entry
	for _, e := range all {
		if e.Name == "" || built && e.Kind == store.KindBase {
			continue
		}
		if match, err := compiled.Match(shortName(e.Name)); err != nil {
			return nil, err
		} else if match {
			out = append(out, e)
		}
	}
	if len(out) == 0 && len(patterns) > 0 {
		return nil, &HintError{fmt.Errorf("no image in %s matches %q", s.Dir(), patterns), "kolla-build images lists what there is"}
	}
	return out, nil
}

// shortName is an image's name without registry, namespace and tag.
func shortName(ref string) string {
	for i := len(ref) - 1; i >= 0; i-- {
		if ref[i] == '/' {
			ref = ref[i+1:]
			break
		}
	}
	for i := range len(ref) {
		if ref[i] == ':' || ref[i] == '@' {
			return ref[:i]
		}
	}
	return ref
}

// Save writes built images to a bundle: those that the regexes match, of the
// configuration's tag where one is set.
func Save(ctx context.Context, cfg *config.Config, env Env, output string) error {
	if output == "" {
		return &HintError{errors.New("save: no --output"), "kolla-build save --output set.tar, or - for standard output"}
	}
	s, err := openToRead(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	entries, err := chosen(cfg, env, s, true)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return &HintError{fmt.Errorf("save: no built images in %s", s.Dir()), "build some first, or see kolla-build images"}
	}
	sum, err := bundle.Save(ctx, s, entries, output, bundle.SaveOptions{Stdout: env.Stdout})
	if err != nil {
		return healed(ctx, s, err)
	}
	env.Notice("%s: %d images, %d blobs, %s", output, len(sum.Images), sum.Blobs, units.Bytes(sum.Bytes))
	env.Notice("on the other side: kolla-build load %s --push --registry localhost:4000", output)
	return nil
}

// asked keeps the entries of the registry, namespace and tag that the user
// named; what was not named does not matter.
func asked(cfg *config.Config, env Env, entries []store.Entry) ([]store.Entry, error) {
	cfg, err := withNormalizedNames(cfg, env)
	if err != nil {
		return nil, err
	}
	var out []store.Entry
	for _, e := range entries {
		repo := e.Name
		if i := strings.LastIndexByte(repo, '/'); i >= 0 {
			repo = repo[:i]
		}
		if cfg.IsSet("tag") && !hasTag(e.Name, cfg.Tag) ||
			cfg.IsSet("registry") && !strings.HasPrefix(e.Name, cfg.Registry+"/") ||
			cfg.IsSet("namespace") && repo != cfg.Namespace && !strings.HasSuffix(repo, "/"+cfg.Namespace) {
			continue
		}
		out = append(out, e)
	}
	return out, nil
}

func hasTag(name, tag string) bool {
	return len(name) > len(tag) && name[len(name)-len(tag)-1:] == ":"+tag
}

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
