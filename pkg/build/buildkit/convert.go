package buildkit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// storeID names the local store among a session's content stores. It goes into
// the LLB, and so into keys: it must not change between runs.
const storeID = "kolla"

// External is an image from outside the tree, such as debian:trixie, that lies
// in the local store.
type External struct {
	Digest digest.Digest // of its manifest, for the platform that is built for
	Config []byte        // its image config, JSON
}

// ConvertOptions decide how all Dockerfiles of a run are converted.
type ConvertOptions struct {
	Platform  ocispecs.Platform
	BuildArgs map[string]string

	// Network is the default network of RUN steps: "" for the builder's own
	// default, "host" or "none".
	Network string

	// PackageCache names a cache that steps which install packages share, for a
	// distribution and architecture; "" for none. Keys do not depend on it.
	PackageCache string

	// NoCache makes the builder run every step again.
	NoCache bool

	// CacheNamespace sets steps' cache mounts apart: those of another namespace
	// hold what a package manager knew of its repositories before they moved.
	// It is in no key.
	CacheNamespace string

	// VolatileLabels are labels that say when or as what an image was built.
	// They are in the image and not in its key: otherwise a new tag or a new
	// day would rebuild what has not changed.
	VolatileLabels []string

	// ForKeys says that what comes out will be keyed and not built. An image's
	// children then stand on its key instead of on its LLB: each Dockerfile is
	// converted by itself, in time and memory that do not grow with what is
	// above it.
	ForKeys bool

	// Epoch is what RUN steps find in SOURCE_DATE_EPOCH, which programs that
	// write the date into files take for it: useradd, Python's compiler. It is
	// not in the image's environment and in no key. Zero for none.
	Epoch time.Time

	// External resolves an image that is not one of the tree's own.
	External func(ctx context.Context, ref string) (External, error)
}

// Dockerfile is one rendered Dockerfile with what belongs to it.
type Dockerfile struct {
	Name      string // image name, for messages
	Reference string // full name, as children's FROM lines have it
	Path      string // where it lies, for messages
	Content   []byte
	Context   []ContextFile
	Labels    map[string]string

	parsed *parsed // nil until it is
}

// Definition is an image ready to be built.
type Definition struct {
	Name   string
	Path   string
	LLB    *llb.Definition
	Config []byte        // image config, JSON
	Base   []byte        // image config of what FROM names, JSON; nil for scratch
	Key    digest.Digest // over everything that decides the content

	// Parts are digests of what the key is made of, by a name that users
	// understand; the parents among the converted images are left out.
	Parts map[string]digest.Digest
	// External are the images from outside that it stands on, as written.
	External []string

	// Effort is a guess at how long its steps take, from what they say.
	Effort time.Duration
}

// Converter converts a run's Dockerfiles, parents before children. Images that
// are not each other's ancestors may be converted at once.
type Converter struct {
	opts   ConvertOptions
	mu     sync.Mutex
	images map[string]spliced // by normalized reference
}

// spliced is what a child needs of an image that is its parent.
type spliced struct {
	state    llb.State
	config   []byte
	external bool
	digest   digest.Digest // of an external image

	key digest.Digest // with ForKeys: state is made of it for the first child
}

// NewConverter returns a Converter that has seen no image yet.
func NewConverter(opts ConvertOptions) *Converter {
	return &Converter{opts: opts, images: map[string]spliced{}}
}

// Convert turns one Dockerfile into LLB. What BuildKit's frontend cannot take
// at all is an error too, not a panic: Dockerfiles are untrusted. Images that its FROM lines name must
// have been converted before, or be known to ConvertOptions.External. Errors
// about the Dockerfile are *DockerfileError.
func (c *Converter) Convert(ctx context.Context, d Dockerfile) (def *Definition, err error) {
	defer func() {
		if r := recover(); r != nil {
			def, err = nil, &DockerfileError{Path: d.Path, Err: fmt.Errorf("BuildKit's Dockerfile frontend gave up: %v", r)}
		}
	}()
	return c.convert(ctx, d)
}

