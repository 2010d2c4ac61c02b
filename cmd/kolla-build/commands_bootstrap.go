package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bootstrap"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/workspace"
	"github.com/spf13/pflag"
)

func bootstrapCommand() *command {
	var mirror, keyring string
	var components []string
	return &command{
		Command: cli.Command{
			Name:    "bootstrap",
			Values:  config.ValuesDistros,
			Args:    "DISTRO[:SUITE]",
			Summary: "Make a Debian or Ubuntu base image from a package mirror.",
			Options: []string{"data-dir", "base-mirror", "debian-arch", "base-arch", "openstack-release"},
			Flags: func(f *pflag.FlagSet) {
				f.StringVar(&mirror, "mirror", "",
					"`URL` of the package mirror. Default: the host's own, if it runs the same distribution.")
				f.StringSliceVar(&components, "components", nil, "Archive `COMPONENTS`, separated by commas. Default: main.")
				f.StringVar(&keyring, "keyring", "",
					"`FILE` of OpenPGP keys that sign the archive. Default: that of the distribution's package.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build bootstrap debian:bookworm", Effect: "Make a base image of Debian 12."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if err := oneArgument(cfg, "distribution", "kolla-build bootstrap debian:trixie"); err != nil {
				return err
			}
			if err := bootstrap.CheckMirror(mirror); err != nil {
				return usererr.Usage(err)
			}
			if keyring != "" {
				if _, err := bootstrap.CheckKeyring(keyring); err != nil {
					return usererr.Usage(err)
				}
			}
			if mirror == "" {
				mirror = cfg.BaseMirror
			}
			if err := bootstrap.CheckMirror(mirror); err != nil {
				return cfg.UsageIfTyped("base-mirror", err)
			}
			return bootstrapBase(ctx, cfg, con, bootstrap.Options{Arch: cfg.DebianArch, Mirror: mirror,
				Components: components, Keyring: keyring})
		},
	}
}

func bootstrapBase(ctx context.Context, cfg *config.Config, con *console.Console, opts bootstrap.Options) error {
	name, suite, _ := strings.Cut(cfg.Args[0], ":")
	d, ok := facts.LookupDistro(name)
	if !ok {
		return &config.Error{
			Message: fmt.Sprintf("unknown distribution %q", name),
			Hint:    "debian and ubuntu can be bootstrapped",
		}
	}
	if name != "debian" && name != "ubuntu" {
		return &config.Error{Message: fmt.Sprintf("%s cannot be bootstrapped from packages", name),
			Hint: "debian and ubuntu can; for others, set --base-image to an image, oci:DIR or FILE.tar"}
	}
	if suite == "" || suite == "latest" {
		release, _ := facts.LookupRelease(cfg.OpenstackRelease)
		suite = release.BaseTag(name)
	}
	tag := suite
	if rel, ok := d.Release(suite); ok && rel.Current(suite) {
		suite = rel.Suite
	}
	opts.Distro, opts.Suite = name, suite
	s, err := workspace.OpenStore(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	ref := d.Image + ":" + tag
	e, err := define.Bootstrap(ctx, s, con, opts, ref)
	if err != nil {
		return err
	}
	con.Notice("%s is in the store: %s", ref, e.Digest)
	return nil
}
