package storecmd

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/store"
)

// platforms returns the platforms of a stored image, separated by commas: several
// for an index. It returns "" if they are unknown.
func platforms(s *store.Store, e store.Entry) string {
	return strings.Join(s.Platforms(e), ",")
}