func (c *Converter) convert(ctx context.Context, d Dockerfile) (*Definition, error) {
	stages, args, err := parseStages(d)
	if err != nil {
		return nil, err
	}
	if err := c.expandFrom(d, stages, args); err != nil {
		return nil, err
	}
	own, err := contextState(d.Context, usedPaths(stages))
	if err != nil {
		return nil, fmt.Errorf("build context of %s: %w", d.Name, err)
	}
	if err := missingCopy(d, stages); err != nil {
		return nil, err
	}
	inputs := map[string]llb.State{dockerui.DefaultLocalNameContext: own}
	opts := map[string]string{}
	parts := map[string]digest.Digest{"context": contextDigest(d.Context), "settings": c.settings(d)}
	text := string(d.Content)
	var external []string
	for _, name := range imageNames(stages) {
		img, err := c.lookup(ctx, name)
		if err != nil {
			return nil, &DockerfileError{Path: d.Path, Line: name.line, Source: sourceLine(d.Content, name.line), Err: err}
		}
		key := "image:" + name.text
		inputs[key] = img.state
		meta, err := json.Marshal(map[string][]byte{exptypes.ExporterImageConfigKey: img.config})
		if err != nil {
			return nil, err
		}
		opts["context:"+name.norm] = "input:" + key
		opts["input-metadata:"+key] = string(meta)
		if img.external {
			external = append(external, name.text)
			parts["FROM "+name.text] = img.digest
		} else {
			// A parent's tag is part of the text and decides nothing.
			text = strings.ReplaceAll(text, name.text, "parent")
		}
	}
	parts["Dockerfile"] = digest.FromString(text)
	if c.opts.NoCache {
		opts["no-cache"] = ""
	}
	ui, err := dockerui.NewClient(&inputsClient{opts: opts, inputs: inputs})
	if err != nil {
		return nil, err
	}
	conf := dockerui.Config{BuildArgs: maps.Clone(c.opts.BuildArgs), Labels: d.Labels}
	if !c.opts.ForKeys {
		conf.CacheIDNamespace = c.opts.CacheNamespace
	}
	switch c.opts.Network {
	case "host":
		conf.NetworkMode = pb.NetMode_HOST
	case "none":
		conf.NetworkMode = pb.NetMode_NONE
	}
	res, err := dockerfile2llb.Dockerfile2LLB(ctx, d.Content, dockerfile2llb.ConvertOpt{
		Config:         conf,
		Client:         ui,
		SourceMap:      llb.NewSourceMap(nil, d.Path, "Dockerfile", d.Content),
		TargetPlatform: &c.opts.Platform,
	})
	if err != nil {
		return nil, dockerfileError(d, err)
	}
	def, err := res.State.Marshal(ctx)
	if err != nil {
		return nil, fmt.Errorf("LLB of %s: %w", d.Name, err)
	}
	config, err := json.Marshal(res.Image)
	if err != nil {
		return nil, err
	}
	var base []byte
	if res.BaseImage != nil {
		if base, err = json.Marshal(res.BaseImage); err != nil {
			return nil, err
		}
	}
	key, keyed, err := c.key(def, res.Image)
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", d.Name, err)
	}
	if c.opts.PackageCache != "" && !c.opts.ForKeys {
		if def, err = addPackageCaches(ctx, def, path.Join(c.opts.PackageCache, c.opts.CacheNamespace)); err != nil {
			return nil, fmt.Errorf("LLB of %s: %w", d.Name, err)
		}
	}
	norm, err := normalize(d.Reference)
	if err != nil {
		return nil, err
	}
	made := spliced{state: res.State, config: config}
	if c.opts.ForKeys {
		made = spliced{key: key, config: keyed}
	}
	c.mu.Lock()
	c.images[norm] = made
	c.mu.Unlock()
	return &Definition{Name: d.Name, Path: d.Path, LLB: def, Config: config, Base: base, Key: key, Parts: parts, External: external, Effort: effort(stages)}, nil
}

// settings digests what decides an image beside its files.
func (c *Converter) settings(d Dockerfile) digest.Digest {
	labels := maps.Clone(d.Labels)
	for _, l := range c.opts.VolatileLabels {
		delete(labels, l)
	}
	// Maps are printed in the order of their keys.
	return digest.FromString(fmt.Sprint(c.opts.Platform, c.opts.BuildArgs, c.opts.Network, labels))
}

