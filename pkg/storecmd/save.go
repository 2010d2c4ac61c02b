package storecmd

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/store/repair"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// SaveOptions are the options of Save alone.
type SaveOptions struct {
	Since string // what the other side has: a bundle, an inventory or HOST/NAMESPACE; "" for nothing
	Delta string // "bytes" for byte deltas of changed layers, "" for whole blobs

	Split  string // the size of a part, "" for one file
	Parity string // the percentage of parts that may be lost, "" for none

	SignKey string // file of the private key that signs the bundle, "" for no signature
}

// Save writes built images to a bundle, a file or "-" for standard output: those
// that the configured regular expressions match, of the registry, namespace and
// tag if they are set.
func Save(ctx context.Context, cfg *config.Config, con *console.Console, output string, o SaveOptions) error {
	switch {
	case o.Delta != "" && o.Delta != "bytes":
		return usererr.Usage(usererr.Errorf("--delta bytes makes byte deltas of changed layers", "--delta %q is not known", o.Delta))
	case o.Delta != "" && o.Since == "":
		return usererr.Usage(usererr.Errorf("add --since, which says what the other side has", "--delta needs --since"))
	case output == "":
		return usererr.Usage(usererr.Errorf("kolla-build save --output set.tar, or - for standard output", "save: no --output"))
	}
	if o.Split != "" && strings.HasSuffix(output, "/") {
		return usererr.Usage(usererr.Errorf("name a file, which gives the parts their names", "--split: %s is a directory", output))
	}
	split, parity, err := splitting(o)
	if err != nil {
		return usererr.Usage(err)
	}
	s, err := workspace.OpenStoreForReading(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	q, err := selection(cfg, con)
	if err != nil {
		return err
	}
	q.builtOnly = true
	entries, err := find(s, q)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return usererr.Errorf("kolla-build images lists what is stored", "save: no built images in %s", s.Dir())
	}
	opts := bundle.SaveOptions{Stdout: con.Stdout, Bytes: o.Delta != "", Split: split, Parity: parity,
		Tool: "kolla-build " + con.Version, Configuration: recordedConfiguration(cfg)}
	if o.SignKey != "" {
		if opts.SignKey, err = bundle.ReadSignKey(ctx, o.SignKey); err != nil {
			return fmt.Errorf("--sign-key: %w", err)
		}
	}
	if o.Since != "" {
		if opts.Since, err = readSince(ctx, cfg, con, s, o.Since); err != nil {
			return err
		}
	}
	sum, err := bundle.Save(ctx, s, entries, output, opts)
	if err != nil {
		return repair.RemoveDamaged(ctx, s, err)
	}
	con.Notice("%s: %s, %s, %s", output, units.Count(len(sum.Images), "image"), units.Count(sum.Blobs, "blob"), units.Bytes(sum.Bytes))
	if opts.Since != nil {
		con.Notice("a delta: it requires %s that %s has", units.Count(sum.Required, "blob"), opts.Since.Of)
	}
	if sum.Deltas > 0 {
		con.Notice("byte deltas of %s: %s instead of %s", units.Count(sum.Deltas, "layer"), units.Bytes(sum.DeltaBytes), units.Bytes(sum.DeltaLayers))
	}
	for _, name := range sum.Extra {
		con.Notice("%s: %s belongs to no bundle and was left there", output, printable(name))
	}
	file := output
	if n := len(sum.Parts); n > 0 {
		file = sum.Parts[0]
		con.Notice("%s: %s to %s", units.Count(n, "part"), file, sum.Parts[n-1])
	}
	con.Notice("on the other site: kolla-build load %s --push --registry localhost:4000", file)
	return nil
}

// recordedConfiguration returns what a bundle says about the configuration: the options
// that decide what images are made of, and those that name them, as far as they are set.
func recordedConfiguration(cfg *config.Config) map[string]string {
	values := map[string]string{}
	for _, o := range config.Options() {
		switch {
		case o.Name == "build-args": // their values can be secrets that no pattern finds
		case o.Group == config.GroupBase, o.Group == config.GroupRelease, o.Group == config.GroupNames:
			if value := cfg.Text(o.Name); cfg.IsSet(o.Name) && value != "" {
				values[o.Name] = withoutSecrets(value)
			}
		}
	}
	return values
}

// withoutSecrets returns a value without the logins in its URLs, and without what follows
// the first query, which can be a token.
func withoutSecrets(value string) string {
	value = redact.Text(value, "")
	if before, _, query := strings.Cut(value, "?"); query && strings.Contains(before, "://") {
		return before + "?***"
	}
	return value
}

// splitting returns the size of parts and the percentage of parity.
func splitting(o SaveOptions) (size int64, parity int, err error) {
	if o.Split == "" && o.Parity == "" {
		return 0, 0, nil
	}
	if o.Split == "" {
		return 0, 0, usererr.Errorf("add --split SIZE, such as --split 4G", "--parity needs --split")
	}
	if size, err = config.ParseSize(o.Split); err != nil || size < parts.MinSize {
		return 0, 0, usererr.Errorf("such as --split 650M or --split 4G", "--split %q is not the size of a part, at least %s", o.Split, units.Bytes(parts.MinSize))
	}
	if o.Parity != "" {
		if parity, err = strconv.Atoi(strings.TrimSuffix(o.Parity, "%")); err != nil || parity < 1 || parity > 50 {
			return 0, 0, usererr.Errorf("such as --parity 10%, which restores a tenth of the parts", "--parity %q is not a percentage from 1 to 50", o.Parity)
		}
	}
	return size, parity, nil
}
