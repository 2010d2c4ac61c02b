package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/kolla-build/kolla-build/pkg/source"
	"github.com/kolla-build/kolla-build/pkg/squash"
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
	set     *imageset.Set
	store   *store.Store
	bases   *bases
	env     Env
	arch    *archiver
	options buildkit.ConvertOptions // for keys: without what builds get but keys do not hold
	epoch   time.Time               // SOURCE_DATE_EPOCH, zero if it is not set
}

func newDefiner(set *imageset.Set, s *store.Store, b *bases, env Env) (*definer, error) {
	cfg := set.Config
	d := &definer{set: set, store: s, bases: b, env: env}
	var err error
	if d.epoch, err = sourceDateEpoch(env); err != nil {
		return nil, err
	}
	if d.arch, err = newArchiver(cfg, env, b.local); err != nil {
		return nil, err
	}
	network := ""
	if cfg.NetworkMode == "none" || cfg.NetworkMode == "host" && hostNetworkAsked(cfg) {
		network = cfg.NetworkMode
	}
	d.options = buildkit.ConvertOptions{
		Platform: b.platform, BuildArgs: cfg.BuildArgs, Network: network,
		VolatileLabels: volatileLabels, External: d.external,
	}
	return d, nil
}

// hostNetworkAsked reports whether builds ask for the host's network. Host is
// the default and what a builder that we start gives anyway; one that runs
// elsewhere must allow it first, so there it is asked for only where the user
// wrote it.
func hostNetworkAsked(cfg *config.Config) bool {
	return cfg.BuildkitAddr != "" && cfg.IsSet("network_mode") && cfg.NetworkMode == "host"
}

// external resolves an image that no conversion has made: one from outside, or
// one of the tree's that --skip-parents or --skip-existing left out.
func (d *definer) external(ctx context.Context, ref string) (buildkit.External, error) {
	for _, f := range d.set.Files {
		if f.Reference != ref {
			continue
		}
		_, ok, err := d.store.Lookup(ref)
		if err != nil {
			return buildkit.External{}, err
		}
		if e := d.bases.engine; !ok && e != nil && e.Has(ref) {
			d.bases.env.Notice("copying %s from %s", ref, e)
			if err := engineload.Copy(ctx, e, d.store, ref, store.KindBuilt); err != nil {
				return buildkit.External{}, err
			}
			ok = true
		}
		if ok {
			return d.bases.resolve(ctx, ref)
		}
		return buildkit.External{}, &HintError{fmt.Errorf("%s is skipped and not in the store", f.Name), "build it once without --skip-parents"}
	}
	return d.bases.resolve(ctx, ref)
}

// defined is what definer.define makes of the selected images.
type defined struct {
	files   map[image.ID]buildkit.Dockerfile
	created map[image.ID]time.Time
	inputs  []plan.Input // all selected images, parents first
	// failed has the images that could not be defined, for a source that cannot
	// be fetched or a mistake in their Dockerfile. They cost their descendants,
	// as a failed build does, and nobody else.
	failed map[image.ID]error
	// options has, in runs for several platforms, those of each image's.
	options map[image.ID]buildkit.ConvertOptions
	// definers has, in such runs, who defined each image.
	definers map[image.ID]*definer
}

// define converts the selected images, parents first. Only what the whole set
// stands on makes it fail as a whole: a root image, or an end of ctx.
func (d *definer) define(ctx context.Context) (*defined, error) {
	order := d.set.Selection.Order()
	opts := d.options
	opts.ForKeys = true
	conv := buildkit.NewConverter(opts)
	one := make([]one, len(order))
	index := make(map[string]int, len(order))
	for i, im := range order {
		one[i].done = make(chan struct{})
		index[im.Name] = i
	}
	// Several at a time: sources may have to be fetched for them. They are begun
	// parents first, so that whoever waits for a parent waits for one at work.
	var g errgroup.Group
	g.SetLimit(8)
	for i, im := range order {
		g.Go(func() error {
			defer close(one[i].done)
			o := &one[i]
			o.prepared = d.prepare(ctx, d.set.File(im.Name))
			for _, p := range d.set.Graph.Parents(im.Name) {
				if j, ok := index[p.Name]; ok {
					<-one[j].done
					o.needs = append(o.needs, image.ID{Name: p.Name})
					o.blocked = o.blocked || one[j].def == nil
				}
			}
			if o.err == nil && !o.blocked {
				o.def, o.err = conv.Convert(ctx, o.file)
				o.file.Forget()
				if o.def != nil {
					// They are as large as the rest together, and made anew for building.
					o.def.LLB, o.def.Config = nil, nil
				}
			}
			return nil
		})
	}
	_ = g.Wait() // each has its own error
	out := &defined{files: make(map[image.ID]buildkit.Dockerfile, len(order)), created: make(map[image.ID]time.Time, len(order)), failed: map[image.ID]error{}}
	for i, im := range order {
		o := &one[i]
		id := image.ID{Name: im.Name}
		in := plan.Input{Image: id, Reference: o.file.Reference, Needs: o.needs, Parts: map[string]string{}}
		if p := d.set.Graph.Parent(im.Name); p != nil {
			in.Parent = image.ID{Name: p.Name}
		}
		switch {
		case o.def != nil:
			out.files[id] = o.file
			out.created[id] = d.created(out, in.Needs, o.def.External, o.newest)
			in.Key, in.Effort = o.def.Key, o.def.Effort
			if d.set.Config.Squash {
				in.Key, in.Parts["squash"] = squashKey(in.Key), squash.Version
			}
			for name, dg := range o.def.Parts {
				in.Parts[name] = dg.String()
			}
		case o.blocked:
		case ctx.Err() != nil || in.Parent.IsZero():
			return nil, o.err
		default:
			out.failed[id] = o.err
		}
		out.inputs = append(out.inputs, in)
	}
	return out, ctx.Err()
}

