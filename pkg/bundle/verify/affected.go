package verify

import (
	"context"
	"maps"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/bundle"
)

// distinct returns the descriptors of the images, each once.
func (v *verifier) distinct() []ocispec.Descriptor {
	seen := map[bundle.Reference]bool{}
	var all []ocispec.Descriptor
	for _, d := range v.images {
		if r := bundle.ReferenceTo(d); !seen[r] {
			seen[r] = true
			all = append(all, d)
		}
	}
	return all
}

// maxAffected bounds how many names of images a report lists, over all problems.
const maxAffected = 1_000_000

// attribute names the images that a damaged or missing file affects.
func (v *verifier) attribute(ctx context.Context) error {
	names := map[bundle.Reference][]string{}
	for _, d := range v.images {
		names[bundle.ReferenceTo(d)] = append(names[bundle.ReferenceTo(d)], bundle.ImageName(d))
	}
	affected := map[string][]string{}
	roles := map[string]string{}
	total := 0
	for _, d := range v.distinct() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		_, _ = v.graph.Walk(bundle.ReferenceTo(d), func(r bundle.Reference) { // what it cannot visit has been reported
			for _, name := range []string{bundle.BlobPath(r.Digest), bundle.DeltaPath(r.Digest)} {
				if _, bad := v.bad[name]; bad {
					images := names[bundle.ReferenceTo(d)]
					images = images[:min(len(images), maxAffected-total)]
					total += len(images)
					affected[name] = append(affected[name], images...)
					roles[name] = r.Role.String()
				}
			}
		})
	}
	for _, name := range slices.Sorted(maps.Keys(v.bad)) {
		p := v.bad[name]
		slices.Sort(affected[name])
		p.Images, p.Role = slices.Compact(affected[name]), roles[name]
		if !strings.Contains(name, "/") {
			p.Images = v.report.Images // nothing can be loaded without it
		}
		v.problem(p)
	}
	return nil
}
