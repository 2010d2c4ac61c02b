package storecmd

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// parseRetags returns the function that the values of load's --tag describe, nil
// without any.
func parseRetags(values []string) (func(string) string, error) {
	if len(values) == 0 {
		return nil, nil
	}
	all, replaced := "", map[string]string{}
	for _, value := range values {
		from, to, pair := strings.Cut(value, "=")
		if !pair {
			to = value
		}
		if err := imageref.CheckTag(to); err != nil {
			return nil, usererr.Usage(fmt.Errorf("--tag %s: %w", value, err))
		}
		switch _, known := replaced[from]; {
		case pair && known || !pair && all != "":
			return nil, usererr.Usage(usererr.Errorf("write OLD=NEW for each tag of the file", "--tag %s: another --tag is for the same images", value))
		case pair:
			replaced[from] = to
		default:
			all = to
		}
	}
	return func(tag string) string {
		if to, ok := replaced[tag]; ok {
			return to
		}
		if all != "" {
			return all
		}
		return tag
	}, nil
}

// preview prints what loading a bundle would store: the names or, with what the store
// has, a table.
func preview(ctx context.Context, cfg *config.Config, con *console.Console, inputs []bundle.Input, opts bundle.LoadOptions, namesOnly bool) error {
	loaded, err := bundle.Read(ctx, inputs, nil, opts)
	if err != nil {
		return err
	}
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
	w := tabwriter.NewWriter(con.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tDIGEST\tSTORE")
	for _, e := range loaded.Images {
		state, err := stateOf(s, e, opts.Replace)
		if err != nil {
			return err
		}
		d := e.Digest.String()
		if d == "" {
			d = "-" // it depends on layers that are not read
		}
		fmt.Fprintf(w, "%s\t%.19s\t%s\n", e.Name, d, state)
	}
	return w.Flush()
}

// stateOf describes what loading an image changes in the store, which may be nil.
func stateOf(s *store.Store, e store.Entry, replace bool) (string, error) {
	if s == nil {
		return "new", nil
	}
	have, ok, err := s.Lookup(e.Name)
	switch {
	case err != nil:
		return "", err
	case !ok:
		return "new", nil
	case e.Digest == "":
		return "exists", nil
	case have.Digest == e.Digest:
		return "unchanged", nil
	case replace:
		return "replaced", nil
	}
	return "another image has the name: add --replace", nil
}
