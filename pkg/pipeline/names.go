package pipeline

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// StoredNames returns the short names of the images in the local store, sorted;
// none if there is no store.
func StoredNames(cfg *config.Config) []string {
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "store")); err != nil {
		return nil // opening it would make one
	}
	s, err := OpenStore(cfg)
	if err != nil {
		return nil
	}
	defer s.Close()
	entries, err := stored(s, nil, false)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, shortName(e.Name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
