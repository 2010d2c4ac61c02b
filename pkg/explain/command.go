package explain

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageset"
)

// Options specifies which images the command explains, and how.
type Options struct {
	Images []string
	JSON   bool
	All    bool // all options, not only those that matter
}

// Select returns the regular expressions that select the named images. It is an error if the
// configuration's tree has no image of one of the names.
func Select(cfg *config.Config, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, usererr.Usage(usererr.Errorf("kolla-build explain nova-api", "explain: no image is named"))
	}
	choices := imageset.Names(cfg)
	var patterns []string
	for _, name := range names {
		if len(choices) > 0 && !slices.Contains(choices, name) {
			hint := suggest.DidYouMean(name, choices)
			if hint == "" {
				hint = "kolla-build --list-images lists the images"
			}
			return nil, usererr.Usage(usererr.Errorf(hint, "no image %q in the template tree", name))
		}
		patterns = append(patterns, "^"+regexp.QuoteMeta(name)+"$")
	}
	return patterns, nil
}

// Run explains images and prints the explanations.
func Run(ctx context.Context, con *console.Console, in Input, opts Options) error {
	in.All = opts.All
	var explanations []*Explanation
	for _, name := range opts.Images {
		x, err := explainImage(ctx, in, name)
		if err != nil {
			return err
		}
		explanations = append(explanations, x)
	}
	if opts.JSON {
		return con.PrintJSON(explanations)
	}
	for i, x := range explanations {
		if i > 0 {
			fmt.Fprintln(con.Stdout)
		}
		if err := x.WriteText(console.Printable(con.Stdout)); err != nil {
			return err
		}
	}
	return nil
}
