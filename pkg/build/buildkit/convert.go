package buildkit

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// storeID names the local store among a session's content stores. It is part of the LLB
// and therefore of keys, so it must not change between runs.
const storeID = "kolla"

// External is an image from outside the tree, such as debian:trixie, that is in
// the local store.
type External struct {
	Digest digest.Digest // of its manifest for the platform of the build
	Config []byte        // its image config, JSON
}

// HasTriggers reports whether the image has ONBUILD instructions.
func (e External) HasTriggers() bool {
	triggers, err := triggersOf(e.Config)
	return len(triggers) > 0 || err != nil
}

// ConvertOptions apply to all Dockerfiles of a run.
type ConvertOptions struct {
	Platform  ocispecs.Platform
	BuildArgs map[string]string

	// Network is the network of RUN steps that do not set one: "" for the
	// builder's default, "host" or "none".
	Network string

	// PackageCache names a cache that steps which install packages share, for a
	// distribution and architecture; "" for none. It is not part of keys.
	PackageCache string

	// NoCache makes the builder run every step again.
	NoCache bool

	// CacheNamespace separates cache mounts: those of an earlier namespace hold
	// package lists from before the repositories changed. It is not part of
	// keys.
	CacheNamespace string

	// VolatileLabels are labels with the time or the tag with which an image was
	// built. They are part of the image and not of its key: a new tag or a new
	// day must not cause a rebuild.
	VolatileLabels []string

	// ForKeys is set if the result is needed for its key only, and not built. A
	// child then depends on its parent's key instead of its parent's LLB, so
	// that converting a Dockerfile takes the same time and memory at any depth.
	ForKeys bool

	// Epoch is the value of SOURCE_DATE_EPOCH in RUN steps, for programs that
	// write dates into files, such as useradd and Python's compiler. It is
	// neither in the image's environment nor part of keys. Zero for none.
	Epoch time.Time

	// Trust is the PEM of a certificate authority that RUN steps trust; nil for
	// none. It is neither in the image nor part of keys.
	Trust []byte

	// Env are variables of RUN steps, as NAME=VALUE, that a Dockerfile can set
	// differently. They are neither in the image nor part of keys.
	Env []string

	// External resolves an image that was not converted.
	External func(ctx context.Context, ref string) (External, error)
}

// Dockerfile is one rendered Dockerfile with its build context.
type Dockerfile struct {
	Name      string // image name, for messages
	Reference string // full name, as in children's FROM lines
	Path      string // for messages
	Content   []byte
	Context   []ContextFile
	// Ignored are the paths that IgnoreFile leaves out of the context, for messages.
	Ignored    []string
	IgnoreFile string
	// SourceDisabled is set if the configuration describes a source of the image and disables it.
	SourceDisabled bool
	Labels         map[string]string

	parsed *dockerfile.Dockerfile // nil until it is first used
}

// Definition is an image ready to be built. With ConvertOptions.ForKeys it has no LLB,
// Config and Base.
type Definition struct {
	Name   string
	Path   string
	LLB    *llb.Definition
	Config []byte        // image config, JSON
	Base   []byte        // image config of the parent, JSON; nil for scratch
	Key    digest.Digest // of all inputs that determine the content

	// Parts are digests of the parts of the key, by a name that users
	// understand, without the parents among the converted images.
	Parts map[string]digest.Digest
	// External are the references of external images that it depends on, as
	// written.
	External []string

	// Requirements are what its steps need and only the user can grant.
	Requirements []Requirement

	// Warnings are what BuildKit's linter reports, by line. Only conversions for keys have them.
	Warnings []Warning

	// Effort is an estimate of how long its steps take.
	Effort time.Duration
}

// Converter converts a run's Dockerfiles, parents before children. Images that
// are not each other's ancestors may be converted concurrently.
type Converter struct {
	opts   ConvertOptions
	mu     sync.Mutex
	images map[string]parentImage // by familiar name
}

// NewConverter returns a Converter that has seen no image yet.
func NewConverter(opts ConvertOptions) *Converter {
	return &Converter{opts: opts, images: map[string]parentImage{}}
}

// Convert turns one Dockerfile into LLB. Images that it refers to must have been
// converted before, or be known to ConvertOptions.External. Errors about the
// Dockerfile are *dockerfile.Error; a panic of BuildKit's frontend is one too,
// since Dockerfiles are untrusted.
func (c *Converter) Convert(ctx context.Context, d Dockerfile) (def *Definition, err error) {
	defer func() {
		if r := recover(); r != nil {
			def, err = nil, &dockerfile.Error{Path: d.Path, Err: fmt.Errorf("BuildKit's Dockerfile frontend gave up: %v", r)}
		}
	}()
	return c.convert(ctx, d)
}

