package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/bootstrap"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/pipeline"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/spf13/pflag"
)

// command is one subcommand. Every one of them understands the whole option
// table besides its own flags, so that a kolla-build.conf serves them all.
type command struct {
	usage string // after "kolla-build NAME"
	short string
	flags func(*pflag.FlagSet)
	run   func(context.Context, *config.Config, pipeline.Env) error
}

// own holds the values of subcommands' own flags.
var own struct {
	json                bool
	output              string
	addr, dir, htpasswd string
	readOnly, verbose   bool
	mirror              string
	components          []string
	days                int
	render              render.FileOptions
}

// commands by name; "" is the build itself. A regex that is spelt as one of
// them can be given after "--".
var commands map[string]command

func init() {
	commands = map[string]command{
		"": {usage: "[options] [regex ...]", short: "build images", run: build},
		"plan": {usage: "[--json] [options] [regex ...]", short: "show what a build would do, and why",
			flags: jsonFlag,
			run: func(ctx context.Context, cfg *config.Config, env pipeline.Env) error {
				return pipeline.Plan(ctx, cfg, env, own.json)
			}},
		"images": {usage: "[--json] [regex ...]", short: "list the images in the local store",
			flags: jsonFlag,
			run: func(_ context.Context, cfg *config.Config, env pipeline.Env) error {
				return pipeline.Images(cfg, env, own.json)
			}},
		"remove": {usage: "regex ... [--tag TAG]", short: "take images out of the local store",
			run: func(_ context.Context, cfg *config.Config, env pipeline.Env) error { return pipeline.Remove(cfg, env) }},
		"gc": {usage: "[--older-than DAYS]", short: "free what nothing in the local store refers to",
			flags: func(f *pflag.FlagSet) {
				f.IntVar(&own.days, "older-than", 30, "forget unnamed images that are older than so many days")
			},
			run: func(ctx context.Context, cfg *config.Config, env pipeline.Env) error {
				return pipeline.Collect(ctx, cfg, env, time.Duration(own.days)*24*time.Hour)
			}},
		"save": {usage: "[regex ...] --output FILE", short: "write built images to one file, for a site without internet",
			flags: func(f *pflag.FlagSet) {
				f.StringVarP(&own.output, "output", "o", "", "the file to write, - for standard output")
			},
			run: func(ctx context.Context, cfg *config.Config, env pipeline.Env) error {
				return pipeline.Save(ctx, cfg, env, own.output)
			}},
		"load": {usage: "FILE [--push --registry HOST:PORT [-n NAMESPACE]]", short: "read such a file, and push what it holds", run: load},
		"registry": {usage: "serve|gc [--addr HOST:PORT] [--dir DIR]", short: "run the embedded registry, on port 4000 by default",
			flags: func(f *pflag.FlagSet) {
				f.StringVar(&own.addr, "addr", ":4000", "address to listen on")
				f.StringVar(&own.dir, "dir", "", "where images lie (default: registry/ in the data directory)")
				f.StringVar(&own.htpasswd, "htpasswd", "", "file of user:bcrypt lines; everybody may push without it")
				f.BoolVar(&own.readOnly, "read-only", false, "refuse pushes and deletions")
				f.BoolVar(&own.verbose, "verbose", false, "a line for each request")
			},
			run: serve},
		"render": {usage: "[--search DIR]... [--parent FILE] [--vars FILE] [--set NAME=VALUE]... TEMPLATE", short: "print one rendered template, to debug overrides",
			flags: func(f *pflag.FlagSet) {
				f.StringArrayVar(&own.render.Search, "search", nil, "directory for includes and imports, repeatable (default: the template's own)")
				f.StringVar(&own.render.Parent, "parent", "", "template that {% extends parent_template %} extends")
				f.StringVar(&own.render.VarsFile, "vars", "", "JSON or YAML file with variables")
				f.StringArrayVar(&own.render.Set, "set", nil, "NAME=VALUE, repeatable")
			},
			run: func(_ context.Context, cfg *config.Config, env pipeline.Env) error {
				if len(cfg.Args) != 1 {
					return &config.Error{Message: fmt.Sprintf("render takes one template, not %d", len(cfg.Args)), Hint: "kolla-build render --vars vars.yaml Dockerfile.j2"}
				}
				own.render.Template = cfg.Args[0]
				return pipeline.RenderFile(env, own.render)
			}},
		"lint": {usage: "[--images-dir DIR] [--docker-dir DIR]... [OVERRIDE ...]", short: "check templates and overrides without rendering them",
			run: func(_ context.Context, cfg *config.Config, env pipeline.Env) error { return pipeline.Lint(cfg, env) }},
		"bootstrap": {usage: "DISTRO[:SUITE] [--mirror URL]", short: "make a Debian or Ubuntu base image from a package mirror",
			flags: func(f *pflag.FlagSet) {
				f.StringVar(&own.mirror, "mirror", "", "package mirror (default: the host's own, if it runs the same distribution)")
				f.StringSliceVar(&own.components, "components", nil, "archive components (default: main)")
			},
			run: bootstrapBase},
		"help": {usage: "[command]", short: "show help", run: func(_ context.Context, cfg *config.Config, env pipeline.Env) error {
			name := ""
			if len(cfg.Args) > 0 {
				name = cfg.Args[0]
			}
			return help(name, env.Stdout)
		}},
	}
}

