package raise

import (
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/suggest"
)

// Suggest returns the hint that names the candidate most similar to a misspelled
// name, or "". Private names, which begin with an underscore, are not suggested.
func Suggest(name string, candidates []string) string {
	return suggest.DidYouMean(name, slices.DeleteFunc(slices.Clone(candidates), func(c string) bool {
		return strings.HasPrefix(c, "_")
	}))
}