// lookup finds an image by the name that a Dockerfile uses, converted earlier
// in this run or external.
func (c *Converter) lookup(ctx context.Context, name imageName) (spliced, error) {
	c.mu.Lock()
	img, ok := c.images[name.norm]
	c.mu.Unlock()
	if ok && img.key == "" {
		return img, nil
	}
	if ok {
		var err error
		if img.state, err = c.stored("parent", img.key, img.config, ""); err != nil {
			return spliced{}, fmt.Errorf("image config of %s: %w", name.text, err)
		}
		img.key = ""
		c.mu.Lock()
		c.images[name.norm] = img
		c.mu.Unlock()
		return img, nil
	}
	if c.opts.External == nil {
		return spliced{}, fmt.Errorf("image %s is not one of the tree's", name.text)
	}
	ext, err := c.opts.External(ctx, name.text)
	if err != nil {
		return spliced{}, err
	}
	st, err := c.stored("external", ext.Digest, ext.Config, "load "+name.text)
	if err != nil {
		return spliced{}, fmt.Errorf("image config of %s: %w", name.text, err)
	}
	if !c.opts.Epoch.IsZero() && !c.opts.ForKeys {
		st = st.AddEnv("SOURCE_DATE_EPOCH", strconv.FormatInt(c.opts.Epoch.Unix(), 10))
	}
	img = spliced{state: st, config: ext.Config, external: true, digest: ext.Digest}
	c.mu.Lock()
	c.images[name.norm] = img
	c.mu.Unlock()
	return img, nil
}

// stored is the state of an image that is named by a digest in the store.
func (c *Converter) stored(kind string, d digest.Digest, config []byte, title string) (llb.State, error) {
	opts := []llb.OCILayoutOption{llb.OCIStore("", storeID), llb.Platform(c.opts.Platform)}
	if title != "" {
		opts = append(opts, llb.WithCustomName(title))
	}
	return llb.OCILayout("kolla-build/"+kind+"@"+d.String(), opts...).WithImageConfig(config)
}

// key digests what decides an image's content: the LLB, whose head digest is a
// Merkle root over parents, commands and context files, and the image config
// without what only says when it was built. That config comes back too.
func (c *Converter) key(def *llb.Definition, img *dockerspec.DockerOCIImage) (key digest.Digest, config []byte, err error) {
	var head digest.Digest
	if len(def.Def) > 0 {
		if head, err = def.Head(); err != nil {
			return "", nil, err
		}
	}
	clean := *img
	clean.Created = nil
	clean.History = nil // it repeats the commands, LABEL ones with their values
	clean.Config.Labels = maps.Clone(img.Config.Labels)
	for _, l := range c.opts.VolatileLabels {
		delete(clean.Config.Labels, l)
	}
	// Nested Dockerfile ONBUILD and healthcheck fields are part of Config, so
	// the JSON of the whole is what children inherit.
	if config, err = json.Marshal(clean); err != nil {
		return "", nil, err
	}
	h := digest.Canonical.Digester()
	fmt.Fprintf(h.Hash(), "kolla-build image key 1\n%s\n%s\n", head, config)
	return h.Digest(), config, nil
}

// imageName is an image that a Dockerfile names, in FROM or --from.
type imageName struct {
	text string // as written
	norm string // as BuildKit's named contexts are keyed
	line int
}

func normalize(ref string) (string, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", fmt.Errorf("image name %q: %w", ref, err)
	}
	return strings.TrimSuffix(reference.FamiliarString(named), ":latest"), nil
}

// imageNames lists the images from outside that a Dockerfile's stages need.
// Variables in FROM have been expanded.
func imageNames(stages []instructions.Stage) []imageName {
	known := map[string]bool{"scratch": true, "context": true}
	var names []imageName
	add := func(text string, line int) {
		if text == "" || known[strings.ToLower(text)] || strings.Contains(text, "$") {
			return
		}
		norm, err := normalize(text)
		if err != nil {
			return // BuildKit says it with the place
		}
		known[text] = true
		names = append(names, imageName{text, norm, line})
	}
	for i, st := range stages {
		line := 0
		if len(st.Location) > 0 {
			line = st.Location[0].Start.Line
		}
		add(st.BaseName, line)
		if st.Name != "" {
			known[strings.ToLower(st.Name)] = true
		}
		known[fmt.Sprint(i)] = true
	}
	for _, st := range stages {
		for _, cmd := range st.Commands {
			line := 0
			if loc := cmd.Location(); len(loc) > 0 {
				line = loc[0].Start.Line
			}
			switch cmd := cmd.(type) {
			case *instructions.CopyCommand:
				add(cmd.From, line)
			case *instructions.RunCommand:
				for _, m := range instructions.GetMounts(cmd) {
					add(m.From, line)
				}
			}
		}
	}
	return names
}

