package storecmd

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// platforms returns the platforms of a stored image, separated by commas: several
// for an index. It returns "" if they are unknown.
func platforms(s *store.Store, e store.Entry) string {
	if !types.MediaType(e.MediaType).IsIndex() {
		return e.Platform
	}
	index, err := s.ImageIndex(e.Digest)
	if err != nil {
		return ""
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return ""
	}
	var names []string
	for _, d := range manifest.Manifests {
		if d.Platform != nil && d.Platform.OS != "unknown" { // attestations have no platform
			names = append(names, d.Platform.String())
		}
	}
	return strings.Join(names, ",")
}
