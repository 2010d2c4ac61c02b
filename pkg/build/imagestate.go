package build

import (
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

// imageState is the state of an image in a run.
type imageState struct {
	item     *plan.Item
	children []*imageState // images of the plan that need this one

	waits   int  // parents that have not been built
	blocked int  // parents whose upload has not begun, and may yet
	failing bool // it or an ancestor is known to fail
	built   bool
	final   bool // built and finished, so that it can be uploaded
	ended   bool

	started time.Time // when its build began, zero before

	// childrenUnblocked is set when the image's upload is queued, or never will be.
	childrenUnblocked bool

	// result is complete once the image has ended. Until then it has the results of the
	// stages that are done.
	result Result
}

// newImages returns the states of a plan's images in the plan's order.
func newImages(p *plan.Plan) []*imageState {
	images := make([]*imageState, 0, len(p.Items))
	byID := make(map[image.ID]*imageState, len(p.Items))
	for _, it := range p.Items {
		im := &imageState{item: it}
		images, byID[it.Image] = append(images, im), im
	}
	for _, im := range images {
		for _, n := range im.item.Needs {
			if parent := byID[n]; parent != nil {
				im.waits++
				im.blocked++
				parent.children = append(parent.children, im)
			}
		}
	}
	return images
}

// byPath is a heap of images that can start: kept ones first, because they take no time,
// then those on the longest path.
type byPath []*imageState

func (h byPath) Len() int { return len(h) }
func (h byPath) Less(i, j int) bool {
	a, b := h[i].item, h[j].item
	if ka, kb := a.Action == plan.Keep, b.Action == plan.Keep; ka != kb {
		return ka
	}
	if c := plan.Before(a, b); c != 0 {
		return c < 0
	}
	return image.Compare(a.Image, b.Image) < 0
}
func (h byPath) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *byPath) Push(x any)   { *h = append(*h, x.(*imageState)) }
func (h *byPath) Pop() any {
	old := *h
	im := old[len(old)-1]
	*h = old[:len(old)-1]
	return im
}

// markFailing records that an image cannot be built, nor its descendants.
func (im *imageState) markFailing() {
	if im.failing {
		return
	}
	im.failing = true
	for _, c := range im.children {
		c.markFailing()
	}
}

// estimate returns the expected time until the images are built that have not ended and can
// be built: the longer of the longest path and the work divided among the slots.
func (r *run) estimate(now time.Time) time.Duration {
	var work, longest time.Duration
	path := make(map[*imageState]time.Duration, len(r.images))
	for _, im := range slices.Backward(r.images) {
		if im.ended || im.failing {
			continue
		}
		left := im.item.Estimate
		switch {
		case im.built:
			left = 0
		case !im.started.IsZero():
			left = max(0, left-now.Sub(im.started))
		}
		var rest time.Duration
		for _, c := range im.children {
			rest = max(rest, path[c])
		}
		path[im] = left + rest
		work += left
		longest = max(longest, path[im])
	}
	return max(longest, work/time.Duration(max(1, r.opts.Threads)))
}
