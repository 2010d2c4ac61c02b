package freshness

import (
	"context"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// packageNamesTime limits the search for the names of packages, which are only a help.
const packageNamesTime = 30 * time.Second

// PackageNames returns the names of the packages in the repositories of an image, without
// the disabled ones, sorted. arch is Debian's name of the architecture. Repositories that
// cannot be read in time are left out.
func (in *Inputs) PackageNames(ctx context.Context, img v1.Image, arch string) []string {
	ctx, cancel := context.WithTimeout(ctx, packageNamesTime)
	defer cancel()
	have, err := in.opts.Reader.Read(ctx, img)
	if err != nil {
		return nil
	}
	var names []string
	for _, repo := range have.Repositories(arch) {
		if repo.Disabled {
			continue
		}
		index, err := in.repositories.Index(ctx, repo)
		if err != nil {
			continue
		}
		offers, err := index.Offers(ctx)
		if err != nil {
			continue
		}
		for name := range offers {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
