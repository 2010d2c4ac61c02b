package storecmd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/partialfile"
	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/transfer"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/remoteset"
	"github.com/kolla-build/kolla-build/pkg/setcopy"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/store/repair"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// SaveOptions are the options of Save alone.
type SaveOptions struct {
	From string // HOST[:PORT]/NAMESPACE[:TAG] of the images, "" for the store

	Since string // what the other side has: a bundle, an inventory or HOST/NAMESPACE; "" for nothing
	Delta string // "bytes" for byte deltas of changed layers, "" for whole blobs

	Split  string // the size of a part, "" for one file
	Parity string // the percentage of parts that may be lost, "" for none

	Resume bool // do not begin again if what an interrupted save has left cannot be continued

	SignKey string // file of the private key that signs the bundle, "" for no signature
}

// Save writes images to a bundle, a file or "-" for standard output: those that the
// configured regular expressions match, built ones of the store, of the registry, namespace
// and tag if they are set, or with o.From those of a registry.
func Save(ctx context.Context, cfg *config.Config, con *console.Console, output string, o SaveOptions) error {
	if output == "-" && console.Terminal(con.Stdout) != nil {
		return usererr.Usage(usererr.Errorf("redirect standard output, or write --output set.tar",
			"--output -: standard output is a terminal"))
	}
	split, parity, err := checkSave(cfg, output, o)
	if err != nil {
		return usererr.Usage(err)
	}
	opts := save.Options{Stdout: con.Stdout, ByteDeltas: o.Delta != "", Split: split, Parity: parity,
		Tool: "kolla-build " + con.Version, Resume: o.Resume}
	if o.SignKey != "" {
		if opts.SignKey, err = bundle.ReadSignKey(ctx, o.SignKey); err != nil {
			return usererr.Usage(fmt.Errorf("--sign-key: %w", err))
		}
	}
	progress := transfer.Start(con, "saving", cfg.Progress)
	defer progress.Stop()
	opts.DeltaProgress = func(done, total int64) { progress.UpdateAs("making byte deltas", done, total) }
	opts.Progress = func(done, total int64) { progress.UpdateAs("saving", done, total) }
	var sum save.Summary
	if o.From != "" {
		sum, err = saveFromRegistry(ctx, cfg, con, output, o, &opts)
	} else {
		opts.Configuration = recordedConfiguration(cfg)
		sum, err = saveFromStore(ctx, cfg, con, output, o, &opts)
	}
	progress.Stop()
	if output != "-" {
		noticeUnfinished(con, filepath.Dir(filepath.Clean(output)), err)
	}
	if err != nil {
		return err
	}
	reportSaved(con, output, sum, opts)
	return nil
}

// checkSave returns the error for options that do not fit together, and the size of parts and
// the percentage of parity.
func checkSave(cfg *config.Config, output string, o SaveOptions) (split int64, parity int, err error) {
	fail := func(hint, format string, args ...any) (int64, int, error) {
		return 0, 0, usererr.Errorf(hint, format, args...)
	}
	switch toDirectory := strings.HasSuffix(output, "/"); {
	case o.Delta != "" && o.Delta != "bytes":
		return fail("--delta bytes makes byte deltas of changed layers", "--delta %q is not known", o.Delta)
	case o.Delta != "" && o.Since == "":
		return fail("add --since, which lists what the other side has", "--delta needs --since")
	case output == "":
		return fail("kolla-build "+strings.Join(append([]string{"save"}, cfg.Args...), " ")+" --output set.tar",
			"save needs --output: a file, a directory that ends with /, or - for standard output")
	case output != "-" && !toDirectory && !isDir(filepath.Dir(output)):
		return fail("create the directory first, or write to another one", "--output %s: %s is not a directory", output,
			filepath.Dir(output))
	case o.Resume && output == "-":
		return fail("name a file", "--resume: what was written to standard output cannot be continued")
	case o.Resume && toDirectory:
		return fail("omit --resume: complete files in the directory are always kept", "--resume: %s is a directory", output)
	case o.Split != "" && toDirectory:
		return fail("name a file, which gives the parts their names", "--split: %s is a directory", output)
	}
	return parseSplit(o)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// reportSaved prints what was saved with these options.
func reportSaved(con *console.Console, output string, sum save.Summary, opts save.Options) {
	con.Notice("%s: %s, %s, %s", printable.Quoted(output),
		units.Count(len(sum.Images), "image"), units.Count(sum.Blobs, "blob"), units.Bytes(sum.Bytes))
	if sum.Kept > 0 {
		con.Notice("%s of it were kept from an interrupted save", units.Bytes(sum.Kept))
	}
	if opts.Since != nil {
		con.Notice("a delta: it requires %s that %s has", units.Count(sum.Required, "blob"), printable.Quoted(opts.Since.Of))
	}
	if sum.Deltas > 0 {
		con.Notice("byte deltas of %s: %s instead of %s", units.Count(sum.Deltas, "layer"), units.Bytes(sum.DeltaBytes),
			units.Bytes(sum.DeltaLayers))
	}
	for _, name := range sum.Extra {
		con.Notice("%s: %s does not belong to the bundle and was kept", printable.Quoted(output), printable.Quoted(name))
	}
	file := output
	if n := len(sum.Parts); n > 0 {
		file = sum.Parts[0]
		count := units.Count(n-sum.Parity, "part")
		if sum.Parity > 0 {
			count += " and " + units.Count(sum.Parity, "parity part")
		}
		names := printable.Quoted(file)
		if n > 1 {
			names += " to " + printable.Quoted(sum.Parts[n-1])
		}
		con.Notice("%s: %s", count, names)
	}
	key := ""
	if opts.SignKey != nil {
		key = " --verify-key PUBLIC-KEY"
	}
	con.Notice("on the other site: kolla-build load %s%s --push --registry localhost:4000", shellWord(file), key)
	if len(sum.Parts) > 1 {
		con.Notice("the other parts must be beside that one")
	}
	if opts.Since != nil {
		con.Notice("load it after the bundles that were saved before it")
	}
}

// shellWord returns a file name as bash reads it back.
func shellWord(name string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:,@%=", r)
	}
	switch {
	case name != "" && strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) < 0:
		return name
	case !strings.ContainsFunc(name, unicode.IsControl) && utf8.ValidString(name):
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	var quoted strings.Builder
	for i := range len(name) { // bytes, because what \u means depends on the locale
		if b := name[i]; b < utf8.RuneSelf && plain(rune(b)) {
			quoted.WriteByte(b)
		} else {
			fmt.Fprintf(&quoted, `\x%02x`, b)
		}
	}
	return "$'" + quoted.String() + "'"
}

