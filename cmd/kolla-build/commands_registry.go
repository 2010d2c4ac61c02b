package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/spf13/pflag"
)

func registryCommand() *command {
	var opts server.Options
	var anonymous string
	var flags *pflag.FlagSet
	return &command{
		Command: cli.Command{
			Name: "registry", Args: "serve|gc",
			Summary: "Run a registry on this host, or free what nothing in it refers to.",
			About: "Without options, the registry listens on localhost, and every program on this host may push. On other addresses " +
				"it starts only if --htpasswd, --anonymous or --read-only says who may do what.",
			Options: []string{"data-dir"},
			Flags: func(f *pflag.FlagSet) {
				flags = f
				f.StringVar(&opts.Addr, "addr", server.DefaultAddr, "The `ADDRESS` to listen on; :4000 means all addresses of this host.")
				f.StringVar(&opts.Dir, "dir", "", "The `DIR` where images are stored; registry/ in the data directory by default.")
				f.StringVar(&opts.Htpasswd, "htpasswd", "", "Require a login from this `FILE` of USER:BCRYPT lines.")
				f.StringVar(&anonymous, "anonymous", "", "The `LEVEL` of access that other hosts have without a login: none, pull, or push, which includes deletion.")
				f.BoolVar(&opts.ReadOnly, "read-only", false, "Refuse pushes and deletions.")
				f.StringVar(&opts.Certificate, "tls-certificate", "", "Serve TLS with this certificate, a PEM `FILE` with its chain.")
				f.StringVar(&opts.Key, "tls-key", "", "The key of the certificate, a PEM `FILE`.")
				f.BoolVar(&opts.Verbose, "verbose", false, "Print a line for each request.")
			},
			Words: []string{"serve", "gc"},
			Examples: []cli.Example{
				{Line: "kolla-build registry serve", Effect: "Serve a registry on port 4000 of localhost."},
				{Line: "kolla-build registry serve --addr :4000 --anonymous pull", Effect: "Let other hosts pull, and this one push."},
				{Line: "kolla-build registry serve --addr :4000 --htpasswd users", Effect: "Require a login of everyone."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if err := checkEmpty(flags, "addr", "dir", "htpasswd", "anonymous", "tls-certificate", "tls-key"); err != nil {
				return err
			}
			if opts.Dir == "" {
				opts.Dir = filepath.Join(cfg.DataDir, "registry")
			}
			opts.Log, opts.Anonymous = con.Stderr, server.Access(anonymous)
			switch action := strings.Join(cfg.Args, " "); action {
			case "serve":
				return serve(ctx, opts, con)
			case "gc":
				freed, err := server.GarbageCollect(ctx, opts.Dir, server.GCOptions{Untagged: true})
				if err == nil {
					con.Notice("%s: freed %s", opts.Dir, units.Bytes(freed))
				}
				return err
			default:
				hint := "kolla-build registry serve, or kolla-build registry gc"
				if n := suggest.Nearest(action, []string{"serve", "gc"}); n != "" {
					hint = "did you mean kolla-build registry " + n + "?"
				}
				if action == "" {
					return &config.Error{Message: "registry: no action is given", Hint: hint}
				}
				return &config.Error{Message: fmt.Sprintf("registry: unknown action %q", action), Hint: hint}
			}
		},
	}
}

// checkEmpty refuses options that are given and empty, such as --htpasswd "$UNSET": they
// must not mean the same as options that are not given.
func checkEmpty(flags *pflag.FlagSet, names ...string) error {
	for _, name := range names {
		if f := flags.Lookup(name); f != nil && f.Changed && f.Value.String() == "" {
			return &config.Error{Option: name, Message: fmt.Sprintf("--%s is empty", name), Hint: "omit the option, or give it a value"}
		}
	}
	return nil
}

func serve(ctx context.Context, opts server.Options, con *console.Console) error {
	s, err := server.Start(opts)
	if err != nil {
		return err
	}
	con.Notice("serving a registry on %s, stored in %s; press Ctrl-C to stop", s.Addr(), opts.Dir)
	select {
	case <-ctx.Done():
		return s.Close()
	case <-s.Done():
		return s.Err()
	}
}
