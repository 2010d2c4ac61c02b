// Package plan decides which images a run builds, why, and with which priority. It must
// not know builders, registries or files: the results of earlier runs are passed to it.
package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/image"
	digest "github.com/opencontainers/go-digest"
)

// Action specifies whether a run builds or keeps an image.
type Action string

// The actions.
const (
	Build Action = "build"
	Keep  Action = "keep" // the store has it
)

// defaultEstimate is the expected build time of an image without earlier builds and
// without an Effort.
const defaultEstimate = 30 * time.Second

// Input describes a selected image.
type Input struct {
	Image     image.ID
	Reference string            // full name with tag
	Parent    image.ID          // the parent in the tree, zero for a root
	Needs     []image.ID        // all images of the plan that it depends on, the parent included
	Key       digest.Digest     // over all inputs of the content; "" if the image cannot be built
	Parts     map[string]string // components of the key: digests by names that users understand

	// Effort is an estimate of the build time from the Dockerfile, 0 if unknown. Once
	// some images have been timed, only the ratio between images counts.
	Effort time.Duration

	// Changes are changed inputs that are not in Parts, such as newer packages in a
	// repository.
	Changes []Change
	// Note is a remark about the image, such as a repository that could not be
	// read.
	Note string
}

// InputPackage is the Change.Input of packages.
const InputPackage = "package"

// Change is an input of an image that differs from the last build.
type Change struct {
	// Input is InputPackage, or the name of the changed input: "Dockerfile", "context",
	// "settings", "FROM debian:trixie", "parent nova-base", "ADD https://…".
	Input   string `json:"input"`
	Package string `json:"package,omitempty"` // name, for packages
	From    string `json:"from,omitempty"`    // version or digest, "" if it is new
	To      string `json:"to,omitempty"`      // version or digest, "" if it was removed
}

// String describes the change, such as "Dockerfile changed".
func (c Change) String() string {
	switch {
	case c.Input == InputPackage:
		return fmt.Sprintf("package %s %s → %s", c.Package, c.From, c.To)
	case c.From == "" && c.To == "":
		return c.Input
	case c.From == "":
		return c.Input + " is new"
	case c.To == "":
		return c.Input + " was removed"
	}
	return c.Input + " changed"
}

// History provides the results of earlier runs.
type History struct {
	// StoredImage returns the stored image that was built from a key.
	Stored func(key digest.Digest) (StoredImage, bool)
	// Parts returns the components of an image's key at its last build.
	Parts func(image.ID) (map[string]string, bool)
	// Duration returns how long an image's last build took.
	Duration func(image.ID) (time.Duration, bool)
}

// StoredImage is an image in the store.
type StoredImage struct {
	Digest digest.Digest // of the manifest
	Size   int64         // bytes, compressed
}

// Item is the plan for one image.
type Item struct {
	Image     image.ID          `json:"image"`
	Reference string            `json:"reference"`
	Parent    image.ID          `json:"parent,omitzero"`
	Needs     []image.ID        `json:"needs,omitempty"`
	Action    Action            `json:"action"`
	Reason    string            `json:"reason"`
	Changes   []Change          `json:"changes,omitempty"` // inputs that changed since the last build
	Note      string            `json:"note,omitempty"`
	Key       digest.Digest     `json:"key"`
	Digest    digest.Digest     `json:"digest,omitempty"` // of the stored image, for Keep
	Size      int64             `json:"-"`                // bytes, of the stored image, for Keep
	Estimate  time.Duration     `json:"estimate_ns"`      // expected build time, 0 for Keep
	Parts     map[string]string `json:"parts,omitempty"`

	// Path is the sum of the expected build times on the longest chain from this image
	// to a leaf, itself included. The run cannot take less.
	Path time.Duration `json:"path_ns"`

	descendants int // number of descendants that are built
}

// Plan is the plan of a run, parents before children.
type Plan struct {
	Items []*Item `json:"items"`
}

