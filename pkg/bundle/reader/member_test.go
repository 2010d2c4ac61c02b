package reader

import (
	"archive/tar"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/bundle"
)

// The number of files is bounded.
func TestFilesAreBounded(t *testing.T) {
	c := Checker{seen: map[string]bool{}}
	for i := range bundle.MaxBlobs + 1 {
		c.seen[fmt.Sprint(i)] = true
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: bundle.BlobPath(digest.FromString("one more"))}
	if _, err := c.check(h); err == nil {
		t.Error("one more file was accepted")
	}
}
