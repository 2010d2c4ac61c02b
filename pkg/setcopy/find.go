package setcopy

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// Image is one tag of an image in a registry.
type Image struct {
	Name   string // without registry and namespace
	Tag    string
	Digest digest.Digest // of its manifest or index
}

// plainName matches names that can be found without a list of repositories.
var plainName = regexp.MustCompile(`^\^?[a-z0-9][a-z0-9_-]*\$?$`)

// Find returns the images of a location whose names match one of the regular
// expressions, or all without expressions, sorted by name and tag. No image is an error.
func Find(ctx context.Context, client *registry.Client, from Location, exprs []string) ([]Image, error) {
	patterns, err := imageset.CompilePatterns(exprs)
	if err != nil {
		return nil, usererr.Usage(err)
	}
	found, err := names(ctx, client, from, exprs)
	if err != nil {
		return nil, err
	}
	var selected []string
	for _, name := range found {
		ok, err := patterns.Match(name)
		if err != nil {
			return nil, err
		}
		if ok || len(exprs) == 0 {
			selected = append(selected, name)
		}
	}
	if len(selected) == 0 {
		return nil, nothingFound(ctx, client, from, found, exprs)
	}
	var mu sync.Mutex
	var images []Image
	other := map[string]bool{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * client.Jobs())
	for _, name := range selected {
		g.Go(func() error {
			found, tags, err := tagged(gctx, client, from, name)
			mu.Lock()
			defer mu.Unlock()
			images = append(images, found...)
			for _, tag := range tags {
				other[tag] = true
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, noTag(ctx, client, from, selected)
	}
	slices.SortFunc(images, func(a, b Image) int {
		return strings.Compare(a.Name+":"+a.Tag, b.Name+":"+b.Tag)
	})
	return images, nil
}

// names lists the images in a namespace.
func names(ctx context.Context, client *registry.Client, from Location, exprs []string) ([]string, error) {
	prefix := from.Namespace + "/"
	paths, err := client.Repositories(ctx, from.Registry, prefix)
	var unlisted *registry.NoCatalogError
	isPattern := func(e string) bool { return !plainName.MatchString(e) }
	if errors.As(err, &unlisted) && len(exprs) > 0 && !slices.ContainsFunc(exprs, isPattern) {
		var literal []string
		for _, e := range exprs {
			literal = append(literal, strings.Trim(e, "^$"))
		}
		return literal, nil
	}
	if err != nil {
		return nil, err
	}
	var found []string
	for _, path := range paths {
		name := strings.TrimPrefix(path, prefix)
		if _, err := imageref.ParseTag(from.Repository(name)); err != nil || strings.Contains(name, "/") {
			continue
		}
		found = append(found, name)
	}
	return found, nil
}

// tagged returns an image's tags that belong to the location.
func tagged(ctx context.Context, client *registry.Client, from Location, name string) (
	images []Image, tags []string, err error) {
	tags = []string{from.Tag}
	if from.Tag == "" {
		if tags, err = client.Tags(ctx, from.Repository(name)); err != nil {
			return nil, nil, err
		}
	}
	for _, tag := range tags {
		if imageref.IsArtifactTag(tag) {
			continue
		}
		d, err := client.Head(ctx, from.Repository(name)+":"+tag)
		var missing *registry.NotFoundError
		if errors.As(err, &missing) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		images = append(images, Image{Name: name, Tag: tag, Digest: d.Digest})
	}
	return images, tags, nil
}

// nothingFound is the error if no repository was selected.
func nothingFound(ctx context.Context, client *registry.Client, from Location, names, exprs []string) error {
	if len(names) > 0 {
		hint := cmp.Or(suggest.DidYouMeanAny(suggest.Near(strings.Trim(exprs[0], "^$.*-"), names, 3)),
			"the regular expressions are matched against names without registry, namespace and tag")
		return usererr.Errorf(hint, "none of the %d images in %s/%s matches %s", len(names), from.Registry, from.Namespace,
			strings.Join(exprs, ", "))
	}
	hint := "kolla-build with --push, or load --push, publishes images"
	if paths, err := client.Repositories(ctx, from.Registry, ""); err == nil {
		var available []string
		for _, path := range paths {
			if i := strings.LastIndexByte(path, '/'); i > 0 && !slices.Contains(available, path[:i]) {
				available = append(available, path[:i])
			}
		}
		if len(available) > 0 {
			hint = "its namespaces are " + strings.Join(available[:min(5, len(available))], ", ")
		}
		if slices.Contains(paths, from.Namespace) {
			parent, image, _ := cutLast(from.Namespace)
			hint = image + " is an image: name its namespace, and then the image"
			if parent != "" {
				hint += ", as in " + Location{from.Registry, parent, from.Tag}.String() + " … ^" + image + "$"
			}
		}
	}
	return usererr.Errorf(hint, "no images in %s/%s", from.Registry, from.Namespace)
}

// noTag is the error if no selected image has the tag.
func noTag(ctx context.Context, client *registry.Client, from Location, selected []string) error {
	hint := ""
	if tags, err := client.Tags(ctx, from.Repository(selected[0])); err == nil && len(tags) > 0 {
		slices.Sort(tags)
		hint = "the tags of " + selected[0] + " are " + strings.Join(tags[max(0, len(tags)-5):], ", ")
	}
	return usererr.Errorf(hint, "none of the %d selected images in %s/%s has the tag %s", len(selected), from.Registry,
		from.Namespace,
		from.Tag)
}

func cutLast(path string) (before, after string, found bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}
