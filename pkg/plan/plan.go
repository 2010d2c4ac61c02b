// Package plan decides what a run will do before anything is done: for each
// selected image whether it must be built and why, by its key, and how long
// the rest of the run hangs on it. It touches no builder, registry or file;
// what is known of earlier runs is handed to it.
package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Action is what a run does with an image.
type Action string

// The actions.
const (
	Build Action = "build"
	Keep  Action = "keep" // the store has it
)

// DefaultEstimate is what an image is taken to need if it was never timed and
// nothing can be guessed from what it does.
const DefaultEstimate = 30 * time.Second

// Input is what is known of a selected image before planning.
type Input struct {
	Image     string
	Reference string
	Parent    string            // the parent in the tree, "" for a root
	Needs     []string          // all images of the plan that must be there first, the parent included
	Key       string            // content key
	Parts     map[string]string // digests of what the key is made of, by a name users understand

	// Guess is what the image may take to build, by what its Dockerfile does; 0
	// if nothing is known. Only the ratio between images counts once some have
	// been timed.
	Guess time.Duration

	// Changes are inputs that moved and that Parts do not name, such as packages
	// that a repository has newer.
	Changes []Change
	// Note is what else is to be known of the image, such as a repository that
	// could not be asked.
	Note string
}

// InputPackage is the Change.Input of packages.
const InputPackage = "package"

// Change is one input of an image that is not what it was when the image was
// built.
type Change struct {
	// Input is InputPackage, or names what changed: "Dockerfile", "context",
	// "settings", "FROM debian:trixie", "parent nova-base", "ADD https://…".
	Input   string `json:"input"`
	Package string `json:"package,omitempty"` // of packages, the name
	From    string `json:"from,omitempty"`    // version or digest, "" if there was none
	To      string `json:"to,omitempty"`      // version or digest, "" if it is gone
}

// String returns the change as people read it.
func (c Change) String() string {
	switch {
	case c.Input == InputPackage:
		return fmt.Sprintf("package %s %s → %s", c.Package, c.From, c.To)
	case c.From == "" && c.To == "":
		return c.Input
	case c.From == "":
		return c.Input + " is new"
	case c.To == "":
		return c.Input + " is gone"
	}
	return c.Input + " changed"
}

// Known is what earlier runs have left.
type Known struct {
	// Stored returns the manifest digest of the image with a key.
	Stored func(key string) (digest string, ok bool)
	// Parts returns the parts of an image's key when it was last built.
	Parts func(image string) (map[string]string, bool)
	// Duration returns how long the image took when it was last built.
	Duration func(image string) (time.Duration, bool)
}

// Item is the plan for one image.
type Item struct {
	Image     string            `json:"image"`
	Reference string            `json:"reference"`
	Parent    string            `json:"parent,omitempty"`
	Needs     []string          `json:"needs,omitempty"`
	Action    Action            `json:"action"`
	Reason    string            `json:"reason"`
	Changes   []Change          `json:"changes,omitempty"` // the inputs that changed since it was last built
	Note      string            `json:"note,omitempty"`
	Key       string            `json:"key"`
	Digest    string            `json:"digest,omitempty"` // of the stored image, for Keep
	Estimate  time.Duration     `json:"estimate_ns"`      // expected build time, 0 for Keep
	Parts     map[string]string `json:"parts,omitempty"`

	// Path is the longest chain of expected build times from this image down
	// to a leaf, itself included: what the whole run waits for at least.
	Path time.Duration `json:"path_ns"`

	below int // images that are built and stand on this one, at any distance
}

// Plan is what a run will do, parents before children.
type Plan struct {
	Items []*Item `json:"items"`
}

// New makes the plan for inputs, which come parents first. With force, every
// image is built.
func New(inputs []Input, known Known, force bool) *Plan {
	p := &Plan{}
	byName := map[string]*Item{}
	guess := guesser(inputs, known)
	for _, in := range inputs {
		it := &Item{Image: in.Image, Reference: in.Reference, Parent: in.Parent, Needs: in.Needs, Key: in.Key, Parts: in.Parts, Note: in.Note}
		if d, ok := known.Stored(in.Key); ok && !force {
			it.Action, it.Digest, it.Reason = Keep, d, "unchanged"
			if in.Note != "" {
				it.Reason += "; " + in.Note
			}
		} else {
			it.Action, it.Estimate = Build, guess(in)
			if t, ok := known.Duration(in.Image); ok {
				it.Estimate = t
			}
			it.Reason, it.Changes = reason(in, known, byName, force)
		}
		byName[in.Image] = it
		p.Items = append(p.Items, it)
	}
	p.paths(byName)
	return p
}

// guesser returns how the time of an image that was never timed is estimated:
// by its Guess, in the proportion that the images which were timed have to
// theirs (their median), so that a faster machine's guesses are faster.
func guesser(inputs []Input, known Known) func(Input) time.Duration {
	var ratios []float64
	plain := func(in Input) time.Duration { return cmp.Or(in.Guess, DefaultEstimate) }
	for _, in := range inputs {
		if t, ok := known.Duration(in.Image); ok {
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

// reason says why an image is built, by what differs from its last build. What
// moved for the image itself comes first. A parent that is built is the reason
// before all others: what else changed is its doing as often as not.
func reason(in Input, known Known, planned map[string]*Item, force bool) (string, []Change) {
	if force {
		return "asked for without cache", nil
	}
	changes := slices.Clone(in.Changes)
	before, ok := known.Parts(in.Image)
	if !ok && len(changes) == 0 {
		return "new", nil
	}
	for _, n := range in.Needs {
		if it := planned[n]; it != nil && it.Action == Build {
			changes = append(changes, Change{Input: "parent " + n})
			if len(in.Changes) > 0 {
				return words(changes[:len(changes)-1]) + "; parent " + n + " is built", changes
			}
			return "parent " + n + " is built", changes
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
	return words(changes), changes
}

// words says changes in a line: packages, of which there may be hundreds, by
// the first of them and how many more there are.
func words(changes []Change) string {
	var said []string
	n, at := 0, 0
	for _, c := range changes {
		if c.Input != InputPackage {
			said = append(said, c.String())
			continue
		}
		if n == 0 {
			at = len(said)
			said = append(said, c.String())
		}
		n++
	}
	if n > 1 {
		said[at] += fmt.Sprintf(" (and %d more)", n-1)
	}
	return strings.Join(said, ", ")
}

// paths fills Item.Path and Item.below from the leaves up.
func (p *Plan) paths(byName map[string]*Item) {
	for _, it := range slices.Backward(p.Items) {
		it.Path += it.Estimate // the longest child's was put there before
		if up := byName[it.Parent]; up != nil && it.Action == Build {
			up.below += it.below + 1
		}
		for _, n := range it.Needs {
			if up := byName[n]; up != nil {
				up.Path = max(up.Path, it.Path)
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

// Before orders items for building: the longest path first; where that says
// nothing, as before anything has been timed, the one that more stands on.
func Before(a, b *Item) int {
	if c := cmp.Compare(b.Path, a.Path); c != 0 {
		return c
	}
	return cmp.Compare(b.below, a.below)
}
