package storecmd

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle/contents"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// parseRetags returns the new tags that the values of load's --tag describe.
func parseRetags(values []string) (*retags, error) {
	r := &retags{replaced: map[string]string{}, used: map[string]bool{}}
	for _, value := range values {
		from, to, pair := strings.Cut(value, "=")
		if !pair {
			to = value
		}
		if err := imageref.CheckTag(to); err != nil {
			return nil, usererr.Usage(fmt.Errorf("--tag %s: %w", value, err))
		}
		switch _, known := r.replaced[from]; {
		case pair && known || !pair && r.all != "":
			return nil, usererr.Usage(usererr.Errorf("write OLD=NEW for each tag of the file",
				"--tag %s: another --tag is for the same images",
				value))
		case pair:
			r.replaced[from] = to
		default:
			r.all = to
		}
	}
	return r, nil
}

// retags are the new tags of images.
type retags struct {
	all      string            // of those without their own tag, "" for none
	replaced map[string]string // by the tag in the file
	used     map[string]bool   // tags in the file that were replaced
}

// of returns the new tag of an image.
func (r *retags) of(tag string) string {
	if to, ok := r.replaced[tag]; ok {
		r.used[tag] = true
		return to
	}
	return cmp.Or(r.all, tag)
}

// warn prints which tags no image had, and which renames changed no name: they may be misspelled.
func (r *retags) warn(con *console.Console, renames []imageref.Rename, renamed []bool) {
	for i, rename := range renames {
		if !renamed[i] {
			con.Notice("warning: --rename %s: it changes no name", printable.Quoted(rename.String()))
		}
	}
	for _, from := range slices.Sorted(maps.Keys(r.replaced)) {
		if !r.used[from] {
			con.Notice("warning: --tag %s=%s: no image has the tag %s", from, r.replaced[from], printable.Quoted(from))
		}
	}
}

// preview prints what loading a bundle would store and push: the names or, with what the store
// and the registry have, a table.
func preview(
	ctx context.Context, cfg *config.Config, con *console.Console, inputs []load.Input,
	opts load.Options, tags *retags, client *registry.Client, namesOnly bool,
) error {
	loaded, err := load.Read(ctx, inputs, nil, opts)
	if err != nil {
		return err
	}
	tags.warn(con, opts.Renames, loaded.Renamed)
	if namesOnly {
		for _, e := range loaded.Images {
			fmt.Fprintln(con.Stdout, e.Name)
		}
		return nil
	}
	s, err := workspace.OpenStoreForReading(cfg)
	if err != nil && !isMissing(err) {
		return err
	}
	if err == nil {
		defer s.Close()
	} else {
		s = nil
	}
	header := "NAME\tDIGEST\tSTORE"
	var pushed publish.Set
	var current map[string]digest.Digest
	if client != nil {
		pushed = setOf(loaded.Images)
		if names := pushed.References(); len(names) > 0 {
			if err := client.Reach(ctx, names[0]); err != nil {
				return err
			}
			if current, err = publish.CurrentTags(ctx, client, names); err != nil {
				return err
			}
		}
		header += "\tREGISTRY"
	}
	w := console.NewTable(con.Stdout)
	fmt.Fprintln(w, header)
	for _, e := range loaded.Images {
		state, err := stateInStore(s, e, opts.Replace)
		if err != nil {
			return err
		}
		d := e.Digest.String()
		if d == "" {
			d = "-" // it depends on layers that are not read
		}
		fmt.Fprintf(w, "%s\t%.19s\t%s", e.Name, d, state)
		if _, ok := pushed[e.Name]; ok {
			fmt.Fprintf(w, "\t%s", stateOf(current[e.Name], e.Digest, opts.Replace))
		} else if client != nil {
			fmt.Fprint(w, "\t-")
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return checkRequired(ctx, inputs, s)
}

// checkRequired returns the error with which loading deltas would end because the store, which may be
// nil, and the other files lack blobs that they require. It does not notice deltas that require each
// other. If a file cannot be listed, nothing is checked: a pipe has already been read, and an archive of
// another tool may contain any blob.
func checkRequired(ctx context.Context, inputs []load.Input, s *store.Store) error {
	var listings []*contents.Listing
	for _, in := range inputs {
		if in.Path == "-" {
			return nil
		}
		listed, err := contents.List(ctx, in.Path, in.Parts, nil)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return nil //nolint:nilerr // a dry run does not look for damage
		}
		listings = append(listings, listed)
	}
	for i, listed := range listings {
		if listed.Delta == nil {
			continue
		}
		missing := &load.MissingError{Since: listed.Delta.Since}
		for _, r := range listed.Delta.Requires {
			carried := slices.ContainsFunc(listings, func(l *contents.Listing) bool { return l.Carries(r.Digest) })
			if !carried && (s == nil || !s.HasBlob(r.Digest, r.Size)) {
				missing.Add(r.Digest, r.Image, r.More)
			}
		}
		if len(missing.Missing) > 0 {
			return fmt.Errorf("loading bundle %s: %w", inputs[i].Path, missing)
		}
	}
	return nil
}

// stateInStore describes what loading an image changes in the store, which may be nil.
func stateInStore(s *store.Store, e store.Entry, replace bool) (string, error) {
	if s == nil {
		return stateOf("", e.Digest, replace), nil
	}
	current, ok, err := s.Lookup(e.Name)
	if err != nil || !ok {
		return stateOf("", e.Digest, replace), err
	}
	return stateOf(current.Digest, e.Digest, replace), nil
}

// stateOf describes what loading an image changes about a name. current is the image that has
// the name, or "", and loaded is "" if it is not known yet.
func stateOf(current, loaded digest.Digest, replace bool) string {
	switch {
	case current == "":
		return "new"
	case loaded == "":
		return "exists"
	case current == loaded:
		return "unchanged"
	case replace:
		return "replaced"
	}
	return "another image has the name: add --replace"
}