// New makes the plan for inputs, which must be sorted with parents first. With force,
// every image is built.
func New(inputs []Input, history History, force bool) *Plan {
	p := &Plan{}
	byID := map[image.ID]*Item{}
	guess := estimator(inputs, history)
	for _, in := range inputs {
		it := &Item{
			Image:     in.Image,
			Reference: in.Reference,
			Parent:    in.Parent,
			Needs:     in.Needs,
			Key:       in.Key,
			Parts:     in.Parts,
			Note:      in.Note,
		}
		if st, ok := history.Stored(in.Key); ok && !force {
			it.Action, it.Digest, it.Size, it.Reason = Keep, st.Digest, st.Size, "unchanged"
			if in.Note != "" {
				it.Reason += "; " + in.Note
			}
		} else {
			it.Action, it.Estimate = Build, guess(in)
			if t, ok := history.Duration(in.Image); ok {
				it.Estimate = t
			}
			it.Reason, it.Changes = reason(in, history, byID, force)
		}
		byID[in.Image] = it
		p.Items = append(p.Items, it)
	}
	p.paths(byID)
	return p
}

// estimator returns a function that estimates the build time of an image that was
// never timed: its Effort, scaled by the median ratio of time to effort of the
// timed images.
func estimator(inputs []Input, history History) func(Input) time.Duration {
	var ratios []float64
	plain := func(in Input) time.Duration { return cmp.Or(in.Effort, defaultEstimate) }
	for _, in := range inputs {
		if t, ok := history.Duration(in.Image); ok {
			ratios = append(ratios, float64(t)/float64(plain(in)))
		}
	}
	if len(ratios) == 0 {
		return plain
	}
	slices.Sort(ratios)
	ratio := ratios[len(ratios)/2]
	return func(in Input) time.Duration { return time.Duration(ratio * float64(plain(in))) }
}

// reason returns why an image is built. Its own changed mutable inputs come first. A
// parent that is built comes before the image's other changes, because it often causes
// them.
func reason(in Input, history History, planned map[image.ID]*Item, force bool) (string, []Change) {
	if force {
		return "--nocache", nil
	}
	changes := slices.Clone(in.Changes)
	before, ok := history.Parts(in.Image)
	if !ok && len(changes) == 0 {
		return "new", nil
	}
	for _, n := range in.Needs {
		if it := planned[n]; it != nil && it.Action == Build {
			changes = append(changes, Change{Input: "parent " + n.String()})
			if len(in.Changes) > 0 {
				return describeChanges(changes[:len(changes)-1]) + "; parent " + n.String() + " is built", changes
			}
			return "parent " + n.String() + " is built", changes
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in.Parts)) {
		if old := before[name]; old != in.Parts[name] && ok {
			changes = append(changes, Change{Input: name, From: old, To: in.Parts[name]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := in.Parts[name]; !ok {
			changes = append(changes, Change{Input: name, From: before[name]})
		}
	}
	if len(changes) == 0 {
		return "not in the store", nil
	}
	return describeChanges(changes), changes
}

// describeChanges lists changes in a line. It names the first changed package and counts the
// others, because there may be hundreds.
func describeChanges(changes []Change) string {
	var parts []string
	n, at := 0, 0
	for _, c := range changes {
		if c.Input != InputPackage {
			parts = append(parts, c.String())
			continue
		}
		if n == 0 {
			at = len(parts)
			parts = append(parts, c.String())
		}
		n++
	}
	if n > 1 {
		parts[at] += fmt.Sprintf(" (and %d more)", n-1)
	}
	return strings.Join(parts, ", ")
}

// paths fills in Item.Path and Item.descendants from the leaves up.
func (p *Plan) paths(byID map[image.ID]*Item) {
	for _, it := range slices.Backward(p.Items) {
		it.Path += it.Estimate // its children have set Path to their longest path
		if parent := byID[it.Parent]; parent != nil && it.Action == Build {
			parent.descendants += it.descendants + 1
		}
		for _, n := range it.Needs {
			if parent := byID[n]; parent != nil {
				parent.Path = max(parent.Path, it.Path)
			}
		}
	}
}

// ToBuild counts the images that will be built.
func (p *Plan) ToBuild() int {
	n := 0
	for _, it := range p.Items {
		if it.Action == Build {
			n++
		}
	}
	return n
}

// Estimate is the expected time of the run with that many slots: the longer of
// the critical path and the work divided among the slots.
func (p *Plan) Estimate(slots int) time.Duration {
	var work, path time.Duration
	for _, it := range p.Items {
		work += it.Estimate
		path = max(path, it.Path)
	}
	return max(path, work/time.Duration(max(1, slots)))
}

// Before orders items for building: the longest path first, and for equal paths, such
// as without earlier builds, the item with more descendants.
func Before(a, b *Item) int {
	if c := cmp.Compare(b.Path, a.Path); c != 0 {
		return c
	}
	return cmp.Compare(b.descendants, a.descendants)
}
