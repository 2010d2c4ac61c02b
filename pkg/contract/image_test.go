package contract

import (
	"testing"

	"github.com/kolla-build/kolla-build/pkg/inspect"
)

// The root of an image is a directory, whether or not a layer lists it.
func TestRootOfImage(t *testing.T) {
	im := &imageView{tree: inspect.Merge([]*inspect.Layer{{Entries: []inspect.Entry{{Path: "f", Type: inspect.File}}}})}
	if _, e, failure := im.lookup("/"); failure != "" || e.Type != inspect.Dir {
		t.Errorf("the root: %s, %q", e.Type, failure)
	}
	if _, e, failure := im.lookup("/x"); failure == "" || e.Type != 0 {
		t.Errorf("a file that does not exist: %s, %q", e.Type, failure)
	}
}
