package bundle

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// distinct returns the descriptors of the images, each once.
func (v *verifier) distinct() []ocispec.Descriptor {
	seen := map[reference]bool{}
	var all []ocispec.Descriptor
	for _, d := range v.images {
		if r := root(d); !seen[r] {
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
	names := map[reference][]string{}
	for _, d := range v.images {
		names[root(d)] = append(names[root(d)], fullName(d))
	}
	affected := map[string][]string{}
	roles := map[string]string{}
	total := 0
	for _, d := range v.distinct() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		_, _ = v.graph.walk(root(d), func(r reference) { // what it cannot visit has been reported
			for _, name := range []string{blobName(r.digest), deltaName(r.digest)} {
				if _, bad := v.bad[name]; bad {
					images := names[root(d)]
					images = images[:min(len(images), maxAffected-total)]
					total += len(images)
					affected[name] = append(affected[name], images...)
					roles[name] = r.role.String()
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

func root(d ocispec.Descriptor) reference {
	return reference{d.Digest, d.Size, blobRole{kind: "manifest"}}
}

func deltaName(d digest.Digest) string {
	return deltaDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
}
