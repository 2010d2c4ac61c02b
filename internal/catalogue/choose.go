package main

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed ci.txt
var ciList string

// choose returns the images that a shard builds: those of whole families, so that the
// shards share few parents, or those of ci.txt.
func choose(ctx context.Context, to Target, shard string) ([]string, error) {
	if to.InstallType == kollaType {
		return kollaImages, nil
	}
	images, err := Images(ctx, to)
	if err != nil {
		return nil, err
	}
	if to.InstallType == "source" {
		return only(images, sourceImages())
	}
	images = fromDistribution(images)
	if shard == "ci" {
		return only(images, strings.Fields(ciList))
	}
	part, parts := 0, 0
	if n, err := fmt.Sscanf(shard, "%d/%d", &part, &parts); err != nil || n != 2 || part < 1 || part > parts {
		return nil, fmt.Errorf("shard %q is neither I/N, with I from 1 to N, nor ci", shard)
	}
	families := map[string][]string{}
	var order []string
	for _, im := range images {
		if families[im.Family] == nil {
			order = append(order, im.Family)
		}
		families[im.Family] = append(families[im.Family], im.Name)
	}
	// The largest families first, each to the shard that has the fewest images.
	slices.SortStableFunc(order, func(a, b string) int { return len(families[b]) - len(families[a]) })
	shards := make([][]string, parts)
	for _, family := range order {
		smallest := 0
		for i := range shards {
			if len(shards[i]) < len(shards[smallest]) {
				smallest = i
			}
		}
		shards[smallest] = append(shards[smallest], families[family]...)
	}
	names := shards[part-1]
	slices.Sort(names)
	return names, nil
}

// only returns names, and an error if one of them is not an image.
func only(images []Image, names []string) ([]string, error) {
	for _, name := range names {
		if !slices.ContainsFunc(images, func(im Image) bool { return im.Name == name }) {
			return nil, fmt.Errorf("%s is not an image that this distribution's packages suffice for", name)
		}
	}
	return names, nil
}