// noticeUnfinished prints which files interrupted saves have left in a directory: they are
// hidden, and use space. Those of a save that has just failed are in its error.
func noticeUnfinished(con *console.Console, dir string, failed error) {
	var full *store.FullError
	if failed != nil && !errors.As(failed, &full) {
		return
	}
	if files, bytes := partialfile.List(dir); len(files) > 0 {
		con.Notice("%s of interrupted saves in %s, %s: %s; the same save continues, or remove what is not needed",
			units.Count(len(files), "file"), dir, units.Bytes(bytes), printable.Quoted(filepath.Base(files[0])))
	}
}

// saveFromStore saves images of the local store.
func saveFromStore(
	ctx context.Context, cfg *config.Config, con *console.Console, output string,
	o SaveOptions, opts *save.Options,
) (save.Summary, error) {
	s, err := workspace.OpenStoreForCopying(cfg)
	if err != nil {
		return save.Summary{}, err
	}
	defer s.Close()
	q, err := selection(cfg, con)
	if err != nil {
		return save.Summary{}, err
	}
	q.builtOnly = true
	entries, err := find(s, q)
	if err != nil {
		return save.Summary{}, err
	}
	if len(entries) == 0 {
		return save.Summary{}, usererr.Errorf("kolla-build images lists what is stored", "save: no built images%s in %s",
			q.limits(), s.Dir())
	}
	if entries, err = withArtifacts(ctx, s, entries); err != nil {
		return save.Summary{}, err
	}
	if o.Since != "" {
		if opts.Since, err = readSince(ctx, cfg, con, s, o.Since); err != nil {
			return save.Summary{}, err
		}
	}
	sum, err := save.Bundle(ctx, s, entries, output, *opts)
	if err != nil {
		return sum, repair.RemoveDamaged(ctx, s, err)
	}
	return sum, nil
}

// withArtifacts adds the signatures and SBOMs of images, which are stored under separate tags.
func withArtifacts(ctx context.Context, s *store.Store, entries []store.Entry) ([]store.Entry, error) {
	all, err := s.Entries()
	if err != nil {
		return nil, err
	}
	bySubject := map[string][]store.Entry{} // by repository and digest
	for _, e := range all {
		repository, tag, _ := imageref.Split(e.Name)
		if hex := imageref.ArtifactSubject(tag); hex != "" {
			key := repository + "@" + hex
			bySubject[key] = append(bySubject[key], e)
		}
	}
	if len(bySubject) == 0 {
		return entries, nil
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name] = true
	}
	for i := 0; i < len(entries); i++ { // artifacts can have artifacts
		blobs, err := s.Blobs(ctx, entries[i].Digest)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", entries[i].Name, err)
		}
		repository, _, _ := imageref.Split(entries[i].Name)
		for _, b := range blobs {
			for _, e := range bySubject[repository+"@"+b.Digest.Encoded()] {
				if !names[e.Name] {
					names[e.Name] = true
					entries = append(entries, e)
				}
			}
		}
	}
	return entries, nil
}

