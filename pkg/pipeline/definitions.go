package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// volatileLabels say when, as what and by which version of this tool an image
// was built. They do not count for its key.
var volatileLabels = []string{
	"org.opencontainers.image.created",
	"org.opencontainers.image.version",
	"build-date",
	"kolla_version",
}

// definer turns a set's rendered Dockerfiles into what the builder takes.
type definer struct {
	set   *Set
	store *store.Store
	bases *bases
	env   Env
	arch  *archiver
	conv  *buildkit.Converter
	epoch time.Time // SOURCE_DATE_EPOCH, zero if it is not set
}

func newDefiner(set *Set, s *store.Store, b *bases, env Env) (*definer, error) {
	cfg := set.Config
	d := &definer{set: set, store: s, bases: b, env: env}
	var err error
	if d.epoch, err = sourceDateEpoch(env); err != nil {
		return nil, err
	}
	if d.arch, err = newArchiver(cfg, env); err != nil {
		return nil, err
	}
	network := ""
	if cfg.IsSet("network_mode") || cfg.NetworkMode == "none" {
		// The default, host, is what a builder that we start gives anyway. One
		// that runs elsewhere must allow it first, so it is asked for by name only.
		network = cfg.NetworkMode
	}
	d.conv = buildkit.NewConverter(buildkit.ConvertOptions{
		Platform: b.platform, BuildArgs: buildArgs(cfg, env), Network: network, NoCache: !cfg.Cache,
		VolatileLabels: volatileLabels, External: d.external,
	})
	return d, nil
}

// external resolves an image that no conversion has made: one from outside, or
// one of the tree's that --skip-parents or --skip-existing left out.
func (d *definer) external(ctx context.Context, ref string) (buildkit.External, error) {
	for _, f := range d.set.Files {
		if f.Reference != ref {
			continue
		}
		e, ok, err := d.store.Lookup(ref)
		if err == nil && ok {
			return d.bases.resolve(ctx, ref)
		}
		return buildkit.External{}, &HintError{fmt.Errorf("%s is skipped and not in the store", f.Name), "build it once without --skip-parents: " + e.Name}
	}
	return d.bases.resolve(ctx, ref)
}

// define converts the selected images, parents first.
func (d *definer) define(ctx context.Context) (map[string]*buildkit.Definition, []plan.Input, error) {
	defs := map[string]*buildkit.Definition{}
	var inputs []plan.Input
	for _, im := range d.set.Selection.Order() {
		f := d.set.file(im.Name)
		df, err := d.dockerfile(ctx, f)
		if err != nil {
			return nil, nil, err
		}
		def, err := d.conv.Convert(ctx, df)
		if err != nil {
			return nil, nil, err
		}
		defs[im.Name] = def
		in := plan.Input{Image: im.Name, Reference: f.Reference, Key: def.Key.String(), Parts: map[string]string{}}
		if p := d.set.Graph.Parent(im.Name); p != nil {
			in.Parent = p.Name
		}
		for _, p := range d.set.Graph.Parents(im.Name) {
			if d.set.Selection.Status(p.Name) == graph.Matched {
				in.Needs = append(in.Needs, p.Name)
			}
		}
		for name, dg := range def.Parts {
			in.Parts[name] = dg.String()
		}
		inputs = append(inputs, in)
	}
	return defs, inputs, nil
}

// created is the time that the run's images carry: SOURCE_DATE_EPOCH if it is
// set, else that of the newest input that has one, so that the same inputs give
// the same image on any day.
func (d *definer) created() time.Time {
	if !d.epoch.IsZero() {
		return d.epoch
	}
	if d.arch.newest.After(d.bases.created) {
		return d.arch.newest
	}
	return d.bases.created
}

func (d *definer) dockerfile(ctx context.Context, f *render.Dockerfile) (buildkit.Dockerfile, error) {
	df := buildkit.Dockerfile{Name: f.Name, Reference: f.Reference, Path: f.Template, Content: f.Content, Labels: d.labels(f)}
	used, all := buildkit.ContextPaths(f.Content)
	for _, file := range f.Context {
		cf, err := d.contextFile(ctx, file.Path, file.Mode, file.Size, file.Open)
		if err != nil {
			return df, fmt.Errorf("build context of %s: %w", f.Name, err)
		}
		df.Context = append(df.Context, cf)
	}
	// Archives are fetched for images that use them: a tree for packages names
	// none, whatever the configuration says about sources.
	wants := func(name string) bool {
		return all && d.set.Config.InstallType == "source" || slices.Contains(used, name)
	}
	archives, err := d.arch.archives(ctx, f.Name, wants)
	if err != nil {
		return df, fmt.Errorf("sources of %s: %w", f.Name, err)
	}
	for _, a := range archives {
		cf, err := d.contextFile(ctx, a.Name, 0o644, a.Size, func() (io.ReadCloser, error) { return os.Open(a.Path) })
		if err != nil {
			return df, fmt.Errorf("sources of %s: %w", f.Name, err)
		}
		df.Context = append(df.Context, cf)
	}
	return df, nil
}

// contextFile reads a small file, and puts a large one into the store.
func (d *definer) contextFile(ctx context.Context, path string, mode os.FileMode, size int64, open func() (io.ReadCloser, error)) (buildkit.ContextFile, error) {
	cf := buildkit.ContextFile{Path: filepath.ToSlash(path), Mode: mode}
	if mode.IsDir() {
		return cf, nil
	}
	r, err := open()
	if err != nil {
		return cf, err
	}
	defer r.Close()
	if size > buildkit.InlineLimit() {
		cf.Blob, _, err = d.store.WriteBlob(ctx, r, "", -1)
		return cf, err
	}
	var b bytes.Buffer
	_, err = io.Copy(&b, r)
	cf.Data = b.Bytes()
	return cf, err
}

// labels are the OCI labels that upstream puts on each image.
func (d *definer) labels(f *render.Dockerfile) map[string]string {
	cfg := d.set.Config
	return map[string]string{
		"org.opencontainers.image.title":       f.Name,
		"org.opencontainers.image.description": "OpenStack Kolla " + f.Name + " image",
		"org.opencontainers.image.version":     cfg.Tag,
		"org.opencontainers.image.authors":     cfg.Maintainer,
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
}

// proxyVariables are handed on to builds, as upstream does. The Dockerfile
// frontend keeps them out of images and of cache keys.
var proxyVariables = []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy"}

func buildArgs(cfg *config.Config, env Env) map[string]string {
	args := map[string]string{}
	for _, name := range proxyVariables {
		if v := env.Getenv(name); v != "" {
			args[name] = v
		}
	}
	for k, v := range cfg.BuildArgs {
		args[k] = v
	}
	return args
}

func sourceDateEpoch(env Env) (time.Time, error) {
	s := strings.TrimSpace(env.Getenv("SOURCE_DATE_EPOCH"))
	if s == "" {
		return time.Time{}, nil
	}
	var secs int64
	if _, err := fmt.Sscanf(s, "%d", &secs); err != nil || fmt.Sprint(secs) != s || secs < 0 {
		return time.Time{}, &HintError{fmt.Errorf("SOURCE_DATE_EPOCH=%s", s), "it holds seconds since 1970, such as `git log -1 --pretty=%ct` prints"}
	}
	return time.Unix(secs, 0).UTC(), nil
}