func (c *Converter) convert(ctx context.Context, d Dockerfile) (*Definition, error) {
	file, err := d.parse()
	if err != nil {
		return nil, err
	}
	if err := file.Resolve(dockerfile.Options{Platform: c.opts.Platform, BuildArgs: c.opts.BuildArgs}); err != nil {
		return nil, err
	}
	parents, triggers, err := c.parents(ctx, file)
	if err != nil {
		return nil, err
	}
	ownContext, ownDigest, err := buildContext(ctx, d, file, triggers)
	if err != nil {
		return nil, err
	}
	client, external, parts := c.frontendClient(d, parents)
	client.inputs[dockerui.DefaultLocalNameContext] = ownContext
	parts["context"] = ownDigest
	hasRequirements := len(triggers) > 0 || mayRequire.Match(d.Content) || c.opts.Network == "host"
	// Only builds and requirements need the lines of steps.
	res, warnings, err := c.runFrontend(ctx, d, client, !c.opts.ForKeys || hasRequirements)
	if err != nil {
		return nil, err
	}
	def, err := res.State.Marshal(ctx)
	if err != nil {
		return nil, fmt.Errorf("LLB of %s: %w", d.Name, err)
	}
	key, keyed, err := c.key(def, res.Image)
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", d.Name, err)
	}
	if def, err = c.adjustSteps(ctx, def); err != nil {
		return nil, fmt.Errorf("LLB of %s: %w", d.Name, err)
	}
	var required []Requirement
	if hasRequirements {
		if required, err = requirements(def); err != nil {
			return nil, err
		}
	}
	out := &Definition{Name: d.Name, Path: d.Path, Key: key, Parts: parts, External: external,
		Requirements: required, Warnings: warnings, Effort: effort(file.Stages)}
	if c.opts.ForKeys {
		return out, c.remember(d.Reference, parentImage{key: key, config: keyed})
	}
	out.LLB = def
	if out.Config, err = json.Marshal(res.Image); err != nil {
		return nil, err
	}
	if res.BaseImage != nil {
		if out.Base, err = json.Marshal(res.BaseImage); err != nil {
			return nil, err
		}
	}
	return out, c.remember(d.Reference, parentImage{state: res.State, config: out.Config})
}

// runFrontend converts a Dockerfile with BuildKit's frontend. Warnings are only those of
// conversions for keys.
func (c *Converter) runFrontend(ctx context.Context, d Dockerfile, client *inputsClient, withLines bool) (
	*dockerfile2llb.Result, []Warning, error) {
	ui, err := dockerui.NewClient(client)
	if err != nil {
		return nil, nil, err
	}
	var warnings []Warning
	var warn linter.LintWarnFunc
	if c.opts.ForKeys {
		warn = collectWarnings(&warnings)
	}
	var lines *llb.SourceMap
	if withLines {
		lines = llb.NewSourceMap(nil, d.Path, "Dockerfile", d.Content)
	}
	res, err := dockerfile2llb.Dockerfile2LLB(ctx, d.Content, dockerfile2llb.ConvertOpt{
		Warn:           warn,
		Config:         c.frontendConfig(d),
		Client:         ui,
		SourceMap:      lines,
		TargetPlatform: &c.opts.Platform,
	})
	if err != nil {
		return nil, nil, dockerfile.Locate(d.Path, d.Content, err)
	}
	emptyContinuation(warnings, d.Content)
	return res, sortWarnings(warnings), nil
}

// frontendClient returns what BuildKit's frontend asks for: its options, and the parents as
// inputs. external are the references of parents from outside the tree, and parts the parts
// of the key, without that of the build context.
func (c *Converter) frontendClient(d Dockerfile, parents []namedParent) (
	client *inputsClient, external []string, parts map[string]digest.Digest) {
	client = &inputsClient{opts: map[string]string{}, inputs: map[string]llb.State{}}
	parts = map[string]digest.Digest{"settings": c.settings(d)}
	text := string(d.Content)
	for _, p := range parents {
		key := "image:" + p.Reference
		client.inputs[key] = p.state
		client.opts["context:"+p.Name] = "input:" + key
		client.opts["input-metadata:"+key] = p.metadata
		if p.external {
			external = append(external, p.Reference)
			parts["FROM "+p.Reference] = p.digest
		} else {
			// A parent's tag is part of the text and does not affect the result.
			text = strings.ReplaceAll(text, p.Reference, "parent")
		}
	}
	parts["Dockerfile"] = digest.FromString(text)
	if c.opts.NoCache {
		client.opts["no-cache"] = ""
	}
	return client, external, parts
}

// buildContext returns the files of the build context that the Dockerfile uses, as a state
// and as a digest.
func buildContext(ctx context.Context, d Dockerfile, file *dockerfile.Dockerfile,
	triggers []instructions.Command) (llb.State, digest.Digest, error) {
	used := usedPaths(file, triggers)
	files, err := readFiles(ctx, d.Context, used)
	if err != nil {
		return llb.State{}, "", fmt.Errorf("build context of %s: %w", d.Name, err)
	}
	state, err := contextState(files, used)
	if err != nil {
		return llb.State{}, "", fmt.Errorf("build context of %s: %w", d.Name, err)
	}
	return state, contextDigest(files), checkCopies(d, file, triggers)
}

// frontendConfig returns the settings of BuildKit's Dockerfile frontend.
func (c *Converter) frontendConfig(d Dockerfile) dockerui.Config {
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
	return conf
}

// adjustSteps adds to the steps of a build what is not part of keys: the shared cache of
// packages, the certificate of the step proxy, and variables.
func (c *Converter) adjustSteps(ctx context.Context, def *llb.Definition) (_ *llb.Definition, err error) {
	if c.opts.ForKeys {
		return def, nil
	}
	if c.opts.PackageCache != "" {
		if def, err = addPackageCaches(ctx, def, path.Join(c.opts.PackageCache, c.opts.CacheNamespace)); err != nil {
			return nil, err
		}
	}
	if c.opts.Trust != nil {
		if def, err = addTrust(ctx, def, c.opts.Trust); err != nil {
			return nil, err
		}
	}
	if len(c.opts.Env) > 0 {
		return addVariables(def, c.opts.Env)
	}
	return def, nil
}
