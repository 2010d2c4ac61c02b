package save

import (
	"testing"

	"github.com/opencontainers/go-digest"
)

// An image needs a blob once, also if several of its layers do.
func TestRequiredByImages(t *testing.T) {
	p := newDeltaPlan(nil)
	d := digest.FromString("base")
	for _, image := range []string{"a", "b", "a", "b", "c"} {
		p.require(image, d, 1, false)
	}
	if r := p.required[d]; r.Image != "a" || r.More != 2 {
		t.Errorf("%+v, want a and 2 others", r)
	}
}