func jsonFlag(f *pflag.FlagSet) { f.BoolVar(&own.json, "json", false, "print JSON") }

func help(name string, w io.Writer) error {
	c, ok := commands[name]
	if !ok {
		return &config.Error{Message: fmt.Sprintf("no command %q", name), Hint: "kolla-build help lists them"}
	}
	if c.flags == nil {
		c.flags = func(*pflag.FlagSet) {}
	}
	if err := config.Help(name, w, c.flags); err != nil {
		return err
	}
	if name != "" {
		return nil
	}
	fmt.Fprintln(w, "\nCommands:")
	for _, n := range slices.Sorted(keys(commands)) {
		if n != "" {
			fmt.Fprintf(w, "  kolla-build %-10s %s\n", n, commands[n].short)
		}
	}
	return nil
}

func keys(m map[string]command) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func build(ctx context.Context, cfg *config.Config, env pipeline.Env) error {
	if cfg.GenerateConfig {
		_, err := io.WriteString(env.Stdout, config.SampleConfig())
		return err
	}
	if done, err := pipeline.Show(ctx, cfg, env); done {
		return err
	}
	return pipeline.Build(ctx, cfg, env)
}

func load(ctx context.Context, cfg *config.Config, env pipeline.Env) error {
	if len(cfg.Args) != 1 {
		return &config.Error{Message: fmt.Sprintf("load takes one file, not %d", len(cfg.Args)), Hint: "kolla-build load set.tar, or - for standard input"}
	}
	return pipeline.Load(ctx, cfg, env, cfg.Args[0])
}

func serve(ctx context.Context, cfg *config.Config, env pipeline.Env) error {
	dir := own.dir
	if dir == "" {
		dir = filepath.Join(cfg.DataDir, "registry")
	}
	switch strings.Join(cfg.Args, " ") {
	case "serve":
		s, err := registry.Start(registry.ServeOptions{Addr: own.addr, Dir: dir, Log: env.Stderr, Verbose: own.verbose, ReadOnly: own.readOnly, Htpasswd: own.htpasswd})
		if err != nil {
			return err
		}
		env.Notice("registry on %s, its images in %s; Ctrl-C ends it", s.Addr(), dir)
		select {
		case <-ctx.Done():
			return s.Close()
		case <-s.Done():
			return s.Err()
		}
	case "gc":
		freed, err := registry.GarbageCollect(ctx, dir, registry.GCOptions{Untagged: true})
		if err == nil {
			env.Notice("%s: freed %d bytes", dir, freed)
		}
		return err
	}
	return &config.Error{Message: fmt.Sprintf("registry %s: no such thing", strings.Join(cfg.Args, " ")), Hint: "kolla-build registry serve, or kolla-build registry gc"}
}

func bootstrapBase(ctx context.Context, cfg *config.Config, env pipeline.Env) error {
	if len(cfg.Args) != 1 {
		return &config.Error{Message: fmt.Sprintf("bootstrap takes one distribution, not %d", len(cfg.Args)), Hint: "kolla-build bootstrap debian:trixie"}
	}
	name, suite, _ := strings.Cut(cfg.Args[0], ":")
	d, ok := config.LookupDistro(name)
	if !ok {
		return &config.Error{Message: fmt.Sprintf("no distribution %q", name), Hint: "debian and ubuntu can be bootstrapped"}
	}
	tag := suite
	if rel, ok := d.Release(suite); ok {
		suite = rel.Suite
		if tag == "" {
			tag = d.Tag
		}
	}
	mirror := own.mirror
	if mirror == "" {
		mirror = cfg.BaseMirror
	}
	s, err := pipeline.OpenStore(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	ref := d.Image + ":" + tag
	e, err := pipeline.Bootstrap(ctx, s, env, bootstrap.Options{Distro: name, Suite: suite, Arch: cfg.DebianArch, Mirror: mirror, Components: own.components}, ref)
	if err != nil {
		return err
	}
	env.Notice("%s is in the store: %s", ref, e.Digest)
	return nil
}
