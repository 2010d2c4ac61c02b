package build

import (
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

// imageState is the state of an image in a run.
type imageState struct {
	item     *plan.Item
	children []*imageState // images of the plan that need this one

	waits   int  // parents that have not been built
	blocked int  // parents whose upload has not begun, and may yet
	final   bool // built and finished, so that it can be uploaded
	ended   bool

	// childrenUnblocked is set when the image's upload is queued, or never will be.
	childrenUnblocked bool

	// result is complete once the image has ended. Before, it is that of the stages so
	// far.
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
