package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/kolla-build/kolla-build/pkg/storecmd"
	"github.com/kolla-build/kolla-build/pkg/workspace"
	"github.com/spf13/pflag"
)

// registryFlags are the options of the registry command alone.
type registryFlags struct {
	server.Options
	anonymous string
	unused    time.Duration
	load      string
	dryRun    bool
	flags     *pflag.FlagSet
}

// defaultUnused is how long a running registry keeps unreferenced blobs: pushes of
// large sets take hours.
const defaultUnused = 24 * time.Hour

func registryCommand() *command {
	var flags registryFlags
	actions := []string{"serve", "gc", "trust"}
	return &command{
		Command: cli.Command{
			Name:    "registry",
			Args:    "serve|gc|trust [HOST[:PORT]]",
			Summary: "Run a registry on this host, or collect its garbage.",
			About: "By default it serves localhost only, and every program there may push. To serve other hosts, set " +
				"--htpasswd, --anonymous or --read-only. trust prints how hosts that reach it as HOST trust its certificate.",
			Options:    registryOptions,
			OptionHelp: registryLoadHelp,
			Flags:      flags.define,
			Words:      actions,
			Examples: []cli.Example{
				{Line: "kolla-build registry serve", Effect: "Serve a registry on port 4000 of localhost."},
				{Line: "kolla-build registry serve --addr :4000 --htpasswd users --tls-generate",
					Effect: "Require TLS and a login from all clients."},
				{Line: "kolla-build registry gc --dry-run", Effect: "Show how much disk space garbage collection would free."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			err := checkEmpty(flags.flags, "addr", "dir", "htpasswd", "anonymous", "tls-certificate", "tls-key", "load")
			if err != nil {
				return err
			}
			flags.Log, flags.Anonymous = con.Stderr, server.Access(flags.anonymous)
			action := ""
			if len(cfg.Args) > 0 {
				action = cfg.Args[0]
			}
			if flags.Dir == "" && slices.Contains(actions, action) {
				if err := workspace.CheckDataDir(cfg); err != nil {
					return err
				}
				flags.Dir = filepath.Join(cfg.DataDir, "registry")
			}
			switch {
			case flags.dryRun && action != "gc" && slices.Contains(actions, action):
				return &config.Error{Option: "dry-run", Message: fmt.Sprintf("registry %s: --dry-run is an option of registry gc", action)}
			case action == "trust":
				return flags.trust(con.Stdout, cfg.Args[1:])
			case slices.Contains(actions, action) && len(cfg.Args) > 1:
				return &config.Error{Message: fmt.Sprintf("registry %s: unexpected argument %q", action, cfg.Args[1]),
					Hint: fmt.Sprintf("kolla-build registry %s takes options only; kolla-build help registry lists them", action)}
			case action == "serve":
				return flags.usageOfDir(flags.serve(ctx, cfg, con))
			case action == "gc":
				return flags.usageOfDir(flags.gc(ctx, con))
			}
			return unknownAction(action, actions)
		},
	}
}

// registryVerbs are actions of other registries and service managers, with what to do instead.
var registryVerbs = map[string]string{
	"list":   "kolla-build inventory HOST/NAMESPACE lists the content of a registry",
	"login":  "kolla-build uses the logins of docker login, podman login and skopeo login",
	"ls":     "kolla-build inventory HOST/NAMESPACE lists the content of a registry",
	"prune":  "did you mean kolla-build registry gc?",
	"run":    "did you mean kolla-build registry serve?",
	"start":  "did you mean kolla-build registry serve?",
	"status": "curl http://HOST:PORT/healthz shows whether it works",
	"stop":   "a registry ends with Ctrl-C, or with the signal TERM",
}

// unknownAction is the error for an action that the registry command does not have.
func unknownAction(action string, actions []string) error {
	if action == "" {
		return &config.Error{Message: "registry: no action is given", Hint: "kolla-build registry serve, gc or trust"}
	}
	hint := "kolla-build registry serve, gc or trust"
	if n := suggest.Nearest(action, actions); n != "" {
		hint = "did you mean kolla-build registry " + n + "?"
	}
	return &config.Error{
		Message: fmt.Sprintf("registry: unknown action %q", action),
		Hint:    cmp.Or(registryVerbs[action], hint),
	}
}

func (o *registryFlags) define(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.Addr, "addr", server.DefaultAddr, "Listen on `ADDRESS`; :4000 means all.")
	f.StringVar(&o.Dir, "dir", "", "Store images in `DIR`, not in the data directory.")
	f.StringVar(&o.Htpasswd, "htpasswd", "", "Require a login from this USER:BCRYPT `FILE`.")
	f.StringSliceVar(&o.ReadOnlyUsers, "read-only-user", nil, "Let this `USER` only pull; may be repeated.")
	f.StringVar(&o.anonymous, "anonymous", "", "Access without a login, a `LEVEL`: none, pull or push.")
	f.BoolVar(&o.ReadOnly, "read-only", false, "Refuse pushes and deletions.")
	f.StringVar(&o.Certificate, "tls-certificate", "", "Serve TLS with this PEM `FILE`.")
	f.StringVar(&o.Key, "tls-key", "", "The key of the certificate, a PEM `FILE`.")
	f.BoolVar(&o.GenerateTLS, "tls-generate", false, "Serve TLS with a generated certificate.")
	f.StringSliceVar(&o.TLSNames, "tls-name", nil, "Add this `NAME` to it; may be repeated.")
	f.DurationVar(&o.GCEvery, "gc-every", 0, "Collect garbage every `DURATION`, such as 24h.")
	f.DurationVar(&o.unused, "unused-for", defaultUnused, "Keep content used within this `DURATION`.")
	f.StringVar(&o.load, "load", "", "Load this saved `FILE` at the start.")
	f.BoolVar(&o.dryRun, "dry-run", false, "With gc, show what would be freed, and remove nothing.")
	f.BoolVar(&o.Verbose, "verbose", false, "Print a line for each request.")
}

// checkEmpty refuses options that are given and empty, such as --htpasswd "$UNSET": they
// must not mean the same as options that are not given.
func checkEmpty(flags *pflag.FlagSet, names ...string) error {
	for _, name := range names {
		if f := flags.Lookup(name); f != nil && f.Changed && f.Value.String() == "" {
			return &config.Error{
				Option:  name,
				Message: fmt.Sprintf("--%s is empty", name),
				Hint:    "omit the option, or give it a value",
			}
		}
	}
	return nil
}

// usageOfDir marks the error about a --dir that is a file as a usage error.
func (o *registryFlags) usageOfDir(err error) error {
	if errors.Is(err, syscall.ENOTDIR) && o.flags.Changed("dir") {
		return usererr.Usage(err)
	}
	return err
}

func (o *registryFlags) serve(ctx context.Context, cfg *config.Config, con *console.Console) error {
	if o.unused < server.MinUnused {
		return &config.Error{Option: "unused-for",
			Message: fmt.Sprintf("--unused-for %v: at least %v while clients push", o.unused, server.MinUnused)}
	}
	if o.load != "" {
		if o.ReadOnly {
			return &config.Error{Option: "load", Message: "--load writes to the registry, and --read-only forbids it"}
		}
		if _, err := os.Stat(o.load); err != nil {
			return &config.Error{Option: "load", Message: err.Error()}
		}
	}
	if (o.Certificate == "") != (o.Key == "") {
		return &config.Error{Option: "tls-key", Message: "TLS needs a certificate and its key, and only one of them is given",
			Hint: "write --tls-certificate FILE --tls-key FILE"}
	}
	o.GC = server.GCOptions{Untagged: true, Unused: o.unused}
	_, err := os.Stat(server.AuthorityFile(o.Dir))
	newAuthority := o.GenerateTLS && err != nil
	s, err := server.Start(o.Options)
	var passwords *server.HtpasswdError
	if errors.As(err, &passwords) {
		return usererr.Usage(err)
	}
	if err != nil {
		return err
	}
	con.Notice("serving a registry on %s, stored in %s; press Ctrl-C to stop", s.Addr(), o.Dir)
	if newAuthority {
		if err := o.printTrust(con.Stderr, o.Addr, ""); err != nil {
			con.Notice("%v", err)
		}
	} else if o.GenerateTLS {
		con.Notice("`kolla-build registry trust --dir %s` prints how other hosts trust its certificate", o.Dir)
	}
	if o.load != "" {
		if err := o.loadBundle(ctx, cfg, con, s); err != nil {
			_ = s.Close()
			return fmt.Errorf("loading %s: %w", o.load, err)
		}
	}
	notifySystemd("READY=1")
	select {
	case <-ctx.Done():
		notifySystemd("STOPPING=1")
		return s.Close()
	case <-s.Done():
		return s.Err()
	}
}

// gc collects garbage. If a registry is running, it asks that registry to do it.
func (o *registryFlags) gc(ctx context.Context, con *console.Console) error {
	opts := server.GCOptions{Untagged: true, DryRun: o.dryRun}
	if o.flags.Changed("unused-for") {
		opts.Unused = o.unused
	}
	result, err := server.GarbageCollect(ctx, o.Dir, opts)
	if server.IsLocked(err) {
		opts.Unused = o.unused
		var running error
		if result, running = server.CollectRunning(ctx, o.Dir, opts); !server.IsUnreachable(running) {
			err = running
		}
	}
	if err == nil {
		format := "%s: freed %s (%s, %s)"
		if o.dryRun {
			format = "%s: %s would be freed (%s, %s)"
		}
		con.Notice(format, o.Dir, units.Bytes(result.Freed), units.Count(result.Blobs, "blob"),
			units.Count(result.Manifests, "manifest"))
	}
	return err
}

// loadBundle pushes the images of a bundle into the registry, unless it is the one that
// was loaded before. Whoever starts the registry with it decides what its tags refer to, so
// existing ones are replaced.
func (o *registryFlags) loadBundle(ctx context.Context, cfg *config.Config, con *console.Console,
	s *server.Server) error {
	record := filepath.Join(o.Dir, ".kolla-build-loaded.json")
	path, err := filepath.Abs(o.load)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	stamp, err := json.Marshal(map[string]any{"file": path, "size": info.Size(), "modified": info.ModTime()})
	if err != nil {
		return err
	}
	if before, err := inputfile.ReadRegular(record, inputfile.MaxState); err == nil && string(before) == string(stamp) {
		con.Notice("%s has been loaded before", o.load)
		return nil
	}
	// The images end up in the registry, so the store that they pass through is
	// temporary.
	loadConfig := *cfg
	loadConfig.DataDir, loadConfig.Registry, loadConfig.Push = filepath.Join(o.Dir, ".kolla-build-load"), s.Host(), true
	loadConfig.Engine = "none"
	defer os.RemoveAll(loadConfig.DataDir)
	ctx = registry.WithDial(ctx, s.Host(), func(ctx context.Context) (net.Conn, error) {
		return server.DialControl(ctx, o.Dir)
	})
	if err := storecmd.Load(ctx, &loadConfig, con, []string{path}, storecmd.LoadOptions{Replace: true}); err != nil {
		return err
	}
	return atomicfile.WriteFile(record, stamp, atomicfile.Options{Durable: true})
}

// notifySystemd reports a state to systemd if it waits for one (Type=notify).
func notifySystemd(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if conn, err := net.Dial("unixgram", path); err == nil {
		_, _ = io.WriteString(conn, state) // systemd notices that it is missing
		conn.Close()
	}
}
