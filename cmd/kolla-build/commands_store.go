package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/contract"
	"github.com/kolla-build/kolla-build/pkg/imagediff"
	"github.com/kolla-build/kolla-build/pkg/storecmd"
	"github.com/spf13/pflag"
)

// storedNames describes the regular expressions of commands that select stored images.
const storedNames = "REGEX is matched with the name of an image without registry, namespace and tag, " +
	"such as nova-api. " +
	"If it contains a colon, it is matched with the tag too (nova-api:2026.1), and if it contains a slash, with the " +
	"whole name (localhost:4000/kolla/nova-api:2026.1)."

func imagesCommand() *command {
	var asJSON bool
	return &command{
		Command: cli.Command{
			Name: "images", Values: config.ValuesStored, Args: "[REGEX…]",
			Summary: "List the images in the local store.",
			About:   storedNames,
			Options: []string{"data-dir"},
			Flags:   func(f *pflag.FlagSet) { jsonFlag(f, &asJSON) },
			Examples: []cli.Example{
				{Line: "kolla-build images nova-", Effect: "List the images of nova that were built."},
			},
		},
		run: func(_ context.Context, cfg *config.Config, con *console.Console) error {
			return storecmd.Images(cfg, con, asJSON)
		},
	}
}

func diffCommand() *command {
	var asJSON bool
	return &command{
		Command: cli.Command{
			Name:       "diff",
			Values:     config.ValuesStored,
			Args:       "A B",
			Summary:    "Show how two images differ in files, packages and settings.",
			Options:    []string{"data-dir", "debian-arch", "base-arch", "platform", "registry-insecure", "timeout", "debug"},
			OptionHelp: storedHelp,
			Flags:      func(f *pflag.FlagSet) { jsonFlag(f, &asJSON) },
			Examples: []cli.Example{
				{Line: "kolla-build diff nova-api:nightly nova-api:2026-11-21",
					Effect: "Compare two builds. The exit status is 0 if they are the same, 1 if they differ, 2 if they cannot be " +
						"compared."},
				{Line: "kolla-build diff --json nova-api:t registry.example:4000/kolla/nova-api:t",
					Effect: "Compare an image with one in a registry."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if len(cfg.Args) != 2 {
				return &config.Error{Message: fmt.Sprintf("diff takes two images, not %d", len(cfg.Args)),
					Hint: "kolla-build diff nova-api:t1 nova-api:t2"}
			}
			return imagediff.Run(ctx, cfg, con, cfg.Args[0], cfg.Args[1], asJSON)
		},
	}
}

func contractCommand() *command {
	var opts contract.Options
	return &command{
		Command: cli.Command{
			Name:    "contract",
			Minor:   true,
			Values:  config.ValuesStored,
			Args:    "[IMAGE…]",
			Summary: "Check images against the requirements of deployments.",
			Options: slices.Concat(storedOptions,
				[]string{"debian-arch", "base-arch", "platform", "registry-insecure", "timeout"}),
			OptionHelp: storedHelp,
			Flags: func(f *pflag.FlagSet) {
				f.StringVar(&opts.Table, "contract", "", "Check against the table in this `FILE` instead of the built-in one.")
				f.StringVar(&opts.Exceptions, "exceptions", "", "Add the exceptions in this `FILE` to the built-in ones.")
				f.BoolVarP(&opts.Verbose, "verbose", "v", false, "Also print rows that passed.")
				jsonFlag(f, &opts.JSON)
			},
			Examples: []cli.Example{
				{Line: "kolla-build contract nova-", Effect: "Check the images of nova: programs and their libraries, " +
					"users, files, Python modules. The exit status is 1 if a row fails, 2 if an image cannot be read."},
				{Line: "kolla-build contract --contract mine.tsv localhost:4000/kolla/keystone:t",
					Effect: "Check an image in a registry against a table of yours."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			return contract.Run(ctx, cfg, con, opts)
		},
	}
}

func removeCommand() *command {
	var dryRun bool
	return &command{
		Command: cli.Command{
			Name: "remove", Values: config.ValuesStored, Args: "REGEX…",
			Summary:    "Remove images from the local store.",
			About:      storedNames,
			Options:    storedOptions,
			OptionHelp: registryHelp,
			Flags: func(f *pflag.FlagSet) {
				f.BoolVar(&dryRun, "dry-run", false, "Show what would be removed, and remove nothing.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build remove --tag old .", Effect: "Remove all images with a tag; gc then frees their space."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			return storecmd.Remove(ctx, cfg, con, dryRun)
		},
	}
}

func gcCommand() *command {
	var days int
	var opts storecmd.GCOptions
	return &command{
		Command: cli.Command{
			Name:    "gc",
			Summary: "Free disk space in the data directory, and show what it holds.",
			Options: []string{"data-dir"},
			Flags: func(f *pflag.FlagSet) {
				f.IntVar(&days, "older-than", 30, "Remove unnamed images older than this number of `DAYS`.")
				f.BoolVar(&opts.BuilderCache, "builder-cache", false,
					"Remove the builder's cache too. The next build takes longer and gives the same images.")
				f.BoolVar(&opts.DryRun, "dry-run", false, "Show what would be removed, and remove nothing.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build gc --older-than 7", Effect: "Remove unnamed images older than a week, and unused blobs."},
				{Line: "kolla-build gc --builder-cache",
					Effect: "Also remove the builder's cache, which is often most of the data directory."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if err := noArguments(cfg, "kolla-build remove REGEX… removes images"); err != nil {
				return err
			}
			if days < 0 {
				return &config.Error{Message: fmt.Sprintf("--older-than %d: the number of days is negative", days)}
			}
			opts.Keep = time.Duration(days) * 24 * time.Hour
			return storecmd.GC(ctx, cfg, con, opts)
		},
	}
}

func saveCommand() *command {
	var output string
	var opts storecmd.SaveOptions
	return &command{
		Command: cli.Command{
			Name:       "save",
			Values:     config.ValuesStored,
			Args:       "[REGEX…] --output FILE|DIR/",
			Summary:    "Write images to one file, for a site without internet.",
			About:      storedNames,
			Options:    slices.Concat(storedOptions, []string{"registry-insecure", "timeout", "progress"}),
			OptionHelp: registryHelp,
			Flags: func(f *pflag.FlagSet) {
				f.StringVarP(&output, "output", "o", "",
					"Write to this `FILE`, to a directory if it ends with /, or - for standard output.")
				f.StringVar(&opts.From, "from", "",
					"Read the images from a registry, `HOST/NAMESPACE[:TAG]`, without storing them.")
				f.StringVar(&opts.Since, "since", "",
					"Omit the blobs of this `INVENTORY`: a bundle, a file of kolla-build inventory, or HOST/NAMESPACE.")
				f.StringVar(&opts.Split, "split", "", "Write parts of at most this `SIZE`, such as 4G, named FILE.001 and so on.")
				f.StringVar(&opts.Parity, "parity", "",
					"With --split, write `N%` more parts, from which as many lost ones are restored.")
				f.BoolVar(&opts.Resume, "resume", false, "Continue an interrupted save only: fail if the set has changed since.")
				f.StringVar(&opts.SignKey, "sign-key", "", "Sign with the Ed25519 private key in this PEM `FILE`.")
				f.StringVar(&opts.Delta, "delta", "", "With --since: write changed layers as byte deltas, if `KIND` is bytes.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build save --output set.tar", Effect: "Save all images in the local store."},
				{Line: "kolla-build save nova- --output nova.tar", Effect: "Save the images of nova."},
				{Line: "kolla-build save --from localhost:4000/kolla:2026.1 -o set.tar",
					Effect: "Save a set of a registry, without storing it."},
				{Line: "kolla-build save -o set.tar --split 4G --parity 10%",
					Effect: "Save in parts of 4 GB, a tenth of which can be lost."},
				{Line: "kolla-build save --since have.json --delta bytes -o june.tar",
					Effect: "Save what a site lacks. The site wrote have.json with kolla-build inventory."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			return storecmd.Save(ctx, cfg, con, output, opts)
		},
	}
}

func verifyCommand() *command {
	var opts storecmd.VerifyOptions
	return &command{
		Command: cli.Command{
			Name:    "verify",
			Minor:   true,
			Values:  config.ValuesFiles,
			Args:    "FILE|DIR|PART…",
			Summary: "Verify a saved file, and show which images damage affects.",
			About: "All blobs and references are verified. Damaged, missing and extra content is reported. The exit status is " +
				"1 if the file has a problem that parity does not repair. Parts can be given in any order; one is enough if the " +
				"others are beside it.",
			Options: []string{"progress"},
			Flags: func(f *pflag.FlagSet) {
				f.StringVar(&opts.VerifyKey, "verify-key", "", "Require a signature of the key in this PEM `FILE`.")
				f.BoolVar(&opts.EachPart, "each", false, "Verify the given parts only, not whether they are enough.")
				jsonFlag(f, &opts.JSON)
			},
			Examples: []cli.Example{
				{Line: "kolla-build verify set.tar", Effect: "Verify a file. Each problem is a line."},
				{Line: "kolla-build verify /media/*/set.tar.*",
					Effect: "Verify the parts on several media, and whether lost ones can be restored."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if len(cfg.Args) == 0 {
				return oneArgument(cfg, "saved file", "kolla-build verify set.tar; kolla-build lint checks templates")
			}
			opts.Progress = cfg.Progress
			return storecmd.Verify(ctx, con, cfg.Args, opts)
		},
	}
}

func listCommand() *command {
	var asJSON bool
	return &command{
		Command: cli.Command{
			Name: "list", Minor: true, Values: config.ValuesFiles, Args: "FILE|DIR|PART…",
			Summary: "List the images in a saved file.",
			Flags:   func(f *pflag.FlagSet) { jsonFlag(f, &asJSON) },
			Examples: []cli.Example{
				{Line: "kolla-build list set.tar", Effect: "List images with their sizes, and what a delta requires."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if len(cfg.Args) == 0 {
				return oneArgument(cfg, "saved file",
					"kolla-build list set.tar; --list-images lists what can be built, kolla-build images what was built")
			}
			return storecmd.List(ctx, con, cfg.Args, asJSON)
		},
	}
}

func inventoryCommand() *command {
	var ofStore bool
	return &command{
		Command: cli.Command{
			Name: "inventory", Minor: true, Args: "HOST/NAMESPACE[:TAG]|--store",
			Summary: "List the content of a registry or the store, for save --since on another host.",
			Options: []string{"data-dir", "registry-insecure", "timeout"},
			Flags: func(f *pflag.FlagSet) {
				f.BoolVar(&ofStore, "store", false, "List the local store.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build inventory --store > have.json", Effect: "List the content of the local store."},
				{Line: "kolla-build inventory localhost:4000/kolla > have.json", Effect: "List the content of a registry."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			return storecmd.Inventory(ctx, cfg, con, cfg.Args, ofStore)
		},
	}
}

func loadCommand() *command {
	var opts storecmd.LoadOptions
	return &command{
		Command: cli.Command{
			Name:       "load",
			Values:     config.ValuesFiles,
			Args:       "FILE|DIR…",
			Summary:    "Load saved files into the store, a registry or an engine.",
			Options:    loadOptions,
			OptionHelp: loadHelp,
			Flags: func(f *pflag.FlagSet) {
				f.BoolVar(&opts.Replace, "replace", false,
					"Change names in the store and the engine, and tags in the registry, that other images have.")
				f.BoolVar(&opts.Trust, "trust", false,
					"Accept what the file says about its images: content keys, base images. For your own files.")
				f.StringVar(&opts.VerifyKey, "verify-key", "",
					"Require a signature of the key in this PEM `FILE`; signed files are trusted.")
				f.StringArrayVar(&opts.Tags, "tag", nil,
					"Load the images under the tag `NEW`, or those of one tag under another: OLD=NEW. Repeatable.")
				f.StringArrayVar(&opts.Renames, "rename", nil,
					"Change names, without their registry, as sed -E does: `s/OLD/NEW/`. Repeatable.")
				f.StringVar(&opts.Name, "name", "", "Load the image that has no name in its file as `NAME`.")
				f.BoolVarP(&opts.DryRun, "dry-run", "", false, "Show what would be loaded, and store nothing.")
				f.BoolVarP(&opts.List, "list-images", "", false, "Print the names that the images would get, and store nothing.")
			},
			Examples: []cli.Example{
				{Line: "kolla-build load set.tar --push --registry localhost:4000",
					Effect: "Push the images of a file to a registry, and print their names."},
				{Line: "kolla-build load set.tar --tag nightly=2026-11-28 --dry-run",
					Effect: "Show the names that the images would get under another tag."},
				{Line: "kolla-build load june.tar.xz nova.tar neutron.tar",
					Effect: "Load files of docker save, Podman or skopeo, all or none."},
				{Line: "kolla-build load set.tar --rename 's|^lokolla/|kolla/|'", Effect: "Load them in another namespace."},
				{Line: "kolla-build load set.tar --engine docker", Effect: "Load them into Docker on this host."},
			},
		},
		run: func(ctx context.Context, cfg *config.Config, con *console.Console) error {
			if len(cfg.Args) == 0 {
				return oneArgument(cfg, "file", "kolla-build load set.tar, or - for standard input")
			}
			return storecmd.Load(ctx, cfg, con, cfg.Args, opts)
		},
	}
}
