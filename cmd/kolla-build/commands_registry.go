package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/spf13/pflag"
)

func registryCommand() *command {
	var opts server.Options
	return &command{
		Command: cli.Command{
			Name: "registry", Args: "serve|gc",
			Summary: "Run a registry on this host, or free what nothing in it refers to.",
			Options: []string{"data-dir"},
			Flags: func(f *pflag.FlagSet) {
				f.StringVar(&opts.Addr, "addr", ":4000", "The `ADDRESS` to listen on.")
				f.StringVar(&opts.Dir, "dir", "", "The `DIR` where images lie; registry/ in the data directory if none is given.")
				f.StringVar(&opts.Htpasswd, "htpasswd", "", "A `FILE` of user:bcrypt lines; without it everybody may push.")
				f.BoolVar(&opts.ReadOnly, "read-only", false, "Refuse pushes and deletions.")
				f.BoolVar(&opts.Verbose, "verbose", false, "Print a line for each request.")
			},
			Words: []string{"serve", "gc"},
			Examples: []cli.Example{
				{Line: "kolla-build registry serve", Effect: "Serve a registry on port 4000."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if opts.Dir == "" {
				opts.Dir = filepath.Join(cfg.DataDir, "registry")
			}
			opts.Log = con.Stderr
			switch strings.Join(cfg.Args, " ") {
			case "serve":
				if _, _, err := net.SplitHostPort(opts.Addr); err != nil {
					return &config.Error{Message: fmt.Sprintf("--addr %s: that is not [HOST]:PORT", opts.Addr), Hint: "such as :4000, for all addresses of this host, or 127.0.0.1:4000"}
				}
				return serve(ctx, opts, con)
			case "gc":
				freed, err := server.GarbageCollect(ctx, opts.Dir, server.GCOptions{Untagged: true})
				if err == nil {
					con.Notice("%s: freed %d bytes", opts.Dir, freed)
				}
				return err
			}
			typed := strings.Join(cfg.Args, " ")
			hint := "kolla-build registry serve, or kolla-build registry gc"
			if n := suggest.Nearest(typed, []string{"serve", "gc"}); n != "" {
				hint = "did you mean kolla-build registry " + n + "?"
			}
			if typed == "" {
				return &config.Error{Message: "registry does not say what to do", Hint: hint}
			}
			return &config.Error{Message: fmt.Sprintf("registry cannot %q", typed), Hint: hint}
		},
	}
}

func serve(ctx context.Context, opts server.Options, con *console.Console) error {
	s, err := server.Start(opts)
	if err != nil {
		return err
	}
	con.Notice("registry on %s, its images in %s; Ctrl-C ends it", s.Addr(), opts.Dir)
	select {
	case <-ctx.Done():
		return s.Close()
	case <-s.Done():
		return s.Err()
	}
}
