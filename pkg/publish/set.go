package publish

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

// Set is a set of images that is published as a whole: digests of images, or of
// indexes for several platforms, by reference.
type Set map[string]digest.Digest

// References returns the references of the set, sorted.
func (s Set) References() []string { return slices.Sorted(maps.Keys(s)) }

// Complete returns the images of a run that exist together with all images that they
// depend on, and the others. Results are in the order of the plan. In runs for several
// platforms, an image is its index and must exist for all of them.
func Complete(p *plan.Plan, results []build.Result, indexes map[string]digest.Digest) (set Set, missing []image.ID) {
	set = Set{}
	complete := map[image.ID]bool{}
	for i, it := range p.Items { // parents first
		ok, d := !results[i].Status.Bad(), results[i].Digest
		if indexes != nil {
			index, joined := indexes[it.Reference]
			ok, d = ok && joined, index
		}
		for _, n := range it.Needs {
			ok = ok && complete[n]
		}
		if complete[it.Image] = ok; ok {
			set[it.Reference] = d
		}
	}
	for _, it := range p.Items { // an index that lacks a platform
		if !complete[it.Image] {
			delete(set, it.Reference)
		}
	}
	for _, it := range p.Items {
		if _, ok := set[it.Reference]; !ok {
			missing = append(missing, it.Image)
		}
	}
	return set, missing
}

// Names returns the names of an image: its reference, and the same with each additional
// tag instead of its own. A signature or SBOM, whose tag is derived from a digest, has
// no other names.
func Names(reference string, alsoTags []string) []string {
	names := []string{reference}
	if imageref.IsArtifactTag(tagOf(reference)) {
		return names
	}
	for _, tag := range alsoTags {
		if name := WithTag(reference, tag); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// CheckNames returns an error if a configured tag is invalid, or if the images' names
// cannot be pushed.
func CheckNames(cfg *config.Config) error {
	for _, tag := range cfg.AlsoTag {
		if err := imageref.CheckTag(tag); err != nil {
			return cfg.UsageIfTyped("also-tag", fmt.Errorf("--also-tag: %w", err))
		}
	}
	if cfg.Push && cfg.Registry == "" && strings.Trim(cfg.Namespace, "/") == "" {
		return usererr.WithHint(errors.New("--push to Docker Hub without a namespace: only Docker itself may push there"),
			"--registry HOST:PORT names a registry, -n NAME your namespace on Docker Hub")
	}
	return nil
}

// WithTag returns a reference with another tag.
func WithTag(reference, tag string) string { return repository(reference) + ":" + tag }

func repository(reference string) string {
	repo, _, _ := imageref.Split(reference)
	return repo
}

func tagOf(reference string) string {
	_, tag, _ := imageref.Split(reference)
	return tag
}
