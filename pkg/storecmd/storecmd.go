// Package storecmd has the commands whose subject is the local store: images,
// remove, gc, save and load. It must not know how images are built.
package storecmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build/builderdir"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// listedImage is an image as Images prints it in JSON.
type listedImage struct {
	Name     string `json:"name"`
	Digest   string `json:"digest"`
	Size     int64  `json:"size"`
	Kind     string `json:"kind"`
	Created  string `json:"created"`
	Key      string `json:"key,omitempty"`
	Platform string `json:"platform,omitempty"` // several are separated by commas
}

// Images lists the images in the store that the configured regular expressions
// match, as a table or as JSON.
func Images(cfg *config.Config, con *console.Console, asJSON bool) error {
	s, err := workspace.OpenStoreForReading(cfg)
	var entries []store.Entry
	switch {
	case err == nil:
		defer s.Close()
		if entries, err = find(s, query{patterns: cfg.Regex}); err != nil {
			return err
		}
	case isMissing(err):
		con.Notice("%v", err)
	default:
		return err
	}
	if asJSON {
		images := []listedImage{}
		for _, e := range entries {
			images = append(images,
				listedImage{e.Name, e.Digest.String(), e.Size, string(e.Kind), e.Created.UTC().Format(time.RFC3339), e.Key,
					platforms(s, e)})
		}
		return con.PrintJSON(images)
	}
	w := console.NewTable(con.Stdout)
	fmt.Fprintln(w, "NAME\tPLATFORM\tDIGEST\tSIZE\tSTORED")
	for _, e := range entries {
		fmt.Fprintf(w, "%s\t%s\t%.19s\t%s\t%s\n", e.Name, platforms(s, e), e.Digest, units.Bytes(e.Size),
			units.LocalTime(e.Stored))
	}
	return w.Flush()
}

// isMissing reports whether there is no store yet.
func isMissing(err error) bool {
	var oe *store.OpenError
	return errors.As(err, &oe) && oe.Problem == store.ProblemMissing
}

// GCOptions select what GC removes.
type GCOptions struct {
	Keep         time.Duration // how long images without a name are kept
	BuilderCache bool          // remove the builder's cache too
	DryRun       bool          // remove nothing, only print what would be removed
}

// GC removes the images that have had no name for longer than opts.Keep, the blobs that
// no image uses and, if asked for, the builder's cache. Then it prints what the data
// directory holds.
func GC(ctx context.Context, cfg *config.Config, con *console.Console, opts GCOptions) error {
	if err := gcStore(ctx, cfg, con, opts); err != nil {
		return err
	}
	return errors.Join(gcBuilder(cfg, con, opts), writeUsage(cfg, con))
}

// gcBuilder removes what a killed builder has left and, if asked for, the builder's cache,
// which includes it.
func gcBuilder(cfg *config.Config, con *console.Console, opts GCOptions) error {
	dir, verb := workspace.BuilderDir(cfg), ""
	if opts.DryRun {
		verb = "would be "
	}
	if opts.BuilderCache {
		var freed int64
		var err error
		if opts.DryRun {
			freed = disk.Usage(dir)
		} else {
			freed, err = builderdir.RemoveCache(dir)
		}
		if err == nil {
			con.Notice("builder's cache: %s %sfreed", units.Bytes(freed), verb)
		}
		return err
	}
	find := builderdir.RemoveRemains
	if opts.DryRun {
		find = builderdir.FindRemains
	}
	remains, err := find(dir)
	if err == nil && remains != (builderdir.Remains{}) {
		con.Notice("builder: %s and %s of a killed builder %sremoved, %s %[3]sfreed", units.Count(remains.Steps, "step"),
			units.Count(remains.Mounts, "mount"), verb, units.Bytes(remains.Bytes))
	}
	return err
}

