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
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
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
		_, ok, err := d.store.Lookup(ref)
		if err == nil && ok {
			return d.bases.resolve(ctx, ref)
		}
		return buildkit.External{}, &HintError{fmt.Errorf("%s is skipped and not in the store", f.Name), "build it once without --skip-parents"}
	}
	return d.bases.resolve(ctx, ref)
}

// defined is what definer.define makes of the selected images.
type defined struct {
	defs   map[string]*buildkit.Definition
	inputs []plan.Input // all selected images, parents first
	// failed has the images that could not be defined, for a source that cannot
	// be fetched or a mistake in their Dockerfile. They cost their descendants,
	// as a failed build does, and nobody else.
	failed map[string]error
}

// define converts the selected images, parents first. Only what the whole set
// stands on makes it fail as a whole: a root image, or an end of ctx.
func (d *definer) define(ctx context.Context) (*defined, error) {
	out := &defined{defs: map[string]*buildkit.Definition{}, failed: map[string]error{}}
	order := d.set.Selection.Order()
	contexts, errs := d.contexts(ctx, order)
	for i, im := range order {
		f := d.set.file(im.Name)
		in := plan.Input{Image: im.Name, Reference: f.Reference, Parts: map[string]string{}}
		if p := d.set.Graph.Parent(im.Name); p != nil {
			in.Parent = p.Name
		}
		blocked := false
		for _, p := range d.set.Graph.Parents(im.Name) {
			if d.set.Selection.Status(p.Name) == graph.Matched {
				in.Needs = append(in.Needs, p.Name)
				blocked = blocked || out.defs[p.Name] == nil
			}
		}
		if !blocked {
			def, err := (*buildkit.Definition)(nil), errs[i]
			if err == nil {
				def, err = d.conv.Convert(ctx, contexts[i])
			}
			switch {
			case err == nil:
				out.defs[im.Name] = def
				in.Key = def.Key.String()
				for name, dg := range def.Parts {
					in.Parts[name] = dg.String()
				}
			case ctx.Err() != nil || in.Parent == "":
				return nil, err
			default:
				out.failed[im.Name] = err
			}
		}
		out.inputs = append(out.inputs, in)
	}
	return out, ctx.Err()
}

// contexts gathers the build contexts of images, several at a time: sources
// may have to be fetched for them.
func (d *definer) contexts(ctx context.Context, images []*graph.Image) ([]buildkit.Dockerfile, []error) {
	out, errs := make([]buildkit.Dockerfile, len(images)), make([]error, len(images))
	var g errgroup.Group
	g.SetLimit(8)
	for i, im := range images {
		g.Go(func() error {
			out[i], errs[i] = d.dockerfile(ctx, d.set.file(im.Name))
			return nil
		})
	}
	_ = g.Wait() // each has its own error in errs
	return out, errs
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
		cf, err := d.contextFile(ctx, file.Path, file.Mode, file.Size, "", file.Open)
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
	archives, err := d.arch.archives(ctx, f.Name, "", wants)
	if err != nil {
		return df, fmt.Errorf("sources of %s: %w", f.Name, err)
	}
	for _, a := range archives {
		cf, err := d.contextFile(ctx, a.Name, 0o644, a.Size, digest.Digest(a.Digest), func() (io.ReadCloser, error) { return os.Open(a.Path) })
		if err != nil {
			return df, fmt.Errorf("sources of %s: %w", f.Name, err)
		}
		df.Context = append(df.Context, cf)
	}
	return df, nil
}

// contextFile reads a small file, and puts a large one into the store. One
// whose digest is known, and that the store has, is not read.
func (d *definer) contextFile(ctx context.Context, path string, mode os.FileMode, size int64, known digest.Digest, open func() (io.ReadCloser, error)) (buildkit.ContextFile, error) {
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
		cf.Blob, _, err = d.store.WriteBlob(ctx, r, known, size)
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
