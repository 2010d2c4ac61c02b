package freshness

import (
	"context"
	"slices"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

const (
	// packageNamesTime limits the search for the names of packages, which are only a help.
	packageNamesTime = 15 * time.Second
	// packageNamesThreads is how many repositories are read at once.
	packageNamesThreads = 4
)

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
	var mu sync.Mutex
	var names []string
	var g errgroup.Group
	g.SetLimit(packageNamesThreads)
	for _, repo := range have.Repositories(arch) {
		if repo.Disabled {
			continue
		}
		g.Go(func() error {
			index, err := in.repositories.Index(ctx, repo)
			if err != nil {
				return nil
			}
			offers, err := index.Offers(ctx)
			if err != nil {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			for name := range offers {
				names = append(names, name)
			}
			return nil
		})
	}
	_ = g.Wait()
	slices.Sort(names)
	return slices.Compact(names)
}