// one is an image on its way to its key.
type one struct {
	prepared
	needs   []image.ID // those of its parents that are selected
	blocked bool       // one of them has no definition
	def     *buildkit.Definition
	done    chan struct{}
}

// prepared is an image's Dockerfile with its context.
type prepared struct {
	file   buildkit.Dockerfile
	newest time.Time // of its sources, zero if none has a time
	err    error
}

// created is the time that an image carries: SOURCE_DATE_EPOCH if it is set,
// else that of the newest input that has one, along its parents: so that the
// same inputs give the same image on any day and in any selection.
func (d *definer) created(so *defined, needs []image.ID, external []string, newest time.Time) time.Time {
	if !d.epoch.IsZero() {
		return d.epoch
	}
	for _, n := range needs {
		if t := so.created[n]; t.After(newest) {
			newest = t
		}
	}
	for _, ref := range external {
		if t := d.bases.createdOf(ref); t.After(newest) {
			newest = t
		}
	}
	return newest
}

func (d *definer) prepare(ctx context.Context, f *render.Dockerfile) (p prepared) {
	p.file = buildkit.Dockerfile{Name: f.Name, Reference: f.Reference, Path: f.Template, Content: f.Content, Labels: d.labels(f)}
	inline := int64(0)
	add := func(path string, mode os.FileMode, size int64, known digest.Digest, open func() (io.ReadCloser, error)) error {
		limit := buildkit.InlineLimit()
		if inline+size > buildkit.InlineBudget {
			limit = 0
		}
		cf, err := d.contextFile(ctx, path, mode, size, limit, known, open)
		inline += int64(len(cf.Data))
		p.file.Context = append(p.file.Context, cf)
		return err
	}
	used, all := p.file.ContextPaths()
	copied := func(dir string) bool {
		return all || slices.ContainsFunc(used, func(u string) bool { return u == dir || strings.HasPrefix(u, dir+"/") })
	}
	if f.Patches != nil && copied("patches") {
		p.err = fmt.Errorf("patches of %s: %w", f.Name, f.Patches)
		return p
	}
	for _, file := range f.Context {
		if err := add(file.Path, file.Mode, file.Size, "", file.Open); err != nil {
			p.err = fmt.Errorf("build context of %s: %w", f.Name, err)
			return p
		}
	}
	// Archives are fetched for images that use them: a tree for packages names
	// none, whatever the configuration says about sources.
	wants := func(name string) bool {
		return all && d.set.Config.InstallType == "source" || slices.Contains(used, name)
	}
	var own []source.ContextEntry
	for _, file := range f.Context {
		if dir, _, _ := strings.Cut(filepath.ToSlash(file.Path), "/"); dir == "plugins" || dir == "additions" {
			own = append(own, source.ContextEntry{Path: filepath.ToSlash(file.Path), Mode: file.Mode, Open: file.Open})
		}
	}
	archives, err := d.arch.archives(ctx, f.Name, own, wants)
	for _, a := range archives {
		if err == nil {
			err = add(a.Name, 0o644, a.Size, digest.Digest(a.Digest), func() (io.ReadCloser, error) { return os.Open(a.Path) })
		}
		if a.Modified.After(p.newest) {
			p.newest = a.Modified
		}
	}
	if err != nil {
		p.err = fmt.Errorf("sources of %s: %w", f.Name, err)
	}
	return p
}

// contextFile reads a small file, and puts a large one into the store. One
// whose digest is known, and that the store has, is not read.
func (d *definer) contextFile(ctx context.Context, path string, mode os.FileMode, size, limit int64, known digest.Digest, open func() (io.ReadCloser, error)) (buildkit.ContextFile, error) {
	cf := buildkit.ContextFile{Path: filepath.ToSlash(path), Mode: mode}
	if mode.IsDir() {
		return cf, nil
	}
	r, err := open()
	if err != nil {
		return cf, err
	}
	defer r.Close()
	if size > limit {
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

// proxyVariables are handed on to builds, as upstream does. They change how
// something is fetched and not what, so they are in no key and in no image.
var proxyVariables = []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy"}

func withProxies(args map[string]string, env Env) map[string]string {
	all := map[string]string{}
	for _, name := range proxyVariables {
		if v := env.Getenv(name); v != "" {
			all[name] = v
		}
	}
	maps.Copy(all, args)
	return all
}

func sourceDateEpoch(env Env) (time.Time, error) {
	s := strings.TrimSpace(env.Getenv("SOURCE_DATE_EPOCH"))
	if s == "" {
		return time.Time{}, nil
	}
	var secs int64
	if _, err := fmt.Sscanf(s, "%d", &secs); err != nil || fmt.Sprint(secs) != s || secs < 0 {
		return time.Time{}, &HintError{fmt.Errorf("SOURCE_DATE_EPOCH=%s in the environment is not a number of seconds", s), "it holds seconds since 1970, such as `git log -1 --pretty=%ct` prints"}
	}
	return time.Unix(secs, 0).UTC(), nil
}
