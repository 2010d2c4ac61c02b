package pipeline

import (
	"errors"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// TestCheckFirstBuild checks that a disk on which no build fits is found before a base image is
// bootstrapped.
func TestCheckFirstBuild(t *testing.T) {
	small := testenv.Tmpfs(t, "20m")
	err := checkFirstBuild(small)
	var full *store.FullError
	if !errors.As(err, &full) || full.Path != small || full.Need != firstBuildNeed || usererr.Hint(err) == "" {
		t.Errorf("20 MB: %v", err)
	}
	large := testenv.Tmpfs(t, "600m") // its pages are not allocated
	if err := checkFirstBuild(large); err != nil {
		t.Errorf("600 MB: %v", err)
	}
}