// writeUsage prints what the directories of the data directory hold.
func writeUsage(cfg *config.Config, con *console.Console) error {
	entries, err := os.ReadDir(cfg.DataDir)
	if err != nil {
		return nil // there is none yet
	}
	contents := map[string]string{
		"store":        "images",
		"buildkit":     "the builder's cache; gc --builder-cache removes it",
		"registry":     "the embedded registry; kolla-build registry gc removes its unused content",
		"sources":      "downloaded sources",
		"packages":     "package lists of images",
		"repositories": "indexes of package repositories",
		"lock":         "files that lock recorded",
		"stepproxy":    "certificates of lock and --offline",
		"publications": "journals of publications",
		"runs":         "durations and sizes of earlier runs",
		"logs":         "logs of images",
		"reports":      "reports of nightly runs",
	}
	w := console.NewTable(con.Stdout)
	for _, e := range entries {
		if e.IsDir() {
			path := filepath.Join(cfg.DataDir, e.Name())
			fmt.Fprintf(w, "%s\t%s\t%s\n", path, units.Bytes(disk.Usage(path)), cmp.Or(contents[e.Name()], "unknown"))
		}
	}
	return w.Flush()
}

func gcStore(ctx context.Context, cfg *config.Config, con *console.Console, opts GCOptions) error {
	open := workspace.OpenExistingStore
	if opts.DryRun {
		open = workspace.OpenStoreForReading
	}
	s, err := open(cfg)
	if isMissing(err) {
		con.Notice("%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	before := time.Now().Add(-opts.Keep)
	removed, forgotten, verb := store.GCResult{}, 0, ""
	if opts.DryRun {
		verb = "would be "
		removed, forgotten, err = s.Unused(ctx, before)
	} else if forgotten, err = s.Forget(before); err == nil {
		removed, err = s.GC(ctx)
	}
	var temporary store.Temporary
	if err == nil {
		temporary, err = s.Temporary()
	}
	if err != nil {
		return err
	}
	if temporary.Files > 0 {
		con.Notice("store: %s of killed processes %sremoved, %s %[2]sfreed", units.Count(temporary.Files, "temporary file"),
			verb, units.Bytes(temporary.Bytes))
	}
	if forgotten += removed.Damaged; forgotten+removed.Blobs == 0 {
		if temporary.Files == 0 {
			con.Notice("store: nothing to remove")
		}
		return nil
	}
	con.Notice("store: %s %sremoved, %s %[2]sfreed", imagesAndBlobs(forgotten, removed.Blobs), verb, units.Bytes(removed.Bytes))
	return nil
}

// imagesAndBlobs counts what is removed, without a count of zero.
func imagesAndBlobs(images, blobs int) string {
	switch {
	case images == 0:
		return units.Count(blobs, "blob")
	case blobs == 0:
		return units.Count(images, "unnamed image")
	}
	return units.Count(images, "unnamed image") + " and " + units.Count(blobs, "blob")
}

// Remove removes the names of images in the store, base images included: those
// that the configured regular expressions match, of the registry, namespace and
// tag if they are set. Their signatures and SBOMs are removed with the last name of an image.
// A dry run prints the names only.
func Remove(ctx context.Context, cfg *config.Config, con *console.Console, dryRun bool) error {
	if len(cfg.Regex) == 0 {
		return usererr.Usage(usererr.Errorf("kolla-build remove '^nova' removes the images whose names begin with nova",
			"remove: no regular expression"))
	}
	open := workspace.OpenExistingStore
	if dryRun {
		open = workspace.OpenStoreForReading
	}
	s, err := open(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	q, err := selection(cfg, con)
	if err != nil {
		return err
	}
	entries, err := find(s, q)
	if err == nil {
		entries, err = withOrphans(ctx, s, entries)
	}
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		con.Notice("nothing removed: no image%s in %s matches", q.limits(), s.Dir())
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	removed := len(names)
	if !dryRun {
		removed, err = s.Remove(names...)
	}
	if err == nil {
		for _, name := range names {
			fmt.Fprintln(con.Stdout, printable.Quoted(name))
		}
	}
	if dryRun {
		con.Notice("%s would be removed", units.Count(removed, "name"))
		return nil
	}
	con.Notice("%s removed; kolla-build gc frees the space", units.Count(removed, "name"))
	return err
}