// withOrphans adds the signatures and SBOMs of images that have no other names in the store.
func withOrphans(ctx context.Context, s *store.Store, entries []store.Entry) ([]store.Entry, error) {
	all, err := s.Entries()
	if err != nil {
		return nil, err
	}
	removed, needed := map[string]bool{}, map[string]bool{}
	for _, e := range entries {
		removed[e.Name] = true
	}
	var remaining []store.Entry
	for _, e := range all {
		if _, tag, _ := imageref.Split(e.Name); e.Name != "" && !removed[e.Name] && !imageref.IsArtifactTag(tag) {
			remaining = append(remaining, e)
		}
	}
	found, err := withArtifacts(ctx, s, slices.Clone(entries))
	if err == nil {
		remaining, err = withArtifacts(ctx, s, remaining)
	}
	if damaged := (*store.BlobError)(nil); errors.As(err, &damaged) {
		return entries, nil // what refers to a damaged image cannot be known
	}
	if err != nil {
		return nil, err
	}
	for _, e := range remaining {
		needed[e.Name] = true
	}
	return slices.DeleteFunc(found, func(e store.Entry) bool { return needed[e.Name] && !removed[e.Name] }), nil
}

// saveFromRegistry saves images of a registry, without storing them.
func saveFromRegistry(
	ctx context.Context, cfg *config.Config, con *console.Console, output string,
	o SaveOptions, opts *save.Options,
) (save.Summary, error) {
	from, err := setcopy.ParseLocation(o.From)
	if err != nil {
		return save.Summary{}, fmt.Errorf("--from: %w", err)
	}
	for _, option := range []string{"registry", "namespace"} {
		// A configuration file can have them for other commands.
		if cfg.Origin(option).Kind == config.OriginFlag {
			hint := "omit it: --from HOST[:PORT]/NAMESPACE[:TAG] names the registry and the namespace"
			return save.Summary{}, cfg.Mistake(option, hint, "--from "+o.From+" is another place")
		}
	}
	if from.Tag != "" && cfg.Origin("tag").Kind == config.OriginFlag && cfg.Tag != from.Tag {
		return save.Summary{}, cfg.Mistake("tag", "name the tag once", "--from "+o.From+" has another tag")
	}
	if from.Tag == "" && cfg.IsSet("tag") {
		from.Tag = cfg.Tag
	}
	client, err := workspace.RegistryClient(ctx, cfg, con)
	if err != nil {
		return save.Summary{}, err
	}
	defer client.Close()
	if o.Since != "" {
		s, err := workspace.OpenStoreForCopying(cfg)
		switch {
		case err == nil:
			defer s.Close()
		case isMissing(err):
			s = nil // a bundle or an inventory lists what the other side has
		default:
			return save.Summary{}, err
		}
		if opts.Since, err = readSince(ctx, cfg, con, s, o.Since); err != nil {
			return save.Summary{}, err
		}
	}
	set, err := remoteset.Open(ctx, client, from, cfg.Regex)
	if err != nil {
		return save.Summary{}, err
	}
	for _, name := range set.Omitted() {
		con.Notice("warning: %s is not saved, because it is an artifact from before OCI 1.1", printable.Quoted(name))
	}
	if opts.Since != nil {
		set.AddOlderLayers(opts.Since)
	}
	opts.ReadOnce = true
	return save.Bundle(ctx, set, set.Entries(), output, *opts)
}

// recordedConfiguration returns what a bundle records about the configuration: the options
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

// parseSplit returns the size of parts in bytes and the percentage of parity.
func parseSplit(o SaveOptions) (size int64, parity int, err error) {
	if o.Split == "" && o.Parity == "" {
		return 0, 0, nil
	}
	if o.Split == "" {
		return 0, 0, usererr.Errorf("add --split SIZE, such as --split 4G", "--parity needs --split")
	}
	switch size, err = config.ParseSize(o.Split); {
	case err != nil:
		return 0, 0, usererr.Errorf("such as --split 650M or --split 4G", "--split %q is not a size", o.Split)
	case size < parts.MinSize:
		return 0, 0, usererr.Errorf("such as --split 650M or --split 4G",
			"--split %s is too small: a part has at least %s", o.Split, units.Bytes(parts.MinSize))
	}
	if size == math.MaxUint32+1 {
		size-- // FAT holds files of less than 4 GiB
	}
	if o.Parity != "" {
		if parity, err = strconv.Atoi(strings.TrimSuffix(o.Parity, "%")); err != nil || parity < 1 || parity > 50 {
			return 0, 0, usererr.Errorf("such as --parity 10%, which restores a tenth of the parts",
				"--parity %q is not a percentage from 1 to 50", o.Parity)
		}
	}
	return size, parity, nil
}