// expandFrom puts the values of global ARGs and build arguments into the FROM
// lines, so that every image that they name is resolved here and none by the
// builder, behind the key's back.
func (c *Converter) expandFrom(d Dockerfile, stages []instructions.Stage, args []instructions.ArgCommand) error {
	values := map[string]string{"TARGETPLATFORM": platforms.Format(c.opts.Platform), "TARGETOS": c.opts.Platform.OS,
		"TARGETARCH": c.opts.Platform.Architecture, "TARGETVARIANT": c.opts.Platform.Variant,
		"BUILDPLATFORM": platforms.Format(c.opts.Platform)} // a stage for the builder is right on the target, too, if slower
	lex := shell.NewLex('\\')
	expand := func(word string) (string, map[string]struct{}, error) {
		var env []string
		for k, v := range values {
			env = append(env, k+"="+v)
		}
		res, err := lex.ProcessWordWithMatches(word, shell.EnvsFromSlice(env))
		return res.Result, res.Unmatched, err
	}
	for _, a := range args {
		for _, kv := range a.Args {
			if v, ok := c.opts.BuildArgs[kv.Key]; ok {
				values[kv.Key] = v
			} else if kv.Value != nil {
				v, _, err := expand(*kv.Value)
				if err != nil {
					return dockerfileError(d, err)
				}
				values[kv.Key] = v
			}
		}
	}
	for i := range stages {
		name, missing, err := expand(stages[i].BaseName)
		if err == nil && name == "" {
			err = fmt.Errorf("FROM %s: no value for %s", stages[i].BaseName, strings.Join(slices.Sorted(maps.Keys(missing)), ", "))
		}
		if p := stages[i].Platform; err == nil && p != "" {
			p, _, err = expand(p)
			if want, perr := platforms.Parse(p); err == nil && (perr != nil || !platforms.OnlyStrict(c.opts.Platform).Match(want)) {
				err = fmt.Errorf("FROM --platform=%s: all images of a run are for %s, which --platform says", p, platforms.Format(c.opts.Platform))
			}
		}
		if err != nil {
			line := 0
			if len(stages[i].Location) > 0 {
				line = stages[i].Location[0].Start.Line
			}
			return &DockerfileError{Path: d.Path, Line: line, Source: sourceLine(d.Content, line), Err: err}
		}
		stages[i].BaseName = name
	}
	return nil
}

func parseStages(d Dockerfile) ([]instructions.Stage, []instructions.ArgCommand, error) {
	if p := d.parsed; p != nil {
		return p.stages, p.args, nil
	}
	if len(bytes.TrimSpace(d.Content)) == 0 {
		return nil, nil, &DockerfileError{Path: d.Path, Err: errors.New("the rendered Dockerfile is empty")}
	}
	ast, err := parser.Parse(bytes.NewReader(d.Content))
	if err != nil {
		return nil, nil, dockerfileError(d, err)
	}
	stages, args, err := instructions.Parse(ast.AST, nil)
	if err != nil {
		return nil, nil, dockerfileError(d, err)
	}
	for _, st := range stages {
		for _, cmd := range st.Commands {
			if ex, ok := cmd.(interface {
				Expand(instructions.SingleWordExpander) error
			}); ok {
				// RUN keeps its mounts unparsed until it is expanded.
				if run, isRun := ex.(*instructions.RunCommand); isRun {
					if err := run.Expand(func(w string) (string, error) { return w, nil }); err != nil {
						return nil, nil, dockerfileError(d, err)
					}
				}
			}
		}
	}
	return stages, args, nil
}
